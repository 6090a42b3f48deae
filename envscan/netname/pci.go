package netname

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// skipVirtio leaves out the virtio bus: a PCI function, CCW device or the like
// has at most one on it.
func skipVirtio(nodes []Node) []Node {
	for len(nodes) > 0 && nodes[0].Subsystem == "virtio" {
		nodes = nodes[1:]
	}
	return nodes
}

// up are the nodes from the first one of a subsystem on.
func up(nodes []Node, subsystem string) []Node {
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.Subsystem == subsystem })
	if i < 0 {
		return nil
	}
	return nodes[i:]
}

// onPCI names what is directly on PCI.
func onPCI(d Device, s Scheme, prefix string, n *Names) {
	nodes := skipVirtio(d.Nodes)
	if len(nodes) == 0 || nodes[0].PCI == nil {
		return
	}
	suffix := ""
	if vf := nodes[0].PCI.VF; s.has(sriovSuffix) && vf != nil && len(vf.Nodes) > 0 && vf.Nodes[0].PCI != nil {
		nodes, suffix = vf.Nodes, "v"+vf.Number
	}
	if index := nodes[0].PCI.Index; index != nil && indexCounts(*index, s) {
		if port, ok := portSpec(d, s, false); ok {
			n.Onboard = join(prefix, fmt.Sprintf("o%d", *index), port, suffix)
		}
	}
	pciSlot(d, s, nodes, prefix, suffix, n)
}

// indexCounts: firmware that does not know reports 0 or very high numbers.
func indexCounts(index uint32, s Scheme) bool {
	limit := uint32(1<<14 - 1)
	if s.has(index16) {
		limit = 1<<16 - 1
	}
	return index <= limit && (index > 0 || s.has(indexZero))
}

// pciSlot sets Path and Slot by the PCI function that nodes begin with.
func pciSlot(d Device, s Scheme, nodes []Node, prefix, suffix string, n *Names) {
	domain, place, function, err := address(nodes[0], s)
	port, ok := portSpec(d, s, true)
	if err != nil || !ok {
		return
	}
	if name := join(prefix, domain, place, function, port, suffix); name != "" {
		n.Path = name
	}
	slot, ofFunction := findSlot(d, s, nodes)
	if slot == 0 {
		return
	}
	if ofFunction {
		domain = ""
	}
	if name := join(prefix, domain, fmt.Sprintf("s%d", slot), function, port, suffix); name != "" {
		n.Slot = name
	}
}

var pciAddress = lazyregexp.New(`^([0-9a-fA-F]{1,8}):([0-9a-fA-F]{1,8}):([0-9a-fA-F]{1,8})\.([0-9]{1,8})`)

// address takes a PCI address apart: P<domain> unless 0, p<bus>s<slot>, and
// f<function> unless it is the only one.
func address(node Node, s Scheme) (domain, place, function string, err error) {
	m := pciAddress.FindStringSubmatch(node.Name)
	if m == nil {
		return "", "", "", fmt.Errorf("read PCI address %q: expected domain:bus:slot.function", node.Name)
	}
	var num [4]uint64
	for i, base := range []int{16, 16, 16, 10} {
		if num[i], err = strconv.ParseUint(m[i+1], base, 32); err != nil {
			return "", "", "", fmt.Errorf("read PCI address %q: %w", node.Name, err)
		}
	}
	if s.has(nparARI) && node.PCI.ARI {
		// The five bits of the slot and three of the function are one number.
		num[3] += num[2] * 8
	}
	if num[0] > 0 {
		domain = fmt.Sprintf("P%d", num[0])
	}
	if num[3] > 0 || node.PCI.Multifunction {
		function = fmt.Sprintf("f%d", num[3])
	}
	return domain, fmt.Sprintf("p%ds%d", num[1], num[2]), function, nil
}

var representor = lazyregexp.New(`^pf[0-9]+vf([0-9]{1,9})`)

// portSpec tells ports of one PCI function apart: by the name that the driver
// has for them, else by number. Not ok: the name cannot be part of a name.
func portSpec(d Device, s Scheme, orID bool) (spec string, ok bool) {
	if d.PortName != "" && (printable(d.PortName) || s.has(rewritten)) {
		if m := representor.FindStringSubmatch(d.PortName); m != nil && s.has(sriovRep) {
			number := strings.TrimLeft(m[1], "0")
			return "r" + orZero(number), true
		}
		if !printable(d.PortName) {
			return "", false
		}
		return "n" + d.PortName, true
	}
	port := d.Port
	if port == 0 && orID && d.Type == arpInfiniband && s.has(rewritten) {
		port = d.PortID // old drivers for InfiniBand
	}
	if port == 0 {
		return "", true
	}
	return fmt.Sprintf("d%d", port), true
}

func orZero(digits string) string {
	if digits == "" {
		return "0"
	}
	return digits
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError })
}

// findSlot is the number of the slot that a function is in, or 0. ofFunction: it
// is s390's, which has no domain.
func findSlot(d Device, s Scheme, nodes []Node) (slot uint64, ofFunction bool) {
	if s.has(firmwareSUN) {
		if slot := sunSlot(nodes); slot > 0 {
			return slot, false
		}
	}
	if d.Slots == nil {
		return 0, false
	}
	multi := nodes[0].PCI.Multifunction
	for at := nodes; len(at) > 0; at = up(at[1:], "pci") {
		pci := at[0].PCI
		if pci == nil {
			continue
		}
		if s.has(slotFunctionID) && pci.FunctionID != "" {
			return d.functionSlot(pci.FunctionID), true
		}
		slot := d.addressSlot(at[0].Name)
		if slot == 0 {
			continue
		}
		// All that is behind a bridge would have the bridge's slot.
		if s.has(bridgeNoSlot) && pci.Bridge && !(s.has(bridgeMultiSlot) && multi) {
			return 0, false
		}
		return slot, false
	}
	return 0, false
}

// sunSlot is the firmware's number of the slot, of the function or of the port
// that it is on.
func sunSlot(nodes []Node) uint64 {
	if sun := nodes[0].PCI.SUN; sun != nil && *sun > 0 {
		return uint64(*sun)
	}
	parent := up(nodes[1:], "pci")
	if len(parent) == 0 || parent[0].PCI == nil || parent[0].PCI.Bridge && !nodes[0].PCI.Multifunction {
		return 0
	}
	if sun := parent[0].PCI.SUN; sun != nil {
		return uint64(*sun)
	}
	return 0
}

// functionSlot is s390's: the slot is named by the function_id as eight
// hexadecimal digits.
func (d Device) functionSlot(id string) uint64 {
	n, ok := unsigned(id, 64)
	if !ok || n == 0 || n > math.MaxUint32 {
		return 0
	}
	if _, there := d.Slots[fmt.Sprintf("%08x", n)]; !there {
		return 0
	}
	return n
}

// addressSlot is the slot whose address a function's begins with. Of several the
// least: udev takes the first one that it happens to read.
func (d Device) addressSlot(name string) uint64 {
	var best uint64
	for slot, address := range d.Slots {
		n, ok := unsigned(slot, 32)
		if ok && n > 0 && address != "" && strings.HasPrefix(name, address) && (best == 0 || n < best) {
			best = n
		}
	}
	return best
}

// unsigned reads a number as systemd does: decimal, or with 0x, 0b, 0o or, for
// octal, 0 before it.
func unsigned(s string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimLeft(s, " \t"), "+"), 0, bits)
	return n, err == nil && !strings.Contains(s, "_")
}
