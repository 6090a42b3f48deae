package install

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/plan"
)

var errMissing = errors.New("missing or empty")

// checkBoot reads back what the firmware and the boot loaders will read. All
// that is missing is reported, not only the first.
func (t target) checkBoot(a plan.CheckBoot) error {
	errs := []error{
		t.notEmpty("/boot/vmlinuz-" + a.Release),
		t.notEmpty("/boot/initrd.img-" + a.Release),
	}
	if a.ESP != "" {
		errs = append(errs, t.checkESP(a))
	}
	if a.BIOS {
		errs = append(errs, t.checkGRUB(a.Release))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the disk would not boot: %w", err)
	}
	return nil
}

func (t target) notEmpty(name string) error {
	f, err := t.root.Open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Size() == 0 {
		return fmt.Errorf("%s: %w", name, errMissing)
	}
	return nil
}

func (t target) checkESP(a plan.CheckBoot) error {
	names, err := plan.EFINamesFor(a.Arch)
	if err != nil {
		return err
	}
	var errs []error
	for _, loader := range names.Paths() {
		errs = append(errs, t.notEmpty(path.Join(a.ESP, loader)))
	}
	return errors.Join(append(errs, t.checkEntries(a))...)
}

// checkEntries finds the loader entry of a.Release and the files in it.
func (t target) checkEntries(a plan.CheckBoot) error {
	dir := path.Join(a.ESP, "loader/entries")
	names, err := t.names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if path.Ext(name) != ".conf" {
			continue
		}
		b, err := t.read(path.Join(dir, name))
		if err != nil {
			return err
		}
		e := parseEntry(b)
		if len(e["version"]) != 1 || e["version"][0] != a.Release {
			continue
		}
		if len(e["linux"]) != 1 || len(e["initrd"]) == 0 || len(e["options"]) == 0 {
			return fmt.Errorf("%s/%s: it lacks linux, initrd or options", dir, name)
		}
		var errs []error
		for _, f := range append(e["linux"], e["initrd"]...) {
			errs = append(errs, t.notEmpty(path.Join(a.ESP, f)))
		}
		return errors.Join(errs...)
	}
	return fmt.Errorf("%s: no entry for %s", dir, a.Release)
}

// parseEntry reads a boot loader entry, type 1: the values of each key (UAPI.1
// Boot Loader Specification).
func parseEntry(b []byte) map[string][]string {
	e := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if i := strings.IndexAny(line, " \t"); i > 0 && line[0] != '#' {
			e[line[:i]] = append(e[line[:i]], strings.TrimSpace(line[i:]))
		}
	}
	return e
}

// checkGRUB reads the chain that the BIOS starts: first sector, core image,
// configuration.
func (t target) checkGRUB(release string) error {
	cfg, err := t.read("/boot/grub/grub.cfg")
	if err != nil {
		return err
	}
	for _, want := range []string{"root=" + t.storage.Boot.Root, "/vmlinuz-" + release, "/initrd.img-" + release} {
		if !bytes.Contains(cfg, []byte(want)) {
			return fmt.Errorf("/boot/grub/grub.cfg: does not have %s", want)
		}
	}
	var errs []error
	for _, p := range t.storage.Disks {
		if p.After == nil {
			continue
		}
		for _, e := range p.After.Entries {
			if e.Type == layout.TypeBIOSBoot {
				errs = append(errs, t.checkCoreOf(p.Disk, e))
			}
		}
	}
	if len(errs) == 0 {
		return errors.New("no disk has a BIOS boot partition")
	}
	return errors.Join(errs...)
}

func (t target) checkCoreOf(disk plan.Disk, core layout.Entry) error {
	d, err := t.findDisk(disk)
	if err != nil {
		return err
	}
	return errors.Join(
		t.checkMBR(d.Device, core.FirstLBA),
		t.checkCore(t.disks.Partition(d.Device, core.Number)))
}

// head reads the first n bytes that are on a device. The kernel caches a disk
// and its partitions apart, so what grub-install has written through one may
// not show through the other: the cache goes first.
func (t target) head(device string, n int) ([]byte, error) {
	if err := t.disks.Flush(device); err != nil {
		return nil, fmt.Errorf("flush %s: %w", device, err)
	}
	f, err := t.machine.Open(device)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", device, err)
	}
	return b, nil
}

// coreSector is where boot.img has the number of the sector to load next.
const coreSector = 0x5c

func (t target) checkMBR(device string, coreLBA uint64) error {
	mbr, err := t.head(device, 512)
	if err != nil {
		return err
	}
	if !bytes.Contains(mbr[:440], []byte("GRUB ")) || mbr[510] != 0x55 || mbr[511] != 0xaa {
		return fmt.Errorf("%s: its first sector is not GRUB's", device)
	}
	if got := binary.LittleEndian.Uint64(mbr[coreSector:]); got != coreLBA {
		return fmt.Errorf("%s: GRUB would load sector %d, the BIOS boot partition begins at %d", device, got, coreLBA)
	}
	return nil
}

// coreSkip is the part of the core image that grub-install changes when it
// writes it: the first sector lists where the rest is, the second begins with
// the length of the error correction that follows.
const coreSkip = 1024

// checkCore compares what is in the partition with the file that grub-install
// has left.
func (t target) checkCore(device string) error {
	want, err := t.read("/boot/grub/i386-pc/core.img")
	if err != nil {
		return err
	}
	got, err := t.head(device, len(want))
	if err != nil {
		return err
	}
	if len(want) <= coreSkip || !bytes.Equal(got[coreSkip:], want[coreSkip:]) {
		return fmt.Errorf("%s: it does not hold GRUB's core image", device)
	}
	return nil
}
