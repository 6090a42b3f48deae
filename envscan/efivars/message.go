package efivars

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// messages are the nodes of buses and networks (UEFI 2.10 §10.3.4), by subtype.
var messages = map[byte]format{
	1:  {4, func(d []byte) string { return fmt.Sprintf("Ata(%d,%d,%d)", d[0], d[1], le16(d[2:])) }},
	2:  {4, func(d []byte) string { return fmt.Sprintf("SCSI(%d,%d)", le16(d), le16(d[2:])) }},
	3:  {20, func(d []byte) string { return fmt.Sprintf("Fibre(%x,%x)", le64(d[4:]), le64(d[12:])) }},
	4:  {12, func(d []byte) string { return fmt.Sprintf("I1394(0x%x)", le64(d[4:])) }},
	5:  {2, func(d []byte) string { return fmt.Sprintf("USB(%d,%d)", d[0], d[1]) }},
	6:  {4, func(d []byte) string { return fmt.Sprintf("I2O(%d)", le32(d)) }},
	10: {16, vendorMessage},
	11: {33, mac},
	12: {19, ipv4},
	13: {39, ipv6},
	14: {15, uart},
	15: {7, usbClass},
	16: {6, func(d []byte) string {
		return fmt.Sprintf("UsbWwid(%x,%x,%d,%s)", le16(d[2:]), le16(d[4:]), le16(d), Text(d[6:]))
	}},
	17: {1, func(d []byte) string { return fmt.Sprintf("Unit(%d)", d[0]) }},
	18: {6, func(d []byte) string { return fmt.Sprintf("Sata(%d,%d,%d)", le16(d), le16(d[2:]), le16(d[4:])) }},
	19: {14, iscsi},
	20: {2, func(d []byte) string { return fmt.Sprintf("Vlan(%d)", le16(d)) }},
	21: {20, func(d []byte) string {
		be := binary.BigEndian
		return fmt.Sprintf("Fibre(%x,%x)", be.Uint64(d[4:]), be.Uint64(d[12:]))
	}},
	23: {12, func(d []byte) string {
		return fmt.Sprintf("NVMe(0x%x,%s)", le32(d), strings.ToUpper(joined(d[4:12], "-")))
	}},
	24: {0, func(d []byte) string { return "Uri(" + string(d) + ")" }},
	25: {2, func(d []byte) string { return fmt.Sprintf("UFS(%d,0x%02x)", d[0], d[1]) }},
	26: {1, func(d []byte) string { return fmt.Sprintf("SD(%d)", d[0]) }},
	27: {6, func(d []byte) string { return "Bluetooth(" + joined(d[:6], ":") + ")" }},
	28: {32, func(d []byte) string { return "Wi-Fi(" + joined(d[:32], ":") + ")" }},
	29: {1, func(d []byte) string { return fmt.Sprintf("eMMC(%d)", d[0]) }},
	30: {7, func(d []byte) string { return fmt.Sprintf("BluetoothLE(%s,%d)", joined(d[:6], ":"), d[6]) }},
	31: {1, dns},
	32: {16, func(d []byte) string { return "NVDIMM(" + guid(d) + ")" }},
}

// joined is bytes in hexadecimal with something between them.
func joined(b []byte, sep string) string {
	return strings.ReplaceAll(fmt.Sprintf("% x", b), " ", sep)
}

// mac is a network interface. Ethernet's addresses have 6 of the 32 bytes.
func mac(d []byte) string {
	addr := d[:32]
	if d[32] < 2 {
		addr = d[:6]
	}
	return fmt.Sprintf("MAC(%x,%d)", addr, d[32])
}

// protocol is the name of an IP protocol, where it has one here.
func protocol(n uint16) string {
	switch n {
	case 6:
		return "TCP"
	case 17:
		return "UDP"
	}
	return fmt.Sprint(n)
}

func address(b []byte, port uint16) string {
	a, _ := netip.AddrFromSlice(b) // of 4 or 16 bytes
	text := a.String()
	if a.Is6() {
		text = "[" + text + "]"
	}
	if port > 0 {
		text += fmt.Sprintf(":%d", port)
	}
	return text
}

