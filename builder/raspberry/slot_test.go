package raspberry

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/slot"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func target(number int) Target {
	t := Target{Disk: 0x1234abcd, Number: number, Offset: slotStart, Size: slotSize}
	if number == slot.A {
		t.FirstStage, t.Autoboot = []byte("an older first stage"), slot.Choice{Default: slot.B, Try: slot.A}.Encode()
	} else {
		t.Offset = 400 * mib
	}
	return t
}

func makeSlot(t *testing.T, env builder.Env, spec Spec, to Target) *Slot {
	t.Helper()
	s, err := WriteSlot(t.Context(), env, testBundle(t, "arm64"), spec, to, filepath.Join(t.TempDir(), "slot"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A slot has its own name in cmdline.txt, and a manifest of what is in it.
func TestSlot(t *testing.T) {
	tooltest.Need(t, "fsck.vfat", "mdir", "mtype")
	env := testArchive(t)
	var systems []string
	for _, number := range []int{slot.A, slot.B} {
		s := makeSlot(t, env, Spec{}, target(number))
		systems = append(systems, s.Manifest.System)
		say(t, "fsck.vfat", "-n", s.Path)
		if line := say(t, "mtype", "-i", s.Path, "::/cmdline.txt"); !strings.Contains(line, "vic.system=SLOT=1234abcd-0"+string(rune('0'+number))+" ") {
			t.Errorf("slot %d: %s", number, line)
		}
		names := say(t, "mdir", "-b", "-i", s.Path, "::/")
		if has := strings.Contains(names, "autoboot.txt"); has != (number == slot.A) {
			t.Errorf("slot %d: autoboot.txt: %v", number, has)
		}
		for _, f := range s.Manifest.Files {
			if got := say(t, "mtype", "-i", s.Path, "::/"+f.Name); int64(len(got)) != f.Size {
				t.Errorf("slot %d: %s has %d bytes, not %d", number, f.Name, len(got), f.Size)
			}
		}
		if n := strings.Count(names, "\n"); n-1 > len(s.Manifest.Files)+1 {
			t.Errorf("slot %d: the manifest has %d files:\n%s", number, len(s.Manifest.Files), names)
		}
		var kept []string
		for _, e := range s.Order.Extents {
			if e.Keep {
				kept = append(kept, e.Name)
			}
		}
		if want := map[int][]string{slot.A: {"bootcode.bin", "autoboot.txt"}}[number]; !slices.Equal(kept, want) {
			t.Errorf("slot %d: kept are %v", number, kept)
		}
	}
	if systems[0] != systems[1] {
		t.Error("the same system has another name in the other slot")
	}
	if other := makeSlot(t, env, Spec{Serial: true}, target(slot.B)); other.Manifest.System == systems[0] {
		t.Error("another system has the same name")
	}
}

func TestSlotIsReproducible(t *testing.T) {
	env := testArchive(t)
	x, errX := os.ReadFile(makeSlot(t, env, Spec{}, target(slot.A)).Path)
	y, errY := os.ReadFile(makeSlot(t, env, Spec{}, target(slot.A)).Path)
	if err := errors.Join(errX, errY); err != nil || !bytes.Equal(x, y) {
		t.Errorf("two of the same differ: %v", err)
	}
}

// What an update of slot A keeps is in the same places on a new card.
func TestSlotKeepsPlaces(t *testing.T) {
	env := testArchive(t)
	_, b := makeImage(t, env, Spec{})
	card, err := b.volume()
	if err != nil {
		t.Fatal(err)
	}
	to := target(slot.A)
	to.FirstStage = b.pieces[0].data
	for _, e := range makeSlot(t, env, Spec{Overlays: []string{"pi4-spidev"}}, to).Order.Extents {
		if at, size, ok := card.Extent(e.Name); e.Keep && (!ok || at != e.Offset || size != e.Size) {
			t.Errorf("%s is at %d, on a card at %d: %v", e.Name, e.Offset, at, ok)
		}
	}
}

func TestSlotRefuses(t *testing.T) {
	env := testArchive(t)
	var refused *builder.RefusedError
	big := target(slot.B)
	big.FirstStage = make([]byte, slotSize)
	for want, f := range map[string]func() error{
		"needs arm64": func() error {
			_, err := WriteSlot(t.Context(), env, testBundle(t, "amd64"), Spec{}, target(slot.B), filepath.Join(t.TempDir(), "x"))
			return err
		},
		"how the card starts": func() error {
			_, err := WriteSlot(t.Context(), env, testBundle(t, "arm64"), Spec{Config: []string{"kernel=x"}}, target(slot.B), filepath.Join(t.TempDir(), "x"))
			return err
		},
		"too small: it has 117440512 bytes": func() error {
			_, err := WriteSlot(t.Context(), env, testBundle(t, "arm64"), Spec{}, big, filepath.Join(t.TempDir(), "x"))
			return err
		},
	} {
		if err := f(); !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
