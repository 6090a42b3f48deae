package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// nicNames is the option nic. Its pattern leaves no mistake but those that the
// check of the whole system finds and reports with all others.
func nicNames(c *config.Config) []request.NICName {
	list, _ := request.ParseNICNames(c.List("nic")...)
	return list
}

// renamed is the system with the names of --nic, if there are any: they are of
// the machine, and a payload that was built before may be installed on many.
func (f *installFlags) renamed(s request.System) (request.System, error) {
	if len(f.nics) == 0 {
		return s, nil
	}
	var err error
	s.Network.NICs, err = request.ParseNICNames(f.nics...)
	return s, err
}

// udevOf is the version of the udev in a payload, or empty: a payload without
// udev names nothing.
func udevOf(p *builder.Payload) (string, error) {
	in, err := os.Open(p.Path(builder.LockFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("read the payload's packages: %w", err)
	}
	defer in.Close()
	lock, err := deb.ReadLock(in)
	if err != nil {
		return "", fmt.Errorf("read the payload's packages: %w", err)
	}
	for _, pkg := range lock.Packages {
		if pkg.Name == "udev" {
			return pkg.Version, nil
		}
	}
	return "", nil
}

// askNICs has a shell print what checkNICs reads: name, MAC and bus path of each
// interface that is hardware.
const askNICs = `for i in /sys/class/net/*/device; do i=${i%/device}; ` +
	`echo "nic ${i##*/} $(cat $i/address) $(udevadm info -q property -p $i | sed -n s/^ID_PATH=//p)"; done`

// checkNICs compares the names of network cards with those that the plan told. A
// name that was asked for holds wherever the card is; udev's only where the card
// still is in its place, which it is not in a machine with other disks.
func checkNICs(want []event.NIC, answer string) error {
	var have []event.NIC
	for line := range strings.Lines(answer) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "nic" {
			have = append(have, event.NIC{Name: f[1], HWAddr: f[2], Path: strings.Join(f[3:], "")})
		}
	}
	var errs []error
	for _, w := range want {
		i := slices.IndexFunc(have, func(h event.NIC) bool {
			return w.HWAddr != "" && w.HWAddr == h.HWAddr || w.HWAddr == "" && w.Path == h.Path
		})
		switch {
		case i < 0 && w.Wished:
			errs = append(errs, fmt.Errorf("network card %s (%s at %s) is not there: the system has %v", w.Name, w.HWAddr, w.Path, have))
		case i < 0, have[i].Name == w.Name:
		case w.Wished || have[i].Path == w.Path:
			errs = append(errs, fmt.Errorf("network card %s at %s is called %s, not %s", have[i].HWAddr, have[i].Path, have[i].Name, w.Name))
		}
	}
	return errors.Join(errs...)
}
