package vm

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// rootBus is the name of both boards' own PCI bus.
const rootBus = "pcie.0"

// bridgedNICArgs are the network cards on other buses than 00, and the bridges
// that make the numbers of the buses what they are to be.
//
// Firmware numbers buses as it finds bridges: those behind a root one after the
// other from the root's own number on. So buses of consecutive numbers are root
// ports of one root (pxb-pcie) whose number is one less; from 01 on, of the
// board's own.
func (s setup) bridgedNICArgs(cables map[int]int) []string {
	var a []string
	buses := s.buses()
	root := rootBus
	for i, bus := range buses {
		if bus > 1 && (i == 0 || buses[i-1] != bus-1) {
			root = fmt.Sprintf("root%02x", bus-1)
			a = append(a, "-device", opts("pxb-pcie", "id", root, "bus", rootBus, "bus_nr", strconv.Itoa(bus-1)))
		}
		number := fmt.Sprintf("%02x", bus)
		a = append(a, "-device", opts("pcie-root-port", "id", "bus"+number, "bus", root, "chassis", strconv.Itoa(100+bus)))
		a = append(a, s.nicsOn(number, "bus"+number, cables)...)
	}
	return a
}

// buses are the numbers of those that network cards are on, but for 00.
func (s setup) buses() []int {
	var list []int
	for _, n := range s.NICs {
		// validate has seen to the form.
		if b, err := strconv.ParseUint(n.Address[:min(2, len(n.Address))], 16, 8); err == nil && b > 0 {
			list = append(list, int(b))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// nicsOn are the network cards whose address is on a bus; id is the bus's name.
func (s setup) nicsOn(number, id string, cables map[int]int) []string {
	var a []string
	for i, n := range s.NICs {
		if strings.HasPrefix(n.Address, number+":") {
			a = append(a, s.nicArgs(i, n, id, cables)...)
		}
	}
	return a
}

// nicArgs are network card i and the network behind it. bus is where its address
// counts; empty: it has none. The card's option ROM is left out: starting a
// system from the network is the firmware's business under UEFI, and takes
// SeaBIOS seconds. cables are the descriptors of those that have one.
func (s setup) nicArgs(i int, n NIC, bus string, cables map[int]int) []string {
	id := fmt.Sprintf("nic%d", i)
	netdev := n.userNetwork(i, id)
	if fd, ok := cables[i]; ok {
		netdev = opts("socket", "id", id, "fd", strconv.Itoa(fd))
	}
	dev := opts(n.Model, "id", id+"-card", "netdev", id, "mac", n.MAC)
	if bus != "" {
		_, slot, _ := strings.Cut(n.Address, ":")
		dev = opts(dev, "bus", bus, "addr", slot)
		if strings.HasSuffix(slot, ".0") && s.functions(n.Address) > 1 {
			dev = opts(dev, "multifunction", "on")
		}
	}
	switch {
	case n.Model == "usb-net" && s.Board == "":
		dev = opts(dev, "bus", "xhci.0")
	case strings.HasPrefix(n.Model, "virtio-net") || bus != "":
		dev += ",romfile="
	}
	return []string{"-netdev", netdev, "-device", dev}
}

// userNetwork is the user-mode network of card i. That of one with a cable, which
// only runs by hand have, leads nowhere.
func (n NIC) userNetwork(i int, id string) string {
	netdev := opts("user", "id", id,
		"net", fmt.Sprintf("10.0.%d.0/24", 2+i), "ipv6-net", fmt.Sprintf("fec0:0:0:%x::/64", i))
	if n.Restrict || n.Cable != nil {
		netdev = opts(netdev, "restrict", "on")
	}
	for _, port := range n.Forward {
		netdev = opts(netdev, "hostfwd", fmt.Sprintf("tcp:127.0.0.1:0-%s:%d", n.Guest, port))
	}
	return netdev
}

// functions counts the cards in the slot of an address.
func (s setup) functions(address string) int {
	slot := strings.TrimRight(address, "01234567")
	count := 0
	for _, n := range s.NICs {
		if strings.TrimRight(n.Address, "01234567") == slot {
			count++
		}
	}
	return count
}

// onboardArgs are the structures that say which cards are onboard.
func (s setup) onboardArgs() []string {
	var a []string
	for _, file := range s.onboard {
		a = append(a, "-smbios", opts("file="+strings.ReplaceAll(file, ",", ",,")))
	}
	return a
}

// writeOnboard writes them: QEMU itself only makes such of cards on the board's
// own bus.
func (s *setup) writeOnboard() error {
	for i, n := range s.NICs {
		if n.Index == 0 {
			continue
		}
		file := s.temp(fmt.Sprintf("onboard%d", i))
		if err := os.WriteFile(file, n.onboard(i), 0o600); err != nil {
			return fmt.Errorf("describe network card %d: %w", i, err)
		}
		s.onboard = append(s.onboard, file)
	}
	return nil
}

// onboard is an Onboard Devices Extended Information structure (SMBIOS 3.7
// §7.42, type 41): type, length, handle; designation, kind (enabled, Ethernet),
// instance; segment, bus, device and function; then the strings.
func (n NIC) onboard(i int) []byte {
	var bus, slot, function byte
	if _, err := fmt.Sscanf(n.Address, "%02x:%02x.%d", &bus, &slot, &function); err != nil {
		return nil // validate has seen to the form
	}
	b := []byte{41, 11, byte(i), 0x29, 0, 0x85, byte(n.Index), 0, 0, bus, slot<<3 | function}
	if n.Label == "" {
		return append(b, 0, 0)
	}
	b[4] = 1
	return append(append(b, n.Label...), 0, 0)
}
