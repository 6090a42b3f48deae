package slots

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/slot"
)

// A board's firmware is believed to try a slot when it says so, or has no say.
func TestRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		compatible   string
		capabilities []byte
		want         string
	}{
		"Pi 3":                      {"raspberrypi,3-model-b\x00brcm,bcm2837\x00", nil, ""},
		"Pi 4":                      {"raspberrypi,4-model-b\x00brcm,bcm2711\x00", []byte{0, 0, 0, 0x7f}, ""},
		"Pi 4 that knows no slots":  {"raspberrypi,4-model-b\x00brcm,bcm2711\x00", []byte{0, 0, 0, 0x0b}, "October 2022"},
		"Pi 4 that does not say":    {"raspberrypi,4-model-b\x00brcm,bcm2711\x00", nil, "does not say"},
		"Pi 5":                      {"raspberrypi,5-model-b\x00brcm,bcm2712\x00", []byte{0, 0, 0, 0x0c}, ""},
		"another board":             {"radxa,rock-5b\x00", nil, "no Raspberry Pi"},
		"a machine without a tree":  {"", nil, "no Raspberry Pi"},
		"capabilities of two bytes": {"brcm,bcm2711\x00", []byte{0x7f, 0x7f}, "does not say"},
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "chosen/bootloader"), 0o755); err != nil {
			t.Fatal(err)
		}
		write := func(name string, b []byte) {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if tt.compatible != "" {
			write("compatible", []byte(tt.compatible))
		}
		if tt.capabilities != nil {
			write("chosen/bootloader/capabilities", tt.capabilities)
		}
		if got := tree(dir).refuses(); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestAreas(t *testing.T) {
	entry := func(n int, first, last uint64) layout.Entry {
		return layout.Entry{Number: n, FirstLBA: first, LastLBA: last, MBR: &layout.MBREntry{Type: 12}}
	}
	got := areas(layout.Table{SectorSize: 512, Entries: []layout.Entry{entry(1, 8192, 237567), entry(2, 819200, 1048575), entry(3, 237568, 819199)}})
	if len(got) != 2 || got[slot.A] != (area{4 << 20, 112 << 20}) || got[slot.B] != (area{400 << 20, 112 << 20}) {
		t.Errorf("got %v", got)
	}
}

func TestShow(t *testing.T) {
	s := slot.Status{Running: slot.B, Default: slot.A, Warnings: []string{"beware"}, Slots: []slot.Slot{
		{Number: slot.A, Size: 112 << 20, System: &slot.Manifest{Item: "test", Kernel: "6.12", System: strings.Repeat("ab", 32)}}, {Number: slot.B, Size: 112 << 20},
	}}
	var b bytes.Buffer
	if err := show(&b, s, false); err != nil {
		t.Fatal(err)
	}
	want := "SLOT  STATE           SIZE     ITEM  KERNEL  SYSTEM\n" +
		"A     starts next     112 MiB  test  6.12    abababababab\n" +
		"B     runs, on trial  112 MiB  -     -       -           \nbeware\n"
	if b.String() != want {
		t.Errorf("got\n%q, want\n%q", b.String(), want)
	}
}

func TestCommandRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		`did you mean "keep"?`:   {"kep"},
		"runs from no slot":      {"--json"},
		`cannot do "frobnicate"`: {"frobnicate"},
	} {
		if err := Command(args, nil, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v", args, err)
		}
	}
	var b bytes.Buffer
	if err := Command([]string{"write"}, strings.NewReader("x"), &b); err == nil || !strings.Contains(b.String(), `"exit":3`) {
		t.Errorf("got %v, %s", err, b.String())
	}
}
