package slots

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/victorinix/vic/disk/image/fat"
	"github.com/victorinix/vic/internal/slot"
)

// size is that of a small slot: FAT32 begins here.
const size = 36 << 20

// memory is a slot that remembers what was written to it since it was flushed, and
// may lose its power.
type memory struct {
	stable  []byte // flushed
	pending []piece
	cutAt   int // the write that fails, with all after it; 0: none
	writes  int
}

type piece struct {
	off  int64
	data []byte
}

var errCut = errors.New("the power is gone")

func newMemory(b []byte) *memory { return &memory{stable: bytes.Clone(b)} }

func (m *memory) Size() int64 { return int64(len(m.stable)) }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > m.Size() {
		return 0, io.EOF
	}
	copy(p, m.stable[off:])
	for _, w := range m.pending {
		w.onto(p, off)
	}
	return len(p), nil
}

func (w piece) onto(p []byte, off int64) {
	if from, to := max(off, w.off), min(off+int64(len(p)), w.off+int64(len(w.data))); from < to {
		copy(p[from-off:to-off], w.data[from-w.off:])
	}
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > m.Size() {
		return 0, fmt.Errorf("write of %d bytes at %d leaves the slot", len(p), off)
	}
	m.writes++
	m.pending = append(m.pending, piece{off, bytes.Clone(p)})
	if m.cutAt != 0 && m.writes >= m.cutAt { // it may be there, in part
		return 0, errCut
	}
	return len(p), nil
}

func (m *memory) Sync() error {
	if m.cutAt != 0 && m.writes >= m.cutAt {
		return errCut
	}
	for _, w := range m.pending {
		copy(m.stable[w.off:], w.data)
	}
	m.pending = nil
	return nil
}

// after is what is on the card after the cut: of what was not flushed, any sectors.
func (m *memory) after(seed uint64) *torn { return &torn{m, seed} }

type torn struct {
	*memory
	seed uint64
}

// ReadAt decides for each sector, always in the same way, what came to be there.
func (t *torn) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		at := off + int64(n)
		sector := at / sectorSize
		end := min(len(p), n+int((sector+1)*sectorSize-at))
		copy(p[n:end], t.stable[at:])
		for i, w := range t.pending {
			if rand.New(rand.NewPCG(t.seed, uint64(sector)<<16|uint64(i))).IntN(2) == 1 {
				w.onto(p[n:end], at)
			}
		}
		n = end
	}
	return len(p), nil
}

// system is a slot's content.
type system struct {
	image []byte
	order slot.Order
}

func content(name string, n int) []byte {
	return bytes.Repeat([]byte(name+" "), n/(len(name)+1)+1)[:n]
}

var firstStage = content("first stage", 5000)

// makeSystem makes what goes into a slot. extra is what one system has more of than
// another.
func makeSystem(t *testing.T, number int, name string, extra int, choice slot.Choice) system {
	t.Helper()
	m := slot.Manifest{Version: slot.Version, Item: "test", Type: "raspberry-pi", Arch: "arm64", System: name}
	var files []fat.File
	add := func(path string, data []byte) {
		files = append(files, fat.File{Path: path, Source: bytes.NewReader(data)})
		if path != slot.AutobootFile {
			sum := sha256.Sum256(data)
			m.Files = append(m.Files, slot.File{Name: path, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])})
		}
	}
	add(slot.FirstStageFile, firstStage)
	anchored := 1
	if number == slot.A {
		add(slot.AutobootFile, choice.Encode())
		anchored = 2
	}
	for i := range 30 + extra {
		add(fmt.Sprintf("bcm2837-of-%s-%d.dtb", name, i), content(name, 1000+100*extra))
	}
	add("overlays/one.dtbo", content(name, 700))
	add("system.erofs", content(name, 3<<20+extra))
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	add(slot.ManifestFile, text)
	v, err := fat.New(fat.Config{Size: size, Label: "VIC-" + slot.Name(number), VolumeID: uint32(extra), Time: time.Unix(1e9+int64(extra)*1e6, 0), Files: files, Anchored: anchored})
	if err != nil {
		t.Fatal(err)
	}
	image := make(buffer, size)
	if err := v.WriteAt(image, 0); err != nil {
		t.Fatal(err)
	}
	s := system{image, slot.Order{Version: slot.Version, Disk: "1234abcd", Slot: number, Size: size}}
	for _, p := range v.Pieces() {
		sum := sha256.Sum256(image[p.Offset : p.Offset+p.Size])
		keep := number == slot.A && (p.Path == slot.FirstStageFile || p.Path == slot.AutobootFile)
		s.order.Extents = append(s.order.Extents, slot.Extent{Name: p.Path, Offset: p.Offset, Size: p.Size, SHA256: hex.EncodeToString(sum[:]), Keep: keep})
	}
	if err := s.order.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

// stream is what the client sends after the order.
func (s system) stream(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for _, e := range s.order.Extents {
		if e.Keep {
			continue
		}
		if _, err := z.Write(s.image[e.Offset : e.Offset+e.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type buffer []byte

func (b buffer) WriteAt(p []byte, off int64) (int, error) { return copy(b[off:], p), nil }
