package vm

import (
	"fmt"
	"strconv"
)

// controllerArgs add the host adapters that the disks need.
func (s setup) controllerArgs() []string {
	need := map[string]bool{}
	for _, d := range s.Disks {
		need[d.Bus] = true
	}
	var a []string
	for _, n := range s.NICs {
		need["usb"] = need["usb"] || n.Model == "usb-net"
	}
	if need["usb"] {
		a = append(a, "-device", "qemu-xhci,id=xhci,p2=15,p3=15")
	}
	if need["scsi"] {
		a = append(a, "-device", "virtio-scsi-pci,id=scsi")
	}
	if need["sata"] && s.Arch == "arm64" {
		a = append(a, "-device", "ahci,id=ahci")
	}
	return a
}

// diskArgs are the block graph and the device of disk i. Nodes, from the
// bottom: diskN-file, diskN-image, and if asked for diskN-log and diskN-faults; the
// device is diskN.
func (s setup) diskArgs(i int) []string {
	d, img := s.Disks[i], s.disks[i]
	id := fmt.Sprintf("disk%d", i)
	ro := onOff(d.ReadOnly)
	a := []string{"-blockdev", opts("driver=file",
		"node-name", id+"-file", "filename", img.path, "read-only", ro, "discard", "unmap",
		"cache.direct", onOff(d.Cache == "none"), "cache.no-flush", onOff(d.Cache == "unsafe"))}
	top := id + "-image"
	a = append(a, "-blockdev", opts("driver="+img.format,
		"node-name", top, "file", id+"-file", "read-only", ro, "discard", "unmap"))
	if d.LogWrites != "" {
		a = append(a,
			"-blockdev", opts("driver=file", "node-name", id+"-logfile", "filename", d.LogWrites),
			"-blockdev", opts("driver=blklogwrites", "node-name", id+"-log",
				"file", top, "log", id+"-logfile", "log-sector-size", strconv.Itoa(d.SectorSize)))
		top = id + "-log"
	}
	if d.FailWrites > 0 {
		a = append(a, "-blockdev", opts("driver=blkdebug", append([]string{"node-name", id + "-faults", "image", top}, d.faults()...)...))
		top = id + "-faults"
	}
	bus := d.busName(i, s.Arch)
	if d.Hotplug {
		a = append(a, "-device", opts("pcie-root-port", "id", bus, "chassis", strconv.Itoa(i+1)))
	}
	if d.Bus == "mmc" { // each card has a slot of its own
		return append(a, "-device", "sdhci-pci", "-device", opts("sd-card", "id", id, "drive", top))
	}
	dev := opts(d.device(), "id", id, "drive", top, "bus", bus, "serial", d.serial(i),
		"write-cache", onOff(d.Cache != "writethrough"))
	dev = opts(dev, d.identity()...)
	if d.FailWrites > 0 { // QEMU would stop a machine whose disk is full
		dev = opts(dev, "werror", "report")
	}
	if d.BootIndex > 0 {
		dev = opts(dev, "bootindex", strconv.Itoa(d.BootIndex))
	}
	return append(a, "-device", dev)
}

// identity are the properties by which a guest tells disks from each other.
func (d Disk) identity() []string {
	var kv []string
	if physical := max(d.Physical, d.SectorSize); physical != 512 {
		kv = append(kv, "logical_block_size", strconv.Itoa(d.SectorSize), "physical_block_size", strconv.Itoa(physical))
	}
	if d.WWN != "" {
		kv = append(kv, "wwn", "0x"+d.WWN)
	}
	if d.RPM != 0 {
		kv = append(kv, "rotation_rate", strconv.Itoa(d.RPM))
	}
	if d.Bus == "scsi" {
		return append(kv, "product", d.Model)
	}
	return append(kv, "model", d.Model)
}

// maxFailWrites keeps the arguments within what a process can have.
const maxFailWrites = 1000

// faults are the rules of QEMU's blkdebug driver (docs/devel/blkdebug.txt). It
// counts by going from one state to the next at each write, from state 1; in the
// state after the last good one, errors are switched on.
func (d Disk) faults() []string {
	var kv []string
	rule := func(list string, i int, more ...string) {
		for j := 0; j < len(more); j += 2 {
			kv = append(kv, fmt.Sprintf("%s.%d.%s", list, i, more[j]), more[j+1])
		}
	}
	for i := range d.FailWrites {
		rule("set-state", i, "event", "pwritev", "state", strconv.Itoa(i+1), "new_state", strconv.Itoa(i+2))
	}
	for i, kind := range []string{"write", "write-zeroes", "discard"} {
		rule("inject-error", i, "event", "pwritev", "iotype", kind,
			"state", strconv.Itoa(d.FailWrites+1), "errno", strconv.Itoa(int(d.FailErrno)))
	}
	return kv
}

// device is QEMU's name for a disk's device.
func (d Disk) device() string {
	switch d.Bus {
	case "nvme":
		return "nvme"
	case "sata":
		return "ide-hd"
	case "usb":
		return "usb-storage,removable=on"
	case "scsi":
		return "scsi-hd"
	}
	return "virtio-blk-pci"
}

// busName is the bus that disk i is on; empty for the machine's PCI root.
func (d Disk) busName(i int, arch string) string {
	switch {
	case d.Hotplug:
		return fmt.Sprintf("port%d", i)
	case d.Bus == "usb":
		return "xhci.0"
	case d.Bus == "scsi":
		return "scsi.0"
	case d.Bus == "sata" && arch == "arm64":
		return fmt.Sprintf("ahci.%d", i)
	case d.Bus == "sata":
		return fmt.Sprintf("ide.%d", i) // the q35 board's own controller
	}
	return ""
}

// serial is the disk's serial number; NVMe has no disks without one.
func (d Disk) serial(i int) string {
	if d.Serial == "" && d.Bus == "nvme" {
		return fmt.Sprintf("disk%d", i)
	}
	return d.Serial
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
