package smbios

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// put is a field: its offset, and a value of one to sixteen bytes.
type put map[int]any

// record makes a structure of a length, with strings numbered from 1.
func record(kind byte, length int, fields put, texts ...string) []byte {
	b := make([]byte, length)
	b[0], b[1] = kind, byte(length)
	binary.LittleEndian.PutUint16(b[2:], uint16(kind)<<8)
	for at, v := range fields {
		switch v := v.(type) {
		case int:
			b[at] = byte(v)
		case uint16:
			binary.LittleEndian.PutUint16(b[at:], v)
		case uint32:
			binary.LittleEndian.PutUint32(b[at:], v)
		case string:
			copy(b[at:], v)
		}
	}
	for _, text := range texts {
		b = append(append(b, text...), 0)
	}
	if len(texts) == 0 {
		b = append(b, 0)
	}
	return append(b, 0)
}

// module is a memory device with strings in the usual fields.
func module(fields put, texts ...string) []byte {
	all := put{0x08: uint16(64), 0x0a: uint16(64), 0x10: 1, 0x11: 2, 0x17: 3, 0x18: 4, 0x1a: 5}
	for k, v := range fields {
		all[k] = v
	}
	return record(typeDIMM, 0x5c, all, texts...)
}

func table(records ...[]byte) []byte {
	var b []byte
	for _, r := range records {
		b = append(b, r...)
	}
	return append(b, record(typeEnd, 4, nil)...)
}

const uuid = "\x6e\x3c\x0f\x5d\x0b\x6c\x65\x4c\x9d\x31\x6b\x3f\x1c\x2a\x7e\x10"

func server() []byte {
	return table(
		record(typeFirmware, 0x18, put{4: 1, 5: 2, 8: 3, 0x12: "\x01\x10"}, "Maker of Firmware", "1.2.3", "04/01/2025"),
		record(typeSystem, 0x1b, put{4: 1, 5: 2, 6: 3, 7: 4, 8: uuid, 0x19: 5, 0x1a: 6}, "Maker", "Server 9", "v2", "EXAMPLE1", "SKU-1", "Servers"),
		record(typeBoard, 0x0f, put{4: 1, 5: 2, 6: 3, 7: 4}, "Board Maker", "Board", "r1", "EXAMPLE2"),
		record(typeChassis, 0x16, put{4: 1, 5: 0x91, 8: 2}, "Maker", "Asset 7"),
		record(typeSystem, 0x1b, put{4: 1}, "the second does not count"),
		module(put{0x0c: uint16(16384), 0x12: 0x1a, 0x15: uint16(3200), 0x20: uint16(2933)}, "DIMM_A1", "BANK 0", "Maker of Memory", "00000001", "PART-16G   "),
		module(put{0x0c: uint16(0x7fff), 0x1c: uint32(65536), 0x12: 0x22, 0x15: uint16(0xffff), 0x54: uint32(70000), 0x20: uint16(0xffff), 0x58: uint32(68000)}, "DIMM_A2", "BANK 1", "Maker of Memory", "00000002", "PART-64G"),
		module(put{0x0c: uint16(0)}, "DIMM_B1", "BANK 2", "NO DIMM", "NO DIMM", "NO DIMM"),
		module(put{0x0c: uint16(0xffff), 0x12: 2}, "DIMM_B2", "BANK 3", "Not Specified", "Not Specified", "Not Specified"),
		record(typeDIMM, 0x15, put{0x0c: uint16(0x8200), 0x10: 1, 0x11: 2, 0x12: 0x0f}, "J1", "old"), // in KiB; SMBIOS 2.1 ends here
	)
}

