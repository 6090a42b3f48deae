package flash

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/victorinix/vic/internal/event"
)

// write flashes cards, and returns what became of them.
func write(t *testing.T, cfg Config, cards ...*card) ([]Result, error) {
	t.Helper()
	for i, c := range cards {
		cfg.Targets = append(cfg.Targets, c.target("/dev/card"+string(rune('0'+i))))
	}
	j, err := Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	results, err := j.Run(t.Context())
	for i, c := range cards {
		if !c.closed {
			t.Errorf("%s was left open", results[i].Device)
		}
	}
	return results, err
}

// Whatever a device does with holes, it holds the image in the end, byte for
// byte, and nothing of what was there at its ends.
func TestWrite(t *testing.T) {
	image := mbrImage(t, 23<<20+512)
	for name, prepare := range map[string]func(*card){
		"no promises":            func(*card) {},
		"write zeroes":           func(c *card) { c.promises = true },
		"write zeroes that lies": func(c *card) { c.promises, c.lies = true, true },
		"discard to zeroes":      func(c *card) { c.discards = 0 },
		"discard to something":   func(c *card) { c.discards = 0xff },
		"4096":                   func(c *card) { c.promises = true },
		"size that is not told":  func(c *card) { c.promises = true },
		"overlays":               func(c *card) { c.promises = true },
		"nothing is read back":   func(*card) {},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCard(64 << 20)
			prepare(c)
			cfg, want := Config{Image: newImage(image)}, slices.Clone(image)
			switch name {
			case "size that is not told":
				cfg.Image = memory{b: image, size: -1}
			case "nothing is read back":
				cfg.NoVerify = true
			case "overlays":
				for _, o := range []struct {
					off  int64
					text string
				}{{100 << 10, "head"}, {blockSize - 3, "across blocks"}, {11<<20 + 5, "in a hole"}} {
					cfg.Overlays = append(cfg.Overlays, Overlay{o.off, int64(len(o.text)), strings.NewReader(o.text)})
					copy(want[o.off:], o.text)
				}
			}
			results, err := write(t, cfg, c)
			if err != nil || results[0].Err != nil || results[0].State != Done {
				t.Fatalf("%v, %+v", err, results)
			}
			if !bytes.Equal(c.durable[:len(want)], want) {
				t.Errorf("byte %d differs", differs(c.durable, want))
			}
			if !isZero(c.durable[63<<20:]) {
				t.Error("the end of the card holds what it held")
			}
			if r := results[0]; r.Written+r.Skipped < int64(len(want)) || c.largest > blockSize || c.reread != 1 {
				t.Errorf("%+v, largest write %d, tables read %d times", r, c.largest, c.reread)
			}
		})
	}
}

