package disk

import (
	"errors"
	"io"
	"os"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// memory is a Device of bytes. It fails the write after `left` more of them,
// if that is not negative, and tears the failing one in half.
type memory struct {
	data       []byte
	sectorSize int
	left       int
	whole      bool // the failing one is not torn: it does not happen
}

func newMemory(size, sectorSize int) *memory {
	return &memory{data: make([]byte, size), sectorSize: sectorSize, left: -1}
}

func (m *memory) Size() int64     { return int64(len(m.data)) }
func (m *memory) SectorSize() int { return m.sectorSize }
func (m *memory) Sync() error     { return nil }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= m.Size() {
		return 0, io.EOF
	}
	n := copy(p, m.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

var errPulled = errors.New("the plug was pulled")

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > m.Size() {
		return 0, errors.New("outside of the device")
	}
	if m.left == 0 && m.whole {
		return 0, errPulled
	}
	if m.left == 0 {
		return copy(m.data[off:], p[:len(p)/2]), errPulled
	}
	m.left--
	return copy(m.data[off:], p), nil
}

const testLayout = `
disk:
  main:
    content:
      type: gpt
      partitions:
        bios: {size: 1M, type: EF02}
        ESP: {size: 300M, type: EF00, content: {type: filesystem, format: vfat, mountpoint: /boot/efi, extraArgs: [-n, ESP]}}
        root: {size: 100%, type: "8304", content: {type: filesystem, format: ext4, mountpoint: /}}
`

const testSize = 512 << 20

func testTable(t testing.TB, text string, size int64, sectorSize int) layout.Table {
	t.Helper()
	l, err := layout.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	seed := uuid.NewSHA1(uuid.NameSpaceURL, []byte("vic"))
	tables, err := layout.Resolve(l, map[string]layout.Geometry{"main": {Size: size, SectorSize: sectorSize}}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return tables[0]
}

// image and run are short for what nearly every test here needs.
var (
	image = tooltest.Image
	run   = tooltest.Run
)

// loop makes a loop device of a new sparse file.
func loop(t testing.TB, size int64, sectorSize int) string {
	t.Helper()
	return tooltest.Loop(t, size, "--sector-size", strconv.Itoa(sectorSize))
}

func openRW(t testing.TB, path string) *File {
	t.Helper()
	d, err := Open(path, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // tests that care close it themselves
	return d
}
