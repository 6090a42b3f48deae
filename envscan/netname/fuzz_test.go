package netname

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever a driver or a firmware writes into /sys: no crash, and no name with
// bytes that a terminal would obey.
func FuzzOf(f *testing.F) {
	f.Add("0000:05:00.0", "pci", "2-1.4:1.0", "pf0vf3", "0x10", "52:54:00:12:34:56", "1", int64(1))
	f.Add("bcma0:1", "bcma", "1-1", "p1\x1b", "", "", "00000001", int64(32))
	f.Add("0.0.0000", "ccw", "-:.", "", "-1", "zz", "", int64(256))
	f.Add("netdevsim9", "netdevsim", "1-:", "x", "18446744073709551616", "::", "4294967296", int64(1))
	f.Fuzz(func(t *testing.T, node, subsystem, usb, port, id, address, slot string, typ int64) {
		index := uint32(len(port))
		pci := &PCI{Index: &index, FunctionID: id, Bridge: len(id)%2 == 0, Multifunction: len(slot)%2 == 0}
		pci.VF = &VF{Number: "1", Nodes: []Node{{Name: node, Subsystem: "pci", PCI: &PCI{}}}}
		for _, inner := range [][]Node{nil, {{Name: usb, Subsystem: "usb", DevType: "usb_interface"}}, {{Name: usb, Subsystem: "bcma"}}, {{Name: usb, Subsystem: "virtio"}}} {
			d := Device{
				Name: "eth0", Path: node + "/" + usb + "/net/eth0", Type: typ, Address: address, PortName: port, OF: usb,
				Aliases: map[string]string{"ethernet" + slot: usb}, Slots: map[string]string{slot: id, id: node},
				Nodes: append(inner, Node{Name: node, Subsystem: subsystem, PCI: pci}, Node{Name: node, Subsystem: "pci"}),
			}
			for _, s := range Schemes() {
				check(t, Of(d, s), node+usb+port)
			}
		}
	})
}

func check(t *testing.T, n Names, given string) {
	for _, name := range []string{n.Onboard, n.Slot, n.Path, n.MAC} {
		if len(name) > propertyMax {
			t.Errorf("%q is too long", name)
		}
		if name != "" && !strings.HasPrefix(name, "en") && !strings.HasPrefix(name, "ib") && !strings.HasPrefix(name, "sl") {
			t.Errorf("%q has no known prefix", name)
		}
		if got := Default(Names{Path: name}); got != "" && (Valid(got) != nil || !utf8.ValidString(got)) {
			t.Errorf("%q was chosen of %q", got, given)
		}
	}
}

// FuzzUnsigned: what is no number is none, and no number is read twice.
func FuzzUnsigned(f *testing.F) {
	for _, s := range []string{"0", "010", "0x1f", "1_0", "-1", "+3", " 7", "4294967296"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := unsigned(s, 32); ok && (n > 1<<32-1 || strings.ContainsAny(s, "_-")) {
			t.Errorf("unsigned(%q) = %d", s, n)
		}
	})
}
