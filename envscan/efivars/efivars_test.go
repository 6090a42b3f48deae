package efivars

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// n is a node; its data are given in hexadecimal.
func n(kind, sub byte, data string) []byte {
	d, err := hex.DecodeString(strings.ReplaceAll(data, " ", ""))
	if err != nil {
		panic(err)
	}
	b := binary.LittleEndian.AppendUint16([]byte{kind, sub}, uint16(header+len(d)))
	return append(b, d...)
}

func path(nodes ...[]byte) []byte {
	var b []byte
	for _, node := range nodes {
		b = append(b, node...)
	}
	return append(b, typeEnd, endEntire, header, 0)
}

// wide is a text in UTF-16 with its NUL, in hexadecimal.
func wide(s string) string {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return hex.EncodeToString(b)
}

func option(attributes uint32, label string, paths []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, attributes)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(paths)))
	l, _ := hex.DecodeString(wide(label))
	return append(append(b, l...), paths...)
}

const (
	pciRoot = "d041030a 00000000"
	gptPart = "01000000 0008000000000000 0000100000000000 5d0f3c6e6c0b654c9d316b3f1c2a7e10 02 02"
	guidHex = "5d0f3c6e6c0b654c9d316b3f1c2a7e10"
)

// paths are device paths as machines have them, and what efibootmgr 18 makes of
// them. Where an older one differs, old is what that prints.
var paths = []struct {
	name, want, old string
	path            []byte
}{
	{"disk", `HD(1,GPT,6e3c0f5d-0b6c-4c65-9d31-6b3f1c2a7e10,0x800,0x100000)/\EFI\debian\shimx64.efi`, `HD(1,GPT,6e3c0f5d-0b6c-4c65-9d31-6b3f1c2a7e10,0x800,0x100000)/File(\EFI\debian\shimx64.efi)`,
		path(n(4, 1, gptPart), n(4, 4, wide(`\EFI\debian\shimx64.efi`)))},
	{"mbr", `HD(2,MBR,0x12345678,0x800,0x1000)/\a.efi`, `HD(2,MBR,0x12345678,0x800,0x1000)/File(\a.efi)`,
		path(n(4, 1, "02000000 0008000000000000 0010000000000000 78563412000000000000000000000000 01 01"), n(4, 4, wide(`\a.efi`)))},
	{"pxe", "PciRoot(0x0)/Pci(0x3,0x0)/MAC(525400123456,1)/IPv4(0.0.0.0,0,DHCP,0.0.0.0,0.0.0.0,0.0.0.0)", "PciRoot(0x0)/Pci(0x3,0x0)/MAC(525400123456,1)/IPv4(0.0.0.00.0.0.0,0,0)",
		path(n(2, 1, pciRoot), n(1, 1, "0003"), n(3, 11, "525400123456"+strings.Repeat("00", 26)+"01"), n(3, 12, strings.Repeat("00", 23)))},
	{"http", "PciRoot(0x0)/Pci(0x3,0x0)/MAC(525400123456,1)/IPv4(10.0.2.2:80,TCP,Static,10.0.2.15,10.0.2.1,255.255.255.0)/Uri(http://boot.example/a.efi)", "-",
		path(n(2, 1, pciRoot), n(1, 1, "0003"), n(3, 11, "525400123456"+strings.Repeat("00", 26)+"01"), n(3, 12, "0a00020f 0a000202 0000 5000 0600 01 0a000201 ffffff00"), n(3, 24, hex.EncodeToString([]byte("http://boot.example/a.efi"))))},
	{"http6", "MAC(525400123456,1)/IPv6([2001:db8::1],TCP,StatefulAutoConfigure,[2001:db8::2],[fe80::1],64)/Uri()", "-",
		path(n(3, 11, "525400123456"+strings.Repeat("00", 26)+"01"), n(3, 13, "20010db8000000000000000000000002 20010db8000000000000000000000001 0000 0000 0600 02 40 fe800000000000000000000000000001"), n(3, 24, ""))},
	{"nvme", "PciRoot(0x0)/Pci(0x1d,0x0)/Pci(0x0,0x0)/NVMe(0x1,00-25-38-5B-71-B0-0B-62)", "",
		path(n(2, 1, pciRoot), n(1, 1, "001d"), n(1, 1, "0000"), n(3, 23, "01000000 0025385b71b00b62"))},
	{"sata", "PciRoot(0x0)/Pci(0x1f,0x2)/Sata(1,65535,0)", "", path(n(2, 1, pciRoot), n(1, 1, "021f"), n(3, 18, "0100ffff0000"))},
	{"usb", "PciRoot(0x0)/Pci(0x14,0x0)/USB(2,0)", "", path(n(2, 1, pciRoot), n(1, 1, "0014"), n(3, 5, "0200"))},
	{"cd", "PciRoot(0x0)/Pci(0x1f,0x2)/Sata(0,65535,0)/CDROM(0,0x58,0x4000)", "", path(n(2, 1, pciRoot), n(1, 1, "021f"), n(3, 18, "0000ffff0000"), n(4, 2, "00000000 5800000000000000 0040000000000000"))},
	{"mmc", "VenHw(6e3c0f5d-0b6c-4c65-9d31-6b3f1c2a7e10)/SD(1)", "", path(n(1, 4, guidHex), n(3, 26, "01"))},
	{"emmc", "eMMC(1)", "", path(n(3, 29, "01"))},
	{"scsi", "PciRoot(0x0)/Pci(0x4,0x0)/SCSI(3,1)", "", path(n(2, 1, pciRoot), n(1, 1, "0004"), n(3, 2, "03000100"))},
	{"firmware", "FvVol(6e3c0f5d-0b6c-4c65-9d31-6b3f1c2a7e10)/FvFile(6e3c0f5d-0b6c-4c65-9d31-6b3f1c2a7e10)", "", path(n(4, 7, guidHex), n(4, 6, guidHex))},
	{"bbs", "BBS(HD,Old Disk,0x0)", "", path(n(5, 1, "02000000"+hex.EncodeToString([]byte("Old Disk\x00"))))},
	{"unit", "PcieRoot(0x1)/Ctrl(0x2)/Unit(3)", "", path(n(2, 1, "d041080a 01000000"), n(1, 5, "02000000"), n(3, 17, "03"))},
	{"acpi", "Acpi(0x012345d0,0x7)/AcpiAdr(0x80010100)", "", path(n(2, 1, "d0452301 07000000"), n(2, 3, "00010180"))},
	{"uart", "PciRoot(0x0)/Pci(0x1f,0x0)/Serial(0x0)/Uart(115200,8,N,1)/VenVt100Plus()", "",
		path(n(2, 1, pciRoot), n(1, 1, "001f"), n(2, 1, "d0410105 00000000"), n(3, 14, "00000000 00c2010000000000 08 01 01"), n(3, 10, "0bc7ae7be057764c8e872f9e28088343"))},
	{"iscsi", "iSCSI(iqn.2026-01.example:disk,1,0x1000000000000,None,None,None,TCP)", "",
		path(n(3, 19, "0000 0008 0001000000000000 0100"+hex.EncodeToString([]byte("iqn.2026-01.example:disk\x00"))))},
	{"vlan", "Vlan(7)", "", path(n(3, 20, "0700"))},
	{"ram", "VirtualCD(0x1000,0x1fff,0)", "", path(n(4, 9, "0010000000000000 ff1f000000000000 30bd5a3d7541ce876d64d2ade523c4bb 0000"))},
	{"unknown message", "Msg(99,010203)", "", path(n(3, 99, "010203"))},
	{"unknown hardware", "HardwarePath(77,aa)", "", path(n(1, 77, "aa"))},
	{"unknown type", "Path(9,1,0102)", "-", path(n(9, 1, "0102"))},
	{"too short", "Msg(18,0100)", "-", path(n(3, 18, "0100"))},
	{"two instances", "Vlan(1),Vlan(2)", "-", append(append(n(3, 20, "0100"), typeEnd, endInstance, header, 0), path(n(3, 20, "0200"))...)},
	{"escapes", "Uri(ab)", "-", path(n(3, 24, "611b0a62"))},
	{"without an end", "Vlan(1)", "-", n(3, 20, "0100")},
	{"empty", "", "-", path()},
}

