package probe

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// sparseDisk is a disk of any size with a few pieces of content.
type sparseDisk struct {
	size   int64
	pieces map[int64][]byte
	bad    map[int64]bool // a read that touches one of these bytes fails
	read   int64          // bytes, in all
}

var errBad = errors.New("bad sector")

func (d *sparseDisk) ReadAt(p []byte, off int64) (int, error) {
	if off >= d.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), d.size-off))
	d.read += int64(n)
	clear(p)
	for at, b := range d.pieces {
		if at < off+int64(n) && off < at+int64(len(b)) {
			from := max(at, off)
			copy(p[from-off:n], b[from-at:])
		}
	}
	for at := range d.bad {
		if at >= off && at < off+int64(n) {
			return 0, errBad
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// FuzzReadDisk has the bytes stand at a place of a disk, where the formats that
// have their superblocks at the end find them, too. What comes out has to make
// sense, and not to take long.
func FuzzReadDisk(f *testing.F) {
	for _, c := range corpus(f) {
		f.Add(c.data, c.at, c.size, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, at, size int64, large bool) {
		if at < 0 || size < 0 || size > 1<<50 || at > size {
			return
		}
		sector := 512
		if large {
			sector = 4096
		}
		d := &sparseDisk{size: size, pieces: map[int64][]byte{at: data}}
		found, err := ReadDisk(d, size, sector, nil)
		if err != nil {
			t.Fatal(err)
		}
		const most = 2 << 30 // 128 partitions with the labels of a pool each, and a bitmap or two
		if d.read > most {
			t.Errorf("read %d bytes", d.read)
		}
		if found.Table != nil {
			checkTable(t, found.Table)
		}
		checkResults(t, found.Content)
		for _, p := range found.Partitions {
			checkResults(t, p.Content)
		}
	})
}

func checkTable(t *testing.T, table *Table) {
	for _, e := range table.Entries {
		if e.FirstLBA > e.LastLBA || e.LastLBA >= uint64(table.Size)/uint64(table.SectorSize) || e.Number < 1 {
			t.Errorf("%+v", e)
		}
	}
}

func checkResults(t *testing.T, list []Result) {
	for _, r := range list {
		if r.Type == "" || r.Usage == "" || r.Size < 0 || r.MinSize < 0 || r.MinSize > r.Size || r.DataOffset < 0 || r.BlockSize < 0 {
			t.Errorf("%+v", r)
		}
	}
}

type seed struct {
	data     []byte
	at, size int64
}

// corpus is the beginning of everything that can be made here.
func corpus(f *testing.F) []seed {
	var list []seed
	for _, c := range handmade() {
		for at, b := range c.pieces {
			list = append(list, seed{b, at, c.size})
		}
	}
	return append(list, seed{bytes.Repeat([]byte{0xff}, 8192), 0, 1 << 30})
}