// ipv4 has the local and the remote address and ports, the protocol, and how the
// local one is chosen; newer ones have the gateway and mask too.
func ipv4(d []byte) string {
	origin := "DHCP"
	if d[14] != 0 {
		origin = "Static"
	}
	text := fmt.Sprintf("IPv4(%s,%s,%s,%s", address(d[4:8], le16(d[10:])), protocol(le16(d[12:])), origin, address(d[:4], le16(d[8:])))
	if len(d) >= 23 {
		text += "," + address(d[15:19], 0) + "," + address(d[19:23], 0)
	}
	return text + ")"
}

func ipv6(d []byte) string {
	origin := fmt.Sprintf("0x%x", d[38])
	if names := []string{"Static", "StatelessAutoConfigure", "StatefulAutoConfigure"}; int(d[38]) < len(names) {
		origin = names[d[38]]
	}
	text := fmt.Sprintf("IPv6(%s,%s,%s,%s", address(d[16:32], le16(d[34:])), protocol(le16(d[36:])), origin, address(d[:16], le16(d[32:])))
	if len(d) >= 56 {
		text += fmt.Sprintf(",%s,%d", address(d[40:56], 0), d[39])
	}
	return text + ")"
}

// uart is a serial line's settings; 0 is the default.
func uart(d []byte) string {
	baud, bits := le64(d[4:]), d[12]
	if baud == 0 {
		baud = 115200
	}
	if bits == 0 {
		bits = 8
	}
	parity, stop := fmt.Sprint(d[13]), fmt.Sprint(d[14])
	if names := "DNEOMS"; int(d[13]) < len(names) {
		parity = names[d[13] : d[13]+1]
	}
	if names := []string{"D", "1", "1.5", "2"}; int(d[14]) < len(names) {
		stop = names[d[14]]
	}
	return fmt.Sprintf("Uart(%d,%d,%s,%s)", baud, bits, parity, stop)
}

// usbClass is any device of a class.
func usbClass(d []byte) string {
	names := map[byte]string{
		1: "UsbAudio", 2: "UsbCDCControl", 3: "UsbHID", 6: "UsbImage", 7: "UsbPrinter", 8: "UsbMassStorage",
		9: "UsbHub", 10: "UsbCDCData", 11: "UsbSmartCard", 14: "UsbVideo", 220: "UsbDiagnostic", 224: "UsbWireless",
	}
	if name, known := names[d[4]]; known {
		return fmt.Sprintf("%s(0x%x,0x%x,%d,%d)", name, le16(d), le16(d[2:]), d[5], d[6])
	}
	return fmt.Sprintf("UsbClass(0x%x,0x%x,%d,%d,%d)", le16(d), le16(d[2:]), d[4], d[5], d[6])
}

// vendorMessage knows the terminals that consoles of firmware are.
func vendorMessage(d []byte) string {
	names := map[string]string{
		"e0c14753-f9be-11d2-9a0c-0090273fc14d": "VenPcAnsi",
		"dfa66065-b419-11d3-9a2d-0090273fc14d": "VenVt100",
		"7baec70b-57e0-4c76-8e87-2f9e28088343": "VenVt100Plus",
		"ad15a0d6-8bec-4acf-a073-d01de77e2d88": "VenUtf8",
		"eba4e8d2-3858-41ec-a281-2647ba9660d0": "DebugPort",
	}
	if name, known := names[guid(d)]; known {
		return fmt.Sprintf("%s(%x)", name, d[16:])
	}
	return vendor("VenMsg", d)
}

// iscsi names a target, a group of its portals and a unit.
func iscsi(d []byte) string {
	options := le16(d[2:])
	choice := func(bit uint16, set, unset string) string {
		if options&bit != 0 {
			return set
		}
		return unset
	}
	auth := choice(1<<11, "None", choice(1<<12, "CHAP_UNI", "CHAP_BI"))
	transport := "Unknown"
	if le16(d) == 0 {
		transport = "TCP"
	}
	name, _, _ := strings.Cut(string(d[14:]), "\x00")
	return fmt.Sprintf("iSCSI(%s,%d,0x%x,%s,%s,%s,%s)", name, le16(d[12:]), binary.BigEndian.Uint64(d[4:]),
		choice(1<<1, "CRC32", "None"), choice(1<<3, "CRC32", "None"), auth, transport)
}

// dns lists servers, each in 16 bytes whatever its kind.
func dns(d []byte) string {
	size := 4
	if d[0] != 0 {
		size = 16
	}
	var list []string
	for d = d[1:]; len(d) >= 16; d = d[16:] {
		list = append(list, address(d[:size], 0))
	}
	return "Dns(" + strings.Join(list, ",") + ")"
}