func TestParse(t *testing.T) {
	got, err := Parse(server())
	want := Table{
		Firmware: Firmware{"Maker of Firmware", "1.2.3", "04/01/2025", true},
		System:   System{"Maker", "Server 9", "v2", "EXAMPLE1", "SKU-1", "Servers", "5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10"},
		Board:    Board{"Board Maker", "Board", "r1", "EXAMPLE2"},
		Chassis:  Chassis{0x11, "Asset 7"},
		DIMM: []DIMM{
			{"DIMM_A1", "BANK 0", 16 << 30, "DDR4", 3200, 2933, "Maker of Memory", "PART-16G", "00000001"},
			{"DIMM_A2", "BANK 1", 64 << 30, "DDR5", 70000, 68000, "Maker of Memory", "PART-64G", "00000002"},
			{Slot: "DIMM_B2", Bank: "BANK 3"},
			{Slot: "J1", Bank: "old", Size: 512 << 10, Type: "SDRAM"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestDamaged(t *testing.T) {
	whole := server()
	for _, tt := range []struct {
		bytes []byte
		want  string
	}{
		{whole[:3], "it ends within a structure's header"},
		{whole[:20], "a structure of type 0 claims 24 of 20 bytes"},
		{whole[:30], "the strings of a structure of type 0 have no end"},
		{[]byte{0, 3, 0, 0}, "a structure of type 0 claims 3 of 4 bytes"},
	} {
		if _, err := Parse(tt.bytes); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%x: %v", tt.bytes, err)
		}
	}
	// What came before the damage counts.
	if got, err := Parse(append(whole[:len(whole)-6:len(whole)-6], 17, 99, 0, 0)); err == nil || len(got.DIMM) != 4 || got.System.Vendor != "Maker" {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := Parse(table(record(typeSystem, 0x1b, put{4: 9, 5: 1, 8: strings.Repeat("\xff", 16)}, "a\x1bb\xe9"))); err != nil || got.System != (System{Product: "a.b."}) {
		t.Errorf("%+v %v", got.System, err)
	}
}

// TestAgainstDmidecode has the real program read the same tables. QEMU's is what
// its -smbios options made.
func TestAgainstDmidecode(t *testing.T) {
	qemu, err := os.ReadFile("../testdata/qemu.dmi")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("server", func(t *testing.T) { compare(t, server()) })
	t.Run("qemu", func(t *testing.T) { compare(t, qemu) })
}

func compare(t *testing.T, table []byte) {
	run := tooltest.Need(t, "dmidecode")
	parsed, err := Parse(table)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dump")
	if err := os.WriteFile(file, dump(table), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run.Run(t.Context(), tool.Cmd{Name: "dmidecode", Args: []string{"--from-dump", file, "-t", "17"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(devices(string(out.Stdout)), lines(parsed.DIMM)); diff != "" {
		t.Errorf("dmidecode has -, this has +:\n%s", diff)
	}
	for word, want := range map[string]string{
		"bios-vendor": parsed.Firmware.Vendor, "bios-version": parsed.Firmware.Version, "bios-release-date": parsed.Firmware.Date,
		"system-manufacturer": parsed.System.Vendor, "system-product-name": parsed.System.Product, "system-version": parsed.System.Version,
		"system-serial-number": parsed.System.Serial, "system-uuid": parsed.System.UUID, "system-sku-number": parsed.System.SKU, "system-family": parsed.System.Family,
		"baseboard-manufacturer": parsed.Board.Vendor, "baseboard-product-name": parsed.Board.Product, "baseboard-version": parsed.Board.Version,
		"baseboard-serial-number": parsed.Board.Serial, "chassis-asset-tag": parsed.Chassis.AssetTag,
	} {
		out, err := run.Run(t.Context(), tool.Cmd{Name: "dmidecode", Args: []string{"--from-dump", file, "-s", word}})
		got, _, _ := strings.Cut(string(out.Stdout), "\n") // of several structures the first
		if got == "Not Specified" {
			got = ""
		}
		if err != nil || got != want {
			t.Errorf("%s: dmidecode %q, here %q %v", word, got, want, err)
		}
	}
}

// dump is a table as dmidecode stores it: an entry point of SMBIOS 3, then the
// table at 32.
func dump(table []byte) []byte {
	b := make([]byte, 32)
	copy(b, "_SM3_")
	b[6], b[7], b[8], b[0x0a] = 24, 3, 7, 1
	binary.LittleEndian.PutUint32(b[0x0c:], uint32(len(table)))
	binary.LittleEndian.PutUint64(b[0x10:], 32)
	var sum byte
	for _, v := range b {
		sum += v
	}
	b[5] = -sum
	return append(b, table...)
}

// devices are the modules that dmidecode prints, a line each.
func devices(out string) []string {
	var list []string
	for _, block := range strings.Split(out, "Memory Device\n")[1:] {
		v := map[string]string{}
		for line := range strings.Lines(block) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				v[key] = value
			}
		}
		if v["Size"] == "No Module Installed" {
			continue
		}
		for _, key := range []string{"Type", "Size", "Speed", "Configured Memory Speed", "Manufacturer", "Part Number", "Serial Number"} {
			if v[key] == "Unknown" || v[key] == "Not Specified" {
				v[key] = ""
			}
		}
		list = append(list, fmt.Sprint([]string{v["Locator"], v["Bank Locator"], v["Size"], v["Type"], v["Speed"], v["Configured Memory Speed"], v["Manufacturer"], strings.TrimSpace(v["Part Number"]), v["Serial Number"]}))
	}
	return list
}

// lines are modules as dmidecode prints them.
func lines(list []DIMM) []string {
	size := func(n int64) string {
		switch {
		case n == 0:
			return ""
		case n < 1<<20:
			return fmt.Sprintf("%d kB", n>>10)
		case n < 1<<30:
			return fmt.Sprintf("%d MB", n>>20)
		}
		return fmt.Sprintf("%d GB", n>>30)
	}
	speed := func(n int64) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("%d MT/s", n)
	}
	var out []string
	for _, d := range list {
		out = append(out, fmt.Sprint([]string{d.Slot, d.Bank, size(d.Size), d.Type, speed(d.Speed), speed(d.Configured), d.Manufacturer, d.Part, d.Serial}))
	}
	return out
}

func FuzzParse(f *testing.F) {
	f.Add(server())
	f.Add(table())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _ := Parse(b)
		for _, d := range got.DIMM {
			if d.Size < 0 || d.Speed < 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}
