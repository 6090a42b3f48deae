package efi

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func guid(t testing.TB, s string) GUID {
	t.Helper()
	g, err := ParseGUID(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func sampleEntry(t testing.TB) Entry {
	return Entry{
		Label:     "vic",
		Partition: HardDrive{Number: 2, Start: 4096, Size: 1 << 20, Partition: guid(t, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b")},
		Path:      `\EFI\BOOT\A.EFI`,
	}
}

func TestGUIDIsMixedEndian(t *testing.T) {
	const text = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	if g := guid(t, strings.ToUpper(text)); g != Global || g.String() != text {
		t.Errorf("got %x, %s", g[:], g)
	}
	for _, bad := range []string{"", text[1:], text + "0", "8be4df6193ca-11d2-aa0d-00e098032b8c-", strings.Replace(text, "8", "g", 1)} {
		if _, err := ParseGUID(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// The bytes are as efibootmgr -v and hexdump show an entry of this form.
func TestLoadOptionBytes(t *testing.T) {
	want := "01000000" + "5200" + // attributes, length of the path list
		"760069006300" + "0000" + // "vic"
		"04012a00" + "02000000" + "0010000000000000" + "0000100000000000" +
		"28732ac11ff8d211ba4b00a0c93ec93b" + "0202" +
		"04042400" + hex.EncodeToString([]byte("\\\x00E\x00F\x00I\x00\\\x00B\x00O\x00O\x00T\x00\\\x00A\x00.\x00E\x00F\x00I\x00\x00\x00")) +
		"7fff0400"
	v := MapVariables{}
	num, err := AddBootEntry(v, sampleEntry(t), true)
	if err != nil {
		t.Fatal(err)
	}
	got := v[bootName(num)]
	if hex.EncodeToString(got.Data) != want || got.Attributes != 7 {
		t.Errorf("got %d %x\nwant %s", got.Attributes, got.Data, want)
	}
	o, err := ParseLoadOption(got.Data)
	if err != nil {
		t.Fatal(err)
	}
	if s := o.Path.String(); s != `HD(2,GPT,c12a7328-f81f-11d2-ba4b-00a0c93ec93b,0x1000,0x100000)/\EFI\BOOT\A.EFI` {
		t.Errorf("path is %s", s)
	}
}

func TestParseLoadOptionRefuses(t *testing.T) {
	good := MapVariables{}
	if _, err := AddBootEntry(good, sampleEntry(t), true); err != nil {
		t.Fatal(err)
	}
	b := good[bootName(0)].Data
	for n := range b {
		if o, err := ParseLoadOption(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted: %+v", n, len(b), o)
		}
	}
}

func foreign(t *testing.T, v Variables, num uint16, label string) {
	t.Helper()
	o := LoadOption{Attributes: LoadActive, Description: label, Path: DevicePath{{2, 1, []byte("PCI root")}}, Data: []byte("x")}
	b, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Set(bootName(num), b, bootAttributes); err != nil {
		t.Fatal(err)
	}
}

func mustOrder(t *testing.T, v Variables) []uint16 {
	t.Helper()
	order, err := BootOrder(v)
	if err != nil {
		t.Fatal(err)
	}
	return order
}

func TestAddBootEntry(t *testing.T) {
	for _, c := range []struct {
		name  string
		order []uint16
		first bool
		num   uint16
		want  []uint16
	}{
		{"first", []uint16{0, 3, 1}, true, 2, []uint16{2, 0, 3, 1}},
		{"last", []uint16{0, 3, 1}, false, 2, []uint16{0, 3, 1, 2}},
		{"no order yet", nil, true, 2, []uint16{2}},
		{"first, and the order names one that is gone", []uint16{0, 2}, true, 4, []uint16{4, 0, 2}},
		{"last, and the order begins with one that is gone", []uint16{2, 0}, false, 4, []uint16{2, 0, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := MapVariables{}
			for _, n := range []uint16{0, 1, 3} {
				foreign(t, v, n, fmt.Sprint("other ", n))
			}
			if err := SetBootOrder(v, c.order); err != nil {
				t.Fatal(err)
			}
			num, err := AddBootEntry(v, sampleEntry(t), c.first)
			if err != nil || num != c.num || !slices.Equal(mustOrder(t, v), c.want) {
				t.Errorf("got entry %d, order %v, %v; want %d, %v", num, mustOrder(t, v), err, c.num, c.want)
			}
		})
	}
}

// counting counts the writes to the store.
type counting struct {
	MapVariables
	writes int
}

func (c *counting) Set(n VariableName, b []byte, a Attributes) error {
	c.writes++
	return c.MapVariables.Set(n, b, a)
}

func TestAddBootEntryReusesEqualEntry(t *testing.T) {
	v := &counting{MapVariables: MapVariables{}}
	foreign(t, v, 0, "other")
	if err := v.Set(bootName(7), []byte("junk"), bootAttributes); err != nil {
		t.Fatal(err)
	}
	e := sampleEntry(t)
	num, err := AddBootEntry(v, e, true)
	if err != nil {
		t.Fatal(err)
	}
	before := v.writes
	e2 := e
	e2.Path = strings.ToLower(e.Path)
	if again, err := AddBootEntry(v, e, true); err != nil || again != num || v.writes != before {
		t.Errorf("again: entry %d after %d, %d writes, %v", again, num, v.writes-before, err)
	}
	e2.Partition.Size++
	if again, err := AddBootEntry(v, e2, false); err != nil || again != num || v.writes != before+1 {
		t.Errorf("larger partition: entry %d after %d, %d writes, %v", again, num, v.writes-before, err)
	}
	e.Partition.Partition[0]++
	if other, err := AddBootEntry(v, e, false); err != nil || other == num {
		t.Errorf("other partition: entry %d, %v", other, err)
	}
}

func TestListBootEntries(t *testing.T) {
	v := MapVariables{}
	for _, n := range []uint16{0, 1, 0x1a} {
		foreign(t, v, n, fmt.Sprint("entry ", n))
	}
	v[global("Boot001a")] = MapVariable{[]byte("lower case is not an entry"), bootAttributes}
	v[VariableName{"Boot0009", GUID{}}] = MapVariable{[]byte("another vendor's"), bootAttributes}
	v[global("Boot0004")] = MapVariable{[]byte("junk"), bootAttributes}
	if err := SetBootOrder(v, []uint16{0x1a, 0, 99}); err != nil {
		t.Fatal(err)
	}
	entries, err := ListBootEntries(v)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%04X %s %t %t", e.Number, e.Description, e.Active(), e.Err != nil))
	}
	want := []string{"001A entry 26 true false", "0000 entry 0 true false", "0001 entry 1 true false", "0004  false true"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRemoveBootEntryAndBootNext(t *testing.T) {
	v := MapVariables{}
	foreign(t, v, 1, "one")
	foreign(t, v, 2, "two")
	if err := errors.Join(SetBootOrder(v, []uint16{2, 1}), SetBootNext(v, 2)); err != nil {
		t.Fatal(err)
	}
	if n, ok, err := BootNext(v); n != 2 || !ok || err != nil {
		t.Errorf("BootNext is %d %t %v", n, ok, err)
	}
	if err := RemoveBootEntry(v, 2); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := BootNext(v); ok || !slices.Equal(mustOrder(t, v), []uint16{1}) || len(v) != 2 {
		t.Errorf("left: %v", v)
	}
	if err := RemoveBootEntry(v, 2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := SetBootNext(v, 2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := RemoveBootEntry(v, 1); err != nil || len(v) != 0 {
		t.Errorf("left: %v, %v", v, err)
	}
}

func TestDamagedNumbersAreErrors(t *testing.T) {
	v := MapVariables{global("BootOrder"): {[]byte{1}, 7}, global("BootCurrent"): {[]byte{1}, 6}}
	if _, err := BootOrder(v); err == nil {
		t.Error("an odd BootOrder was accepted")
	}
	if _, err := AddBootEntry(v, sampleEntry(t), true); err == nil {
		t.Error("an odd BootOrder was overwritten")
	}
	if _, _, err := BootCurrent(v); err == nil {
		t.Error("a short BootCurrent was accepted")
	}
}

func FuzzParseLoadOption(f *testing.F) {
	v := MapVariables{}
	if _, err := AddBootEntry(v, sampleEntry(f), true); err != nil {
		f.Fatal(err)
	}
	f.Add(v[bootName(0)].Data)
	f.Add([]byte("\x01\x00\x00\x00\x04\x00a\x00\x00\x00\x7f\xff\x04\x00data"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseLoadOption(b)
		if err != nil {
			return
		}
		_ = o.Path.String()
		enc, err := o.Encode()
		if err != nil {
			return // lone surrogates grow when they are replaced
		}
		again, err := ParseLoadOption(enc)
		if err != nil || !reflect.DeepEqual(normal(o), normal(again)) {
			t.Errorf("%+v became %+v, %v", o, again, err)
		}
	})
}

// normal makes empty and nil slices equal.
func normal(o LoadOption) string {
	return fmt.Sprintf("%d %q %s %x %x", o.Attributes, o.Description, o.Path, o.MorePaths, o.Data)
}
