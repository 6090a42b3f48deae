package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// vmDisk is --disk FILE[,size=8G][,sector=4096] with --vm.
type vmDisk struct {
	path   string
	size   int64 // bytes; 0: the file must be there
	sector int
	name   string // in the layout
	serial string // by which the machine knows it
}

// vmDisks are those of one machine, in their order there.
type vmDisks []vmDisk

// vmDisks reads the arguments of --disk, and refuses files that would be lost.
func (j *installJob) vmDisks() (vmDisks, error) {
	var list vmDisks
	for i, name := range slices.Sorted(maps.Keys(j.layout.Disk)) {
		arg, ok := j.given[name]
		if !ok {
			return nil, usage("write --disk "+name+"=FILE,size=8G", "--vm needs an image file for disk %q of the layout", name)
		}
		d, err := parseVMDisk(arg)
		if err != nil {
			return nil, err
		}
		d.name, d.serial = name, targetSerial
		if i > 0 {
			d.serial = fmt.Sprintf("%s-%d", targetSerial, i+1)
		}
		if err := d.check(j.flags.yes || j.flags.dryRun || !event.Writes(j.phases)); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

func (l vmDisks) selectors() map[string]request.DiskSelector {
	m := map[string]request.DiskSelector{}
	for _, d := range l {
		m[d.name] = request.DiskSelector{Serial: d.serial}
	}
	return m
}

// stand are blank disks of the same shape, for a run that only verifies.
func (l vmDisks) stand(dir string) vmDisks {
	var all vmDisks
	for i, d := range l {
		d.path, d.size = filepath.Join(dir, fmt.Sprintf("blank%d.img", i)), d.bytes()
		all = append(all, d)
	}
	return all
}

// create makes the blank disks.
func (l vmDisks) create() error {
	for _, d := range l {
		if err := d.create(); err != nil {
			return err
		}
	}
	return nil
}

func (l vmDisks) paths() string {
	var paths []string
	for _, d := range l {
		paths = append(paths, d.path)
	}
	return strings.Join(paths, ", ")
}

func parseVMDisk(arg string) (vmDisk, error) {
	words := strings.Split(arg, ",")
	d := vmDisk{path: words[0], sector: 512}
	if d.path == "" || strings.HasPrefix(d.path, "/dev/") {
		return d, usage("without --vm a device is installed onto", "--disk %s: --vm needs an image file", arg)
	}
	for _, w := range words[1:] {
		if err := d.set(w); err != nil {
			return d, usage("write --disk FILE,size=8G or FILE,size=8G,sector=4096", "--disk %s: %s: %w", arg, w, err)
		}
	}
	if d.size%int64(d.sector) != 0 {
		return d, usage("", "--disk %s: %d bytes are no whole number of %d-byte sectors", arg, d.size, d.sector)
	}
	return d, nil
}

func (d *vmDisk) set(word string) (err error) {
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "size":
		d.size, err = config.ParseSize(value)
		if err == nil && d.size == 0 {
			err = errors.New("a disk needs at least one sector")
		}
	case "sector":
		if value != "512" && value != "4096" {
			return errors.New("sectors have 512 or 4096 bytes")
		}
		d.sector, err = strconv.Atoi(value)
	default:
		err = fmt.Errorf("unknown key %q%s", key, didYouMean("", key, []string{"size", "sector"}))
	}
	return err
}

// check refuses a file that is not there, or that would be lost.
func (d vmDisk) check(mayBeLost bool) error {
	st, err := os.Stat(d.path)
	switch {
	case errors.Is(err, os.ErrNotExist) && d.size == 0:
		return usage("add ,size=8G to make it", "--disk %s: it does not exist", d.path)
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fail(exitRefused, fmt.Errorf("--disk: %w", err), "")
	case !st.Mode().IsRegular():
		return fail(exitRefused, fmt.Errorf("--disk %s: it is no file", d.path), "--vm needs an image file")
	case !mayBeLost:
		return fail(exitRefused, fmt.Errorf("--disk %s: it exists", d.path), "--yes overwrites it")
	}
	return nil
}

// bytes is the size of the disk in the machine.
func (d vmDisk) bytes() int64 {
	if d.size > 0 {
		return d.size
	}
	if st, err := os.Stat(d.path); err == nil {
		return st.Size()
	}
	return 0
}

// create makes a blank disk, or leaves the one that is there.
func (d vmDisk) create() error {
	if d.size == 0 {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(d.path), 0o755); err != nil {
		return err
	}
	return errors.Join(removeIfThere(d.path), removeIfThere(d.vars()), vm.BlankDisk(d.path, d.size))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// vars is where the machine's UEFI variables are kept, beside the disk: the
// boot entry is in them.
func (d vmDisk) vars() string {
	return strings.TrimSuffix(d.path, filepath.Ext(d.path)) + ".vars.fd"
}