// Holes are skipped where that is safe.
func TestHoles(t *testing.T) {
	image := mbrImage(t, 4<<20)
	image = append(image, make([]byte, 40<<20)...)
	image[40<<20] = 1
	for _, tt := range []struct {
		name    string
		prepare func(*card)
		skipped bool
	}{
		{"promise", func(c *card) { c.promises = true }, true},
		{"discard", func(c *card) { c.discards = 0 }, true},
		{"nothing", func(*card) {}, false},
	} {
		c := newCard(64 << 20)
		tt.prepare(c)
		results, err := write(t, Config{Image: newImage(image)}, c)
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
		if r := results[0]; tt.skipped != (r.Skipped > 30<<20) || !bytes.Equal(c.durable[:len(image)], image) {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
}

// Faults of cards: what is told, and that none of them has a table afterwards.
func TestFaults(t *testing.T) {
	image := mbrImage(t, 23<<20)
	broken := func(write bool, from int64) func(*card) {
		return func(c *card) {
			c.fault = func(w bool, off, n int64) error {
				if w == write && off < from+4096 && off+n > from && n > page {
					return syscall.EIO
				}
				return nil
			}
		}
	}
	for _, tt := range []struct {
		name    string
		prepare func(*card)
		state   State
		err     error
		text    string
	}{
		{"write error", broken(true, 9<<20), Empty, syscall.EIO, "write"},
		{"read error", broken(false, 9<<20), Empty, syscall.EIO, "read back"},
		{"silent damage", func(c *card) {
			c.spoil = func(off int64, b []byte) {
				if len(b) > page && off <= 13<<20 && off+int64(len(b)) > 13<<20 {
					b[13<<20-off] ^= 4
				}
			}
		}, Empty, ErrDiffers, "bytes 12582912 to 16777216"},
		{"damage in the first sectors", func(c *card) {
			c.spoil = func(off int64, b []byte) {
				if off == 0 && !isZero(b[:512]) { // a whole first block is zero there
					b[500] ^= 1
				}
			}
		}, Torn, ErrDiffers, "byte 500"},
		{"wraps at 16 MiB", func(c *card) { c.chip = 16 << 20 }, Untouched, ErrLies, "appears at"},
		{"drops from 16 MiB on", func(c *card) { c.cut = 16 << 20 }, Untouched, ErrLies, "is lost"},
		{"answers with errors from 16 MiB on", func(c *card) {
			c.fault = func(_ bool, off, n int64) error {
				if off+n > 16<<20 {
					return syscall.EIO
				}
				return nil
			}
		}, Untouched, ErrLies, "read 4096 bytes"},
		{"pulled half-way", func(c *card) {
			n := 0
			c.fault = func(write bool, _, size int64) error {
				if write && size > page {
					n++
				}
				if n > 7 {
					return syscall.ENODEV
				}
				return nil
			}
		}, Empty, syscall.ENODEV, "write"},
		{"too small", func(c *card) { c.now = c.now[:20<<20] }, Untouched, ErrUnfit, "it needs 24.1 MB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, good := newCard(64<<20), newCard(64<<20)
			before := slices.Clone(c.now)
			tt.prepare(c)
			results, err := write(t, Config{Image: newImage(image)}, c, good)
			if r := results[0]; err != nil || r.State != tt.state || !errors.Is(r.Err, tt.err) || !strings.Contains(r.Err.Error(), tt.text) {
				t.Fatalf("%v, %+v", err, r)
			}
			if results[1].State != Done || !bytes.Equal(good.durable[:len(image)], image) {
				t.Errorf("the other card: %+v", results[1])
			}
			switch tt.state {
			case Untouched:
				if !bytes.Equal(c.now, before[:len(c.now)]) {
					t.Errorf("byte %d has changed", differs(c.now, before[:len(c.now)]))
				}
			case Empty:
				if !isZero(c.now[:headSize]) {
					t.Error("it has first sectors")
				}
			}
		})
	}
}

// A card that wraps where no probe looks is found by reading back.
func TestWrapsUnseen(t *testing.T) {
	c := newCard(64 << 20)
	c.chip = 12<<20 + 512
	results, err := write(t, Config{Image: newImage(mbrImage(t, 40<<20))}, c)
	if r := results[0]; err != nil || r.State == Done || !errors.Is(r.Err, ErrLies) && !errors.Is(r.Err, ErrDiffers) {
		t.Fatalf("%v, %+v", err, r)
	}
}

// An image that turns out to be wrong, or to end too early, leaves no card that
// starts from it.
func TestWrongImage(t *testing.T) {
	image := mbrImage(t, 23<<20)
	for name, m := range map[string]memory{
		"hash":          {b: image, size: int64(len(image)), check: ErrWrongImage},
		"cut off":       {b: image, size: int64(len(image)) + 1<<20},
		"broken stream": {b: image, size: -1, read: errors.New("bad block")},
	} {
		c := newCard(64 << 20)
		results, err := write(t, Config{Image: m}, c)
		if err == nil || !errors.Is(results[0].Err, err) || results[0].State != Empty || !isZero(c.durable[:headSize]) {
			t.Errorf("%s: %v, %+v", name, err, results)
		}
	}
}

// A run that is stopped says what is left.
func TestStopped(t *testing.T) {
	image := mbrImage(t, 40<<20)
	c := newCard(64 << 20)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	c.spoil = func(off int64, _ []byte) {
		if off > 20<<20 && off < 60<<20 {
			cancel(why)
		}
	}
	j, err := Prepare(Config{Image: newImage(image), Targets: []Target{c.target("/dev/card")}})
	if err != nil {
		t.Fatal(err)
	}
	results, err := j.Run(ctx)
	if !errors.Is(err, why) || !errors.Is(results[0].Err, why) || results[0].State != Untouched && results[0].State != Empty {
		t.Fatalf("%v, %+v", err, results)
	}
	if results[0].State == Empty && !isZero(c.now[:headSize]) {
		t.Error("the card has first sectors")
	}
}

// The power is cut at any point: until the very end there is no partition table,
// and when there is one, everything else is there.
func TestPowerCut(t *testing.T) {
	image := mbrImage(t, 5<<20)
	whole := 0
	step := 1
	if testing.Short() {
		step = 4 // writes are some 50
	}
	for n := 1; ; n += step {
		c := newCard(8 << 20)
		copy(c.now, image[:headSize]) // an old table
		copy(c.durable, c.now)
		var after [][]byte
		c.onWrite = func() {
			if c.writes == n {
				after = [][]byte{c.afterCut(rand.New(rand.NewPCG(uint64(n), 7))), slices.Clone(c.now)}
			}
		}
		if results, err := write(t, Config{Image: newImage(image)}, c); err != nil || results[0].State != Done {
			t.Fatal(err, results)
		}
		if after == nil {
			break
		}
		for _, b := range after {
			switch kind := readTable(b[:headSize]).kind; {
			case kind == "":
			case n <= len(probePages(8<<20))*2+1: // the size probe; the old first sectors are being erased
			case !bytes.Equal(b[4096:len(image)], image[4096:]):
				t.Errorf("cut at write %d: a %s without what belongs to it", n, kind)
			default:
				whole++
			}
		}
	}
	if whole == 0 && step == 1 {
		t.Error("no cut was late enough to find all of it")
	}
}

// Progress: every step that starts ends, and the totals are right.
func TestEvents(t *testing.T) {
	var mu sync.Mutex
	open := map[string]bool{}
	image := mbrImage(t, 9<<20)
	sink := event.SinkFunc(func(e event.Event) {
		mu.Lock()
		defer mu.Unlock()
		switch e.State {
		case event.Start:
			open[e.Step] = true
		case event.Done, event.Failed:
			delete(open, e.Step)
			if strings.HasSuffix(e.Step, "write") && (e.Done != int64(len(image)) || e.Total != e.Done) {
				t.Errorf("%+v", e)
			}
		}
	})
	results, err := write(t, Config{Image: newImage(image), Sink: sink}, newCard(16<<20), newCard(16<<20))
	if err != nil || results[1].State != Done || len(open) > 0 {
		t.Errorf("%v, %+v, still open: %v", err, results, open)
	}
}
