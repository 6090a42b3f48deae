package accesspoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"

	"github.com/victorinix/vic/internal/accesspoint"
)

// leaseFile is where dnsmasq writes who has which address.
const leaseFile = runDir + "/leases"

// dnsmasq writes the configuration and becomes dnsmasq.
func (a appliance) dnsmasq(context.Context) error {
	serving, err := a.serving()
	if err != nil {
		return err
	}
	conf := filepath.Join(runDir, "dnsmasq.conf")
	if err := os.WriteFile(conf, []byte(accesspoint.Dnsmasq(serving)), 0o644); err != nil {
		return err
	}
	// dnsmasq looks whether the file has changed; that it is not there yet is
	// an error to it.
	if _, err := os.Stat(resolvConf); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(resolvConf, nil, 0o644); err != nil {
			return err
		}
	}
	const program = "/usr/sbin/dnsmasq"
	err = syscall.Exec(program, []string{"dnsmasq", "--conf-file=" + conf}, os.Environ())
	return fmt.Errorf("run %s: %w", program, err)
}

func (a appliance) serving() (accesspoint.Serving, error) {
	s := accesspoint.Serving{Hostname: a.options.Hostname, ResolvConf: resolvConf, LeaseFile: leaseFile}
	subnet, err := need("lan", "subnet")
	if err != nil {
		return s, err
	}
	ula, err := need("lan", "ula")
	if err != nil {
		return s, err
	}
	via, err := need("uplink6", "default")
	if err != nil {
		return s, err
	}
	if s.Subnet, err = netip.ParsePrefix(subnet); err != nil {
		return s, err
	}
	s.ULA, err = netip.ParsePrefix(ula)
	s.Upstream6 = via != none
	return s, err
}
