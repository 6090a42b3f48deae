package sysfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// Disk is a whole block device as the kernel describes it.
type Disk struct {
	Name       string // kernel name: sda, nvme0n1
	Dev        string // "8:0"
	Path       string // see Root.BusPath
	Serial     string // as udev's ID_SERIAL_SHORT
	WWN        string // "0x5000...", "eui...."
	Model      string
	Size       int64  // bytes
	SectorSize int    // logical, bytes
	Physical   int    // bytes
	Transport  string // nvme, sata, usb, mmc, virtio, scsi, xen; virtual: loop, dm, md
	Rotational bool
	Removable  bool
	ReadOnly   bool
	// Denied lists attributes that exist and could not be read.
	Denied []error
}

// Disks lists the kernel names of the disks that a system can be installed
// onto, ordered by bus path: no loop, ram, zram, dm, md or network block
// devices, no floppies, optical drives, eMMC boot areas, or drives without a
// medium.
func (r Root) Disks() ([]string, error) {
	all, err := r.Names("sys/block")
	if err != nil {
		return nil, fmt.Errorf("list block devices: %w", err)
	}
	path := map[string]string{}
	var names []string
	for _, name := range all {
		if !installable(name) {
			continue
		}
		devPath, err := r.diskPath(name)
		if err != nil || strings.HasPrefix(devPath, "virtual/") && !r.exists("sys/block", name, "device") {
			continue
		}
		if size, err := r.Number("sys/block", name, "size"); err != nil || size == 0 {
			continue
		}
		path[name] = r.BusPath(devPath)
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return strings.Compare(path[a]+"\x00"+a, path[b]+"\x00"+b)
	})
	return names, nil
}

func installable(name string) bool {
	for _, prefix := range []string{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "mtdblock"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return !strings.HasPrefix(name, "mmcblk") || !strings.Contains(name, "boot") && !strings.Contains(name, "rpmb")
}

// Disk reads everything about one disk. Only the size is required to exist.
func (r Root) Disk(name string) (Disk, error) {
	d := Disk{Name: name, SectorSize: 512, Physical: 512}
	if name == "" || strings.ContainsAny(name, "/") || strings.HasPrefix(name, ".") {
		return d, fmt.Errorf("read identity of %q: not a kernel name of a disk", name)
	}
	sectors, err := r.Number("sys/block", name, "size")
	if err != nil {
		return d, fmt.Errorf("read identity of %s: %w", name, err)
	}
	d.Size = sectors * 512 // in this unit whatever the sector size
	devPath, err := r.diskPath(name)
	if err == nil {
		d.Path = r.BusPath(devPath)
		d.Transport = transport(name, devPath)
	}
	d.Dev = d.text(r, "dev")
	d.SectorSize = int(d.number(r, 512, "queue/logical_block_size"))
	d.Physical = int(d.number(r, int64(d.SectorSize), "queue/physical_block_size"))
	d.Rotational = d.number(r, 0, "queue/rotational") == 1
	d.Removable = d.number(r, 0, "removable") == 1
	d.ReadOnly = d.number(r, 0, "ro") == 1
	d.Model = d.text(r, "device/model")
	if d.Transport == "mmc" {
		d.Model = d.text(r, "device/name")
	}
	d.Serial = d.serial(r, devPath)
	d.WWN = wwn(or(d.text(r, "wwid"), d.text(r, "device/wwid")))
	return d, nil
}

// diskPath is where a disk is below /sys/devices. An NVMe name space that may
// have several controllers belongs to none there; its first controller then
// says where it is plugged in.
func (r Root) diskPath(name string) (string, error) {
	devPath, err := r.DevPath("sys/block", name)
	if err != nil || !strings.HasPrefix(devPath, "virtual/nvme-subsystem/") {
		return devPath, err
	}
	subsystem := filepath.Join("sys/devices", filepath.Dir(devPath))
	names, err := r.Names(subsystem)
	if err != nil {
		return devPath, err
	}
	for _, n := range names {
		if controller, err := r.DevPath(subsystem, n); nvmeController.MatchString(n) && err == nil {
			return controller + "/" + name, nil
		}
	}
	return devPath, nil
}

var nvmeController = lazyregexp.New(`^nvme[0-9]+$`)

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// text reads an optional attribute. A device that does not answer (EINVAL,
// EIO) has none; one that may not be read is noted.
func (d *Disk) text(r Root, attr string) string {
	s, err := r.Text("sys/block", d.Name, attr)
	if errors.Is(err, fs.ErrPermission) {
		d.Denied = append(d.Denied, err)
	}
	return s
}

func (d *Disk) number(r Root, otherwise int64, attr string) int64 {
	n, err := r.Number("sys/block", d.Name, attr)
	if err != nil {
		return otherwise
	}
	return n
}

// transport tells the bus from the device's path.
func transport(name, devPath string) string {
	has := func(s string) bool { return strings.Contains("/"+devPath, s) }
	switch {
	case strings.HasPrefix(name, "nvme"):
		return "nvme"
	case strings.HasPrefix(name, "mmcblk"):
		return "mmc"
	case strings.HasPrefix(name, "xvd"), has("/vbd-"):
		return "xen"
	case strings.HasPrefix(name, "vd"):
		return "virtio"
	case has("/usb"):
		return "usb"
	case has("/ata"):
		return "sata"
	case has("/virtual/"):
		return "virtual"
	}
	return "scsi"
}

// serial looks where each kind of device keeps its serial number.
func (d *Disk) serial(r Root, devPath string) string {
	if d.Transport == "usb" {
		if s := usbSerial(r, devPath); s != "" {
			return s
		}
	}
	for _, attr := range []string{"serial", "device/serial"} { // virtio; nvme, mmc
		if s := d.text(r, attr); s != "" {
			return s
		}
	}
	page, err := os.ReadFile(r.join("sys/block", d.Name, "device/vpd_pg80"))
	if errors.Is(err, fs.ErrPermission) {
		d.Denied = append(d.Denied, err)
	}
	return unitSerial(page)
}

// unitSerial reads the unit serial number page (SPC-4 §7.8.16): four bytes,
// the last two the length of the text that follows.
func unitSerial(page []byte) string {
	if len(page) < 4 || page[1] != 0x80 {
		return ""
	}
	n := min(int(binary.BigEndian.Uint16(page[2:])), len(page)-4)
	return strings.Trim(string(page[4:4+n]), " \x00")
}

// usbSerial is the serial of the USB device that a disk is part of: the
// nearest parent that is one. Bridges invent SCSI serials.
func usbSerial(r Root, devPath string) string {
	for dir := devPath; dir != "." && dir != "/"; dir = filepath.Dir(dir) {
		if r.exists("sys/devices", dir, "idVendor") {
			s, err := r.Text("sys/devices", dir, "serial")
			if err != nil {
				return ""
			}
			return s
		}
	}
	return ""
}

// wwn brings the kernel's wwid into udev's form. A t10 identifier is vendor
// and serial, not a world wide name.
func wwn(wwid string) string {
	if naa, ok := strings.CutPrefix(wwid, "naa."); ok {
		return "0x" + naa
	}
	if strings.HasPrefix(wwid, "t10.") {
		return ""
	}
	return wwid
}
