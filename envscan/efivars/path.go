package efivars

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Types of nodes, UEFI 2.10 §10.3.
const (
	typeHardware = 0x01
	typeACPI     = 0x02
	typeMessage  = 0x03
	typeMedia    = 0x04
	typeBIOS     = 0x05
	typeEnd      = 0x7f

	endInstance = 0x01
	endEntire   = 0xff
	header      = 4
)

// PathText is a device path as efibootmgr prints it, which is nearly the text of
// UEFI 2.10 §10.6: nodes joined by "/", instances by ",". What follows its end is
// ignored, as firmware ignores it; a path that just stops is taken as it is,
// since some firmware leaves the end out.
func PathText(b []byte) (string, error) {
	var text strings.Builder
	first := true
	for len(b) > 0 {
		if len(b) < header {
			return "", errors.New("parse device path: it ends within a node")
		}
		n := int(binary.LittleEndian.Uint16(b[2:]))
		if n < header || n > len(b) {
			return "", fmt.Errorf("parse device path: a node claims %d of %d bytes", n, len(b))
		}
		kind, sub, data := b[0], b[1], b[header:n]
		b = b[n:]
		switch {
		case kind == typeEnd && sub == endEntire:
			return text.String(), nil
		case kind == typeEnd && sub == endInstance:
			text.WriteString(",")
			first = true
			continue
		case !first:
			text.WriteString("/")
		}
		first = false
		text.WriteString(printable(node(kind, sub, data)))
	}
	return text.String(), nil
}

// format is how the nodes of one subtype are written, and how many bytes they
// have at least.
type format struct {
	size int
	text func(d []byte) string
}

// formats are by type and subtype.
var formats = map[[2]byte]format{
	{typeHardware, 1}: {2, func(d []byte) string { return fmt.Sprintf("Pci(0x%x,0x%x)", d[1], d[0]) }},
	{typeHardware, 2}: {1, func(d []byte) string { return fmt.Sprintf("PcCard(0x%x)", d[0]) }},
	{typeHardware, 3}: {20, func(d []byte) string {
		return fmt.Sprintf("MemoryMapped(0x%x,0x%x,0x%x)", le32(d), le64(d[4:]), le64(d[12:]))
	}},
	{typeHardware, 4}: {16, func(d []byte) string { return vendor("VenHw", d) }},
	{typeHardware, 5}: {4, func(d []byte) string { return fmt.Sprintf("Ctrl(0x%x)", le32(d)) }},
	{typeHardware, 6}: {9, func(d []byte) string { return fmt.Sprintf("BMC(%d,0x%x)", d[0], le64(d[1:])) }},

	{typeACPI, 1}: {8, func(d []byte) string { return acpi(le32(d), fmt.Sprintf("0x%x", le32(d[4:]))) }},
	{typeACPI, 2}: {12, acpiExpanded},
	{typeACPI, 3}: {4, acpiADR},

	{typeMedia, 1}: {38, hardDrive},
	{typeMedia, 2}: {20, func(d []byte) string {
		return fmt.Sprintf("CDROM(%d,0x%x,0x%x)", le32(d), le64(d[4:]), le64(d[12:]))
	}},
	{typeMedia, 3}: {16, func(d []byte) string { return vendor("VenMedia", d) }},
	{typeMedia, 4}: {0, Text},
	{typeMedia, 5}: {16, func(d []byte) string { return "Media(" + guid(d) + ")" }},
	{typeMedia, 6}: {16, func(d []byte) string { return "FvFile(" + guid(d) + ")" }},
	{typeMedia, 7}: {16, func(d []byte) string { return "FvVol(" + guid(d) + ")" }},
	{typeMedia, 8}: {20, func(d []byte) string { return fmt.Sprintf("Offset(0x%x,0x%x)", le64(d[4:]), le64(d[12:])) }},
	{typeMedia, 9}: {34, ramDisk},

	{typeBIOS, 1}: {4, bios},
}

// node is the text of one node: the generic one where its kind is not known or it
// is too short for what it says that it is.
func node(kind, sub byte, d []byte) string {
	f, known := formats[[2]byte{kind, sub}]
	if !known && kind == typeMessage {
		f, known = messages[sub]
	}
	if known && len(d) >= f.size {
		return f.text(d)
	}
	names := map[byte]string{typeHardware: "HardwarePath", typeACPI: "AcpiPath", typeMessage: "Msg", typeMedia: "MediaPath", typeBIOS: "BbsPath"}
	if name, ok := names[kind]; ok {
		return fmt.Sprintf("%s(%d,%x)", name, sub, d)
	}
	return fmt.Sprintf("Path(%d,%d,%x)", kind, sub, d)
}

