package sysfs

import (
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

var (
	pciName  = lazyregexp.New(`^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$`)
	treeName = lazyregexp.New(`^[0-9a-f]{5,}\.[a-zA-Z]`) // a device tree node: fe340000.mmc
	usbName  = lazyregexp.New(`^[0-9]+-([0-9.]+:[0-9]+\.[0-9]+)$`)
	scsiName = lazyregexp.New(`^[0-9]+:([0-9]+:[0-9]+:[0-9]+)$`)
	ataName  = lazyregexp.New(`^ata([0-9]+)$`)
	nvmeName = lazyregexp.New(`^nvme[0-9]+(?:c[0-9]+)?n([0-9]+)$`)
	vmbus    = lazyregexp.New(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	xenName  = lazyregexp.New(`^(vbd|vif)-[0-9]+$`)
)

// BusPath says where a device is plugged in, in the style of udev's ID_PATH:
// pci-0000:00:1f.2-ata-1, pci-0000:00:14.0-usb-0:2:1.0. Numbers that the
// kernel gives out in the order of discovery (virtio3, host0, usb2) are not in
// it, so it stays the same from boot to boot. devPath is below /sys/devices.
func (r Root) BusPath(devPath string) string {
	var platform, pci, ata, scsi string
	var parts []string
	elems := strings.Split(devPath, "/")
	for i, e := range elems {
		switch {
		case pciName.MatchString(e):
			pci = "pci-" + e
		case i == 1 && elems[0] == "platform", elems[0] == "platform" && treeName.MatchString(e):
			platform = "platform-" + e // the innermost, behind buses such as soc
		case ataName.MatchString(e):
			ata = "ata-" + r.ataPort(strings.Join(elems[:i+1], "/"), e)
		case usbName.MatchString(e):
			parts = keepOne(parts, "usb-", "usb-0:"+usbName.FindStringSubmatch(e)[1])
		case scsiName.MatchString(e):
			scsi = "scsi-0:" + scsiName.FindStringSubmatch(e)[1]
		case nvmeName.MatchString(e):
			parts = append(parts, "nvme-"+nvmeName.FindStringSubmatch(e)[1])
		case vmbus.MatchString(e):
			parts = append(parts, "vmbus-"+e)
		case xenName.MatchString(e):
			parts = append(parts, "xen-"+e)
		}
	}
	if ata != "" {
		scsi = ata
	}
	return joined(devPath, append(append([]string{platform, pci}, parts...), scsi))
}

// keepOne replaces the part with that prefix: behind hubs only the last one
// says where the device is.
func keepOne(parts []string, prefix, part string) []string {
	for i, p := range parts {
		if strings.HasPrefix(p, prefix) {
			parts[i] = part
			return parts
		}
	}
	return append(parts, part)
}

func joined(devPath string, parts []string) string {
	var list []string
	for _, p := range parts {
		if p != "" {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return devPath
	}
	return strings.Join(list, "-")
}

// ataPort is the port's number on its own controller; ataN counts over all.
func (r Root) ataPort(devPath, name string) string {
	if port, err := r.Text("sys/devices", devPath, "ata_port", name, "port_no"); err == nil {
		return port
	}
	return strings.TrimPrefix(name, "ata")
}