func TestPathText(t *testing.T) {
	for _, tt := range paths {
		if got, err := PathText(tt.path); err != nil || got != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.name, err, got, tt.want)
		}
	}
}

// TestAgainstEfibootmgr has the real program read the same load options.
func TestAgainstEfibootmgr(t *testing.T) {
	run := tooltest.Need(t, "efibootmgr")
	dir := t.TempDir()
	write := func(name string, value []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name+"-"+Global), append([]byte{7, 0, 0, 0}, value...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var order []byte
	for i, tt := range paths {
		if tt.old == "-" {
			continue
		}
		write(fmt.Sprintf("Boot%04X", i), option(uint32(i&1), tt.name, tt.path))
		order = binary.LittleEndian.AppendUint16(order, uint16(i))
	}
	write("BootOrder", order)
	out, err := run.Run(t.Context(), tool.Cmd{Name: "efibootmgr", Args: []string{"-v"}, Env: []string{"EFIVARFS_PATH=" + dir + "/"}})
	if err != nil {
		t.Fatal(err)
	}
	printed := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^Boot([0-9A-F]{4})([* ]) (.*?)\t(.*)$`).FindAllStringSubmatch(string(out.Stdout), -1) {
		printed[m[3]] = m[2] + m[4]
	}
	for i, tt := range paths {
		if tt.old == "-" {
			continue
		}
		got, mark := printed[tt.name], " *"[i&1:i&1+1]
		if got != mark+tt.want && got != mark+tt.old {
			t.Errorf("%s:\nefibootmgr %q\n      here %q", tt.name, got, mark+tt.want)
		}
	}
}

func TestParseLoadOption(t *testing.T) {
	o, err := ParseLoadOption(append(option(1, "Linux \x1b[2J", path(n(4, 4, wide(`\a.efi`)))), "data for it"...))
	if want := (LoadOption{Active: true, Label: "Linux [2J", Path: `\a.efi`}); err != nil || o != want {
		t.Errorf("%+v %v", o, err)
	}
	whole := option(1, "Linux", path(n(4, 4, wide(`\a.efi`))))
	for _, tt := range []struct {
		bytes []byte
		want  string
	}{
		{whole[:5], "it has only 5 bytes"},
		{whole[:12], "its label has no end"},
		{whole[:len(whole)-1], `"Linux": its paths claim 22 of 21 bytes`},
		{option(1, "x", []byte{4, 4, 99, 0}), "a node claims 99 of 4 bytes"},
		{option(1, "x", []byte{4, 4, 3, 0}), "a node claims 3 of 4 bytes"},
		{option(1, "x", []byte{4, 4}), "it ends within a node"},
	} {
		if o, err := ParseLoadOption(tt.bytes); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%x: %+v %v", tt.bytes, o, err)
		}
	}
}

func TestValue(t *testing.T) {
	if v, err := Value([]byte{7, 0, 0, 0, 1}); err != nil || len(v) != 1 || v[0] != 1 {
		t.Errorf("%x %v", v, err)
	}
	if _, err := Value([]byte{7, 0, 0}); err == nil {
		t.Error("three bytes are no variable")
	}
	if got := Numbers([]byte{1, 0, 2, 0x10, 3}); len(got) != 2 || got[1] != 0x1002 {
		t.Errorf("%x", got)
	}
	if got := Text([]byte("s\x00y\x00s\x00")); got != "sys" {
		t.Errorf("%q", got)
	}
}

func FuzzParseLoadOption(f *testing.F) {
	for _, tt := range paths {
		f.Add(option(1, tt.name, tt.path))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseLoadOption(b)
		if err != nil {
			return
		}
		if strings.ContainsFunc(o.Label+o.Path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q %q would break a line", o.Label, o.Path)
		}
	})
}
