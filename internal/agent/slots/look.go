package slots

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/slot"
	"github.com/victorinix/vic/internal/stage/volume"
)

// look is what the appliance says of its slots.
func look() (slot.Status, error) {
	c, err := openCard()
	if err != nil {
		return slot.Status{}, err
	}
	text, err := c.autoboot()
	if err != nil {
		return slot.Status{}, err
	}
	choice, err := slot.ParseChoice(text)
	if err != nil {
		return slot.Status{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return slot.Status{}, err
	}
	s := slot.Status{
		Version: slot.Version, Arch: runtime.GOARCH, Kernel: release(), Boot: strings.TrimSpace(string(boot)),
		Disk: fmt.Sprintf("%08x", c.id.Disk), Device: c.path, Running: c.id.Partition, Default: choice.Default, Back: choice.Back, Autoboot: string(text),
	}
	for _, n := range c.numbers() {
		s.Slots = append(s.Slots, slot.Slot{Number: n, Offset: c.slots[n].offset, Size: c.slots[n].size, System: c.system(n)})
	}
	t := tree("/proc/device-tree")
	s.Board = t.text("model")
	s.Refuses = t.refuses()
	if s.Refuses == "" && !t.exists("/dev/vcio") {
		s.Warnings = append(s.Warnings, "Linux "+s.Kernel+" is not known to tell the firmware which slot to try: if it does not, slot "+
			slot.Name(s.Default)+" starts again, and the update ends there")
	}
	return s, nil
}

// system reads the manifest of a slot; nil: there is none.
func (c card) system(number int) *slot.Manifest {
	d, err := c.open(number, os.O_RDONLY)
	if err != nil {
		return nil
	}
	defer d.Close()
	m, err := readManifest(d)
	if err != nil {
		return nil
	}
	return &m
}

func readManifest(d device) (slot.Manifest, error) {
	v, err := volume.Open(d)
	if err != nil {
		return slot.Manifest{}, err
	}
	b, err := v.ReadFile(slot.ManifestFile)
	if err != nil {
		return slot.Manifest{}, err
	}
	return slot.DecodeManifest(b)
}

// extents are where the files of a manifest are.
func extents(d device, m slot.Manifest) ([]slot.Extent, error) {
	v, err := volume.Open(d)
	if err != nil {
		return nil, err
	}
	var list []slot.Extent
	for _, f := range m.Files {
		at, size, err := v.Extent(f.Name)
		if err != nil {
			return nil, err
		}
		if size != f.Size {
			return nil, fmt.Errorf("%s has %d bytes, not %d", f.Name, size, f.Size)
		}
		if size > 0 {
			list = append(list, slot.Extent{Name: f.Name, Offset: at, Size: size, SHA256: f.SHA256})
		}
	}
	return list, nil
}

// tree is the device tree that the firmware has passed on.
type tree string

// text reads a string.
func (t tree) text(name string) string {
	b, _ := os.ReadFile(filepath.Join(string(t), name)) // other machines have none
	return strings.TrimRight(string(b), "\x00")
}

func (t tree) exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// The bits of capabilities in /chosen/bootloader, which boards with an EEPROM have:
// see "Device Trees, overlays, and parameters" of the Raspberry Pi documentation.
const (
	canTryAB = 1 << 2
	canTry   = 1 << 3
)

// refuses is why the firmware of a board tries no slot; empty: it does. A Pi 3 has
// the firmware for that on its card.
func (t tree) refuses() string {
	compatible := t.text("compatible")
	eeprom := strings.Contains(compatible, "brcm,bcm2711") || strings.Contains(compatible, "brcm,bcm2712")
	switch {
	case !eeprom && !strings.Contains(compatible, "brcm,bcm2837"):
		return "it is no Raspberry Pi: its firmware knows no slots"
	case !eeprom:
		return ""
	}
	b, err := os.ReadFile(filepath.Join(string(t), "chosen/bootloader/capabilities"))
	if err != nil || len(b) != 4 {
		return "its EEPROM does not say what it can: it is older than slots"
	}
	if has := binary.BigEndian.Uint32(b); has&canTry == 0 || has&canTryAB == 0 {
		return "its EEPROM is older than slots (October 2022)"
	}
	return ""
}

// release is uname -r.
func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
