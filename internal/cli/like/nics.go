package like

import (
	"crypto/sha256"
	"fmt"
	"net"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// models are QEMU's cards for drivers of real ones. Where the family is another,
// the card is one that every kernel has a driver for.
var models = map[string]string{
	"virtio_net": "virtio-net-pci",
	"e1000":      "e1000",
	"e1000e":     "e1000e",
	"8139cp":     "rtl8139",
	"8139too":    "rtl8139",
	"vmxnet3":    "vmxnet3",
	"e100":       "i82557b",
	"ne2k-pci":   "ne2k_pci",
	"tulip":      "tulip",
	"cdc_ether":  "usb-net",
}

const (
	pciModel = "e1000e"
	usbModel = "usb-net"
)

// drivers are those of the cards that stand in for others.
var drivers = map[string]string{pciModel: "e1000e", usbModel: "cdc_ether"}

// pciPath is the bus path of a card that is right on a PCI bus.
var pciPath = lazyregexp.New(`^pci-0000:([0-9a-f]{2}:[01][0-9a-f]\.[0-7])$`)

// nics makes a card for each; the wireless ones are left to the guest's kernel.
func (m *maker) nics() {
	for _, n := range m.facts.HW.NIC {
		fact := "hw.nic[name=" + n.Name + "]"
		switch {
		case n.Wireless:
			m.Radios++
			m.differs(fact+".driver", n.Driver, "mac80211_hwsim", "a simulated radio, with an address and a place of its own")
		case n.Kind != "" && n.Kind != "ethernet":
			m.differs(fact, n.Kind, "", "QEMU has no such card")
		default:
			m.Config.NICs = append(m.Config.NICs, m.nic(fact, n))
		}
	}
	m.functionZero()
}

func (m *maker) nic(fact string, n envscan.NIC) vm.NIC {
	v := vm.NIC{MAC: m.mac(fact, n), Model: models[n.Driver]}
	if n.Driver == "igb" && m.igb {
		v.Model = "igb"
	}
	if v.Model == "" {
		v.Model = pciModel
		if strings.Contains(n.Path, "-usb-") {
			v.Model = usbModel
		}
		m.differs(fact+".driver", n.Driver, drivers[v.Model], "QEMU has no card of the family")
	}
	if n.Driver == "8139too" {
		m.differs(fact+".driver", n.Driver, "8139cp", "QEMU's card is of the newer kind")
	}
	v.Address = m.place(fact, n, v.Model)
	if n.Index != nil && *n.Index > 0 {
		if *n.Index < 256 && v.Address != "" {
			v.Index, v.Label = int(*n.Index), n.Label
		} else {
			m.differs(fact+".index", *n.Index, "", "it has no place that the firmware could name, or is beyond 255")
		}
	}
	return v
}

// mac is the card's own address, or its current one. Where the facts were
// redacted, the same value gives the same made-up address.
func (m *maker) mac(fact string, n envscan.NIC) string {
	was := n.HWAddr
	if was == "" {
		was = n.Current
	}
	if hw, err := net.ParseMAC(was); err == nil && len(hw) == 6 && hw[0]&1 == 0 {
		return was
	}
	sum := sha256.Sum256([]byte(n.Path + " " + was))
	made := net.HardwareAddr(append([]byte{0x52, 0x54, 0x00}, sum[:3]...)).String()
	m.differs(fact+".hwaddr", was, made, "the facts have no address to use")
	return made
}

// place is the PCI address, where QEMU's board can have the card there.
func (m *maker) place(fact string, n envscan.NIC, model string) string {
	why := ""
	at := pciPath.FindStringSubmatch(n.Path)
	switch {
	case at == nil:
		why = "it is not right on a PCI bus of the first domain"
	case model == usbModel:
		why = "the card is on USB"
	case m.used(at[1]):
		why = "another card is there"
	case !strings.HasPrefix(at[1], "00:"):
		if at[1][3:5] != "00" {
			why = "behind a root port there is slot 00 alone"
		}
	case boardSlot(m.facts.HW.Arch, at[1][3:]):
		why = "a device of QEMU's board is there"
	}
	if why != "" {
		m.differs(fact+".path", n.Path, "another", why)
		return ""
	}
	return at[1]
}

func (m *maker) used(address string) bool {
	for _, n := range m.Config.NICs {
		if n.Address == address {
			return true
		}
	}
	return false
}

// boardSlot says whether a slot of the board's own bus is taken: by the host
// bridge, and of q35 by the functions of the south bridge.
func boardSlot(arch, slot string) bool {
	if strings.HasPrefix(slot, "00.") {
		return true
	}
	return arch == "amd64" && (slot == "1f.0" || slot == "1f.2" || slot == "1f.3")
}

// functionZero takes the place from cards in slots whose function 0 is not a
// network card: a kernel does not look for other functions there. The south
// bridge has one.
func (m *maker) functionZero() {
	for i := range m.Config.NICs {
		n := &m.Config.NICs[i]
		if n.Address == "" || strings.HasSuffix(n.Address, ".0") || m.facts.HW.Arch == "amd64" && strings.HasPrefix(n.Address, "00:1f.") {
			continue
		}
		if zero := n.Address[:len(n.Address)-1] + "0"; !m.used(zero) {
			m.differs(fmt.Sprintf("hw.nic[hwaddr=%q].path", n.MAC), "pci-0000:"+n.Address, "another", "function 0 of its slot is no network card")
			n.Address, n.Index, n.Label = "", 0, ""
		}
	}
}