// eisa are the devices that have a name of their own: the last four digits of
// PNP identifiers, in the upper half of a number whose lower one says PNP.
var eisa = map[uint32]string{
	0x0a0341d0: "PciRoot", 0x0a0841d0: "PcieRoot", 0x060441d0: "Floppy",
	0x030141d0: "Keyboard", 0x050141d0: "Serial",
}

func acpi(hid uint32, uid string) string {
	switch name, known := eisa[hid]; {
	case known:
		return name + "(" + uid + ")"
	case hid == 0x0a0541d0, hid == 0x0a0641d0:
		return "AcpiContainer()"
	case hid == 0x0c0941d0:
		return "EmbeddedController()"
	}
	return fmt.Sprintf("Acpi(0x%08x,%s)", hid, uid)
}

// acpiExpanded has three numbers and then the three texts that may stand for
// them: HID, UID, CID.
func acpiExpanded(d []byte) string {
	var texts [3]string
	for i, s := range strings.SplitN(string(d[12:]), "\x00", 4) {
		if i < len(texts) {
			texts[i] = s
		}
	}
	or := func(text string, number uint32) string {
		if text != "" {
			return text
		}
		return fmt.Sprintf("0x%x", number)
	}
	hid, uid, cid := le32(d), or(texts[1], le32(d[4:])), or(texts[2], le32(d[8:]))
	if _, known := eisa[hid]; known && texts[0] == "" {
		return acpi(hid, uid)
	}
	return fmt.Sprintf("AcpiEx(%s,%s,%s)", or(texts[0], hid), cid, uid)
}

func acpiADR(d []byte) string {
	var list []string
	for ; len(d) >= 4; d = d[4:] {
		list = append(list, fmt.Sprintf("0x%x", le32(d)))
	}
	return "AcpiAdr(" + strings.Join(list, ",") + ")"
}

// hardDrive names a partition: of a GPT by its GUID, of an MBR by the disk's
// signature.
func hardDrive(d []byte) string {
	signature := fmt.Sprintf("%d,%x", d[37], d[20:36])
	switch d[37] {
	case 1:
		signature = fmt.Sprintf("MBR,0x%x", le32(d[20:]))
	case 2:
		signature = "GPT," + guid(d[20:])
	}
	return fmt.Sprintf("HD(%d,%s,0x%x,0x%x)", le32(d), signature, le64(d[4:]), le64(d[12:]))
}

func ramDisk(d []byte) string {
	kinds := map[string]string{
		"77ab535a-45fc-624b-5560-f7b281d1f96e": "VirtualDisk",
		"3d5abd30-4175-87ce-6d64-d2ade523c4bb": "VirtualCD",
		"5cea02c9-4d07-69d3-269f-4496fbe096f9": "PersistentVirtualDisk",
		"08018188-42cd-bb48-100f-5387d53ded3d": "PersistentVirtualCD",
	}
	place := fmt.Sprintf("(0x%x,0x%x,%d", le64(d), le64(d[8:]), le16(d[32:]))
	if kind, known := kinds[guid(d[16:])]; known {
		return kind + place + ")"
	}
	return "RamDisk" + place + "," + guid(d[16:]) + ")"
}

// bios names a device for a BIOS in compatibility mode.
func bios(d []byte) string {
	kinds := []string{"", "Floppy", "HD", "CDROM", "PCMCIA", "USB", "Network"}
	kind := fmt.Sprint(le16(d))
	if k := int(le16(d)); k > 0 && k < len(kinds) {
		kind = kinds[k]
	}
	name, _, _ := strings.Cut(string(d[4:]), "\x00")
	return fmt.Sprintf("BBS(%s,%s,0x%x)", kind, name, le16(d[2:]))
}

// vendor is a node whose meaning its GUID decides.
func vendor(name string, d []byte) string {
	if len(d) > 16 {
		return fmt.Sprintf("%s(%s,%x)", name, guid(d), d[16:])
	}
	return fmt.Sprintf("%s(%s)", name, guid(d))
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
