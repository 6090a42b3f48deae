package envscan

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/envscan/efivars"
)

const (
	efiDir     = "/sys/firmware/efi"
	efivarsDir = efiDir + "/efivars"
)

var (
	errNoFile     = errors.New("there is no such file")
	errMasked     = errors.New("the container hides /sys/firmware")
	errNotMounted = errors.New("efivarfs is not mounted")
)

// firmware looks for the run time services of UEFI. A machine that has none and
// is not a PC boots by a device tree.
func (s *scanner) firmware() Firmware {
	f := Firmware{Boot: []BootEntry{}}
	f.Vendor = s.text("hw.firmware.vendor", dmiID+"/bios_vendor")
	f.Version = s.text("hw.firmware.version", dmiID+"/bios_version")
	f.Date = s.text("hw.firmware.date", dmiID+"/bios_date")
	if !s.exists(dmiID) {
		t := s.smbios("hw.firmware.vendor", "hw.firmware.version", "hw.firmware.date").Firmware
		f.Vendor, f.Version, f.Date = t.Vendor, t.Version, t.Date
	}
	switch {
	case s.exists(efiDir):
		f.Type = "uefi"
		s.uefi(&f)
	case s.masked():
		for _, field := range []string{"type", "bits", "secureBoot", "setupMode", "varsWritable", "boot", "bootCurrent", "bootNext"} {
			s.gap("hw.firmware."+field, efiDir, errMasked)
		}
	case s.exists(deviceTree):
		f.Type = "devicetree"
	default:
		f.Type = "bios"
	}
	return f
}

// masked: container managers lay an empty directory over /sys/firmware.
func (s *scanner) masked() bool {
	names, err := s.root.Names("sys/firmware")
	return err == nil && len(names) == 0 && s.exists("/sys/firmware")
}

func (s *scanner) uefi(f *Firmware) {
	if bits, err := s.root.Number(efiDir, "fw_platform_size"); err == nil {
		f.Bits = &bits
	} else {
		s.gap("hw.firmware.bits", efiDir+"/fw_platform_size", err)
	}
	names, err := s.root.Names(efivarsDir)
	if err == nil && len(names) == 0 {
		err = errNotMounted
	}
	if err != nil {
		for _, field := range []string{"secureBoot", "setupMode", "varsWritable", "boot", "bootCurrent", "bootNext"} {
			s.gap("hw.firmware."+field, efivarsDir, err)
		}
		return
	}
	f.SecureBoot = s.efiFlag("secureBoot", "SecureBoot")
	f.SetupMode = s.efiFlag("setupMode", "SetupMode")
	f.VarsWrite = s.varsWritable()
	f.BootCurrent = s.efiNumber("bootCurrent", "BootCurrent")
	f.BootNext = s.efiNumber("bootNext", "BootNext")
	f.Boot = s.bootEntries(names)
}

// varsWritable says whether efivarfs is mounted for writing.
func (s *scanner) varsWritable() *bool {
	const mountinfo = "/proc/self/mountinfo"
	mounts, err := s.root.Mounts()
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoFile
	}
	if err != nil {
		s.gap("hw.firmware.varsWritable", mountinfo, err)
		return nil
	}
	writable := false
	for _, m := range mounts {
		if m.Type == "efivarfs" && m.Target == efivarsDir {
			writable = slices.Contains(strings.Split(m.Options, ","), "rw")
		}
	}
	return &writable
}

// efivar reads a variable's value. Each read(2) of a variable counts: efivarfs
// makes a user who exceeds 100 in a second wait, so it is one for the value and
// its end. What is not there is nil.
func (s *scanner) efivar(fact, name, vendor string) []byte {
	path := efivarsDir + "/" + name + "-" + vendor
	b, err := readOnce(s.root.Path(path))
	if err == nil {
		b, err = efivars.Value(b)
	}
	s.gap(fact, path, err)
	if err != nil {
		return nil
	}
	return b
}

// readOnce reads a file whose size is known, in one call.
func readOnce(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, info.Size()+1)
	n, err := f.Read(b)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

func (s *scanner) efiFlag(field, name string) *bool {
	b := s.efivar("hw.firmware."+field, name, efivars.Global)
	if len(b) == 0 {
		return nil
	}
	on := b[0] == 1
	return &on
}

func (s *scanner) efiNumber(field, name string) string {
	list := efivars.Numbers(s.efivar("hw.firmware."+field, name, efivars.Global))
	if len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("%04X", list[0])
}

// bootEntries are the load options, in the order that the firmware tries them,
// and then those that it does not.
func (s *scanner) bootEntries(names []string) []BootEntry {
	const fact = "hw.firmware.boot"
	options := map[uint16]BootEntry{}
	for _, name := range names {
		number, ok := bootNumber(name)
		if !ok {
			continue
		}
		b := s.efivar(fact, name[:8], efivars.Global)
		if b == nil {
			continue
		}
		o, err := efivars.ParseLoadOption(b)
		e := BootEntry{Number: fmt.Sprintf("%04X", number), Label: o.Label, Active: o.Active, Path: o.Path}
		s.gap(fact+"[number="+e.Number+"]", efivarsDir+"/"+name, err)
		options[number] = e
	}
	list := []BootEntry{}
	for _, number := range efivars.Numbers(s.efivar(fact, "BootOrder", efivars.Global)) {
		if e, ok := options[number]; ok { // firmware lists what it has forgotten, and some things twice
			e.Listed = true
			list = append(list, e)
			delete(options, number)
		}
	}
	rest := len(list)
	for _, e := range options {
		list = append(list, e)
	}
	slices.SortFunc(list[rest:], func(a, b BootEntry) int { return strings.Compare(a.Number, b.Number) })
	return list
}

// bootNumber is the number in the name of a Boot#### variable.
func bootNumber(name string) (uint16, bool) {
	digits, ok := strings.CutPrefix(name, "Boot")
	digits, global := strings.CutSuffix(digits, "-"+efivars.Global)
	if !ok || !global || len(digits) != 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 16)
	return uint16(n), err == nil
}

// loader is what the boot loader calls itself: systemd-boot and GRUB do.
func (s *scanner) loader() string {
	if s.masked() {
		s.gap("os.loader", efiDir, errMasked)
		return ""
	}
	b := s.efivar("os.loader", "LoaderInfo", efivars.Loader)
	return strings.Join(strings.Fields(efivars.Text(b)), " ")
}
