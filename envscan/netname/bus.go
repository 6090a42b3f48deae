package netname

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// devicetree names by an alias such as ethernet0.
func devicetree(d Device, s Scheme, prefix string, n *Names) {
	if !s.has(aliases) || prefix != "en" {
		return
	}
	of := ""
	if s.has(portAliases) {
		of = d.OF
	}
	if of == "" && len(d.Nodes) > 0 {
		of = d.Nodes[0].OF
	}
	if of == "" {
		return
	}
	for _, alias := range slices.Sorted(maps.Keys(d.Aliases)) {
		digits, ok := strings.CutPrefix(alias, "ethernet")
		if !ok || path.Clean(d.Aliases[alias]) != path.Clean(of) {
			continue
		}
		index, other := uint64(0), "ethernet0"
		if digits != "" {
			if index, ok = unsigned(digits, 32); !ok {
				return
			}
			other = "ethernet"
		}
		if _, both := d.Aliases[other]; both && index == 0 {
			return // which one is the first?
		}
		n.Onboard = join(prefix, fmt.Sprintf("d%d", index))
		return
	}
}

// ccw names by the bus ID on System z: 0.0.0600 is c600.
func ccw(d Device, _ Scheme, prefix string, n *Names) {
	nodes := skipVirtio(d.Nodes)
	if len(nodes) == 0 || nodes[0].Subsystem != "ccw" && nodes[0].Subsystem != "ccwgroup" {
		return
	}
	id := nodes[0].Name
	if len(id) != 8 && len(id) != 9 {
		return
	}
	short := strings.TrimLeft(id, ".0")
	if short == "" {
		short = id[len(id)-1:]
	}
	n.Path = join(prefix, "c", short)
}

// first is the element that follows a folder of /sys/devices in the path of a
// device whose parent is of a subsystem.
func (d Device) first(subsystem, folder string) string {
	if len(d.Nodes) == 0 || d.Nodes[0].Subsystem != subsystem {
		return ""
	}
	rest, ok := strings.CutPrefix(d.Path, folder)
	if !ok {
		return ""
	}
	elem, _, _ := strings.Cut(rest, "/")
	return elem
}

var vioSlot = lazyregexp.New(`^[0-9a-fA-F]{4}([0-9a-fA-F]{4})$`)

// vio names by the slot that the hypervisor of POWER has for it: 30000002.
func vio(d Device, _ Scheme, prefix string, n *Names) {
	m := vioSlot.FindStringSubmatch(d.first("vio", "vio/"))
	if m == nil {
		return
	}
	if slot, err := strconv.ParseUint(m[1], 16, 32); err == nil {
		n.Slot = join(prefix, fmt.Sprintf("v%d", slot))
	}
}

// acpi is a PNP or ACPI ID, then the instance: HISI00C2:00.
var acpi = lazyregexp.New(`^([A-Z]{3}|[A-Z0-9]{4})([0-9a-fA-F]{4}):([0-9a-fA-F]{2})$`)

func platform(d Device, _ Scheme, prefix string, n *Names) {
	m := acpi.FindStringSubmatch(d.first("platform", "platform/"))
	if m == nil {
		return
	}
	model, err1 := strconv.ParseUint(m[2], 16, 32)
	instance, err2 := strconv.ParseUint(m[3], 16, 32)
	if err1 == nil && err2 == nil {
		n.Path = join(prefix, fmt.Sprintf("a%s%xi%d", strings.ToLower(m[1]), model, instance))
	}
}

var trailingNumber = lazyregexp.New(`[0-9]+$`)

// simulated names netdevsim.
func simulated(d Device, s Scheme, prefix string, n *Names) {
	sim := up(d.Nodes, "netdevsim")
	if !s.has(netdevsim) || len(sim) == 0 || d.PortName == "" || !printable(d.PortName) {
		return
	}
	if number, ok := unsigned(trailingNumber.FindString(sim[0].Name), 32); ok {
		n.Path = join(prefix, fmt.Sprintf("i%dn%s", number, d.PortName))
	}
}

var vif = lazyregexp.New(`^vif-(0|[1-9][0-9]{0,9})$`)

// xen names by the number that the configuration of the guest has.
func xen(d Device, s Scheme, prefix string, n *Names) {
	m := vif.FindStringSubmatch(d.first("xen", ""))
	if !s.has(xenVIF) || m == nil {
		return
	}
	if id, err := strconv.ParseUint(m[1], 10, 32); err == nil {
		n.Slot = join(prefix, fmt.Sprintf("X%d", id))
	}
}

// usbInterface is bus-port.port...:configuration.interface.
var usbInterface = lazyregexp.New(`^[^-]*-([^:]*):([^.]*)\.(.*)$`)

// onUSB names by the ports that lead to the device, after the PCI function of
// the host controller.
func onUSB(d Device, s Scheme, prefix string, n *Names) {
	i := slices.IndexFunc(d.Nodes, func(n Node) bool { return n.Subsystem == "usb" && n.DevType == "usb_interface" })
	if i < 0 {
		return
	}
	m := usbInterface.FindStringSubmatch(d.Nodes[i].Name)
	if m == nil {
		return
	}
	suffix := "u" + strings.ReplaceAll(m[1], ".", "u")
	if m[2] != "1" {
		suffix += "c" + m[2]
	}
	if m[3] != "0" {
		suffix += "i" + m[3]
	}
	if host := up(d.Nodes[i+1:], "pci"); len(host) > 0 && host[0].PCI != nil {
		pciSlot(d, s, host, prefix, suffix, n)
	} else if s.has(usbHost) {
		n.Path = join(prefix, suffix)
	}
}

var bcmaCore = lazyregexp.New(`^bcma[0-9]+:([0-9]+)`)

// onBCMA names by the core of a Broadcom chip that is on PCI.
func onBCMA(d Device, s Scheme, prefix string, n *Names) {
	chip := up(d.Nodes, "bcma")
	if len(chip) == 0 {
		return
	}
	m, host := bcmaCore.FindStringSubmatch(chip[0].Name), up(chip[1:], "pci")
	if m == nil || len(host) == 0 || host[0].PCI == nil {
		return
	}
	suffix := ""
	if core, err := strconv.ParseUint(m[1], 10, 32); err == nil && core > 0 {
		suffix = fmt.Sprintf("b%d", core)
	}
	pciSlot(d, s, host, prefix, suffix, n)
}
