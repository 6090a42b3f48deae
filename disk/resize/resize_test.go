package resize

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

const mib = 1 << 20

// device is a device for a format: a file where mtools need one.
func device(t testing.TB, format string, size int64) string {
	t.Helper()
	if format != "vfat" {
		return tooltest.Loop(t, size)
	}
	return tooltest.Image(t, size)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// kinds are how each format is tried: made at 'start', taken to 'steps' in
// turn.
var kinds = map[string]struct {
	start int64
	steps []int64
	slow  bool
}{
	"ext4":  {start: 96 * mib, steps: []int64{40*mib + 5000, 120 * mib}},
	"ext2":  {start: 32 * mib, steps: []int64{24 * mib, 64 * mib}, slow: true},
	"btrfs": {start: 300 * mib, steps: []int64{270*mib + 1, 300 * mib}},
	"xfs":   {start: 300 * mib, steps: []int64{300 * mib, 380*mib + 77}},
	"ntfs":  {start: 48 * mib, steps: []int64{32*mib + 99, 64 * mib}},
	"vfat":  {start: 80 * mib, steps: []int64{60*mib + 1, 75 * mib}},
	"swap":  {start: 16 * mib, steps: []int64{8*mib + 9, 24 * mib}},
}

func TestResize(t *testing.T) {
	for format, k := range kinds {
		t.Run(format, func(t *testing.T) {
			if testing.Short() && k.slow {
				t.Skip("slow")
			}
			dev := device(t, format, 400*mib)
			part := &content{t: t, format: format, dev: dev}
			part.make(k.start)
			for _, to := range k.steps {
				part.resize(to, true)
				part.resize(to, false)
			}
		})
	}
}

// content is a file system with a file of known bytes in it.
type content struct {
	t           *testing.T
	format, dev string
	uuid        string
	sum         [32]byte
}

func (c *content) make(size int64) {
	c.t.Helper()
	c.uuid = uuid.NewString() // mkfs.btrfs refuses one that is on another device
	data := make([]byte, 3*mib)
	if _, err := rand.Read(data); err != nil {
		c.t.Fatal(err)
	}
	c.sum = sha256.Sum256(data)
	f := disk.Filesystem{Format: c.format, UUID: c.uuid, Label: "AN-FS", Size: size}
	kib := func(n int64) string { return itoa(n / 1024) }
	switch c.format {
	case "ext4", "ext2":
		cmd := c.command(f)
		cmd.Args = append(cmd.Args, kib(size)+"K")
		c.run(cmd)
	case "btrfs":
		f.Args = []string{"--byte-count", itoa(size)}
		c.run(c.command(f))
	case "xfs":
		f.Args = []string{"-d", "size=" + itoa(size)}
		c.run(c.command(f))
	case "vfat":
		f.UUID, f.Args = "ABCD-1234", []string{"-s", "1"}
		cmd := c.command(f)
		cmd.Args = append(cmd.Args, kib(size))
		c.run(cmd)
	case "swap":
		cmd := c.command(f)
		cmd.Args = append(cmd.Args, kib(size))
		c.run(cmd)
		return
	case "ntfs":
		tooltest.Run(c.t, "mkfs.ntfs", "-q", "-F", "-Q", "-s", "512", c.dev, itoa(size/512))
	}
	c.store(data)
}

func (c *content) command(f disk.Filesystem) tool.Cmd {
	c.t.Helper()
	cmd, err := disk.MkfsCommand(f, c.dev, time.Unix(1700000000, 0))
	if err != nil {
		c.t.Fatal(err)
	}
	return cmd
}

func (c *content) run(cmd tool.Cmd) {
	c.t.Helper()
	if _, err := tooltest.Need(c.t, cmd.Name).Run(c.t.Context(), cmd); err != nil {
		c.t.Fatal(err)
	}
}

// store puts the file in, without the kernel where that may not know the
// format.
func (c *content) store(data []byte) {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "data")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		c.t.Fatal(err)
	}
	switch c.format {
	case "vfat":
		tooltest.Run(c.t, "mcopy", "-i", c.dev, file, "::data")
	case "ntfs":
		tooltest.Run(c.t, "ntfscp", "-q", c.dev, file, "data")
	default:
		c.mounted(func(dir string) { tooltest.Run(c.t, "cp", file, dir+"/data") })
	}
}

func (c *content) mounted(f func(dir string)) {
	c.t.Helper()
	dir := c.t.TempDir()
	if err := disk.Mount(c.dev, dir, c.format, nil); err != nil {
		c.t.Fatal(err)
	}
	defer func() {
		if err := disk.Unmount(dir); err != nil {
			c.t.Error(err)
		}
	}()
	f(dir)
}

// load reads the file back.
func (c *content) load() []byte {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "back")
	switch c.format {
	case "vfat":
		tooltest.Run(c.t, "mcopy", "-i", c.dev, "::data", file)
	case "ntfs":
		return []byte(tooltest.Run(c.t, "ntfscat", "--force", c.dev, "data"))
	default:
		c.mounted(func(dir string) { tooltest.Run(c.t, "cp", dir+"/data", file) })
	}
	b, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// resize takes it to a size and looks at all that must be so afterwards. The
// second time nothing may be done.
func (c *content) resize(to int64, first bool) {
	c.t.Helper()
	if c.format == "ntfs" && first { // as Windows does, which is not here
		tooltest.Run(c.t, "ntfsfix", "--clear-dirty", c.dev)
	}
	before := c.bytes()
	got, err := Resize(c.t.Context(), tool.Exec{}, c.format, c.dev, to, Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	if got > to || to-got > 8<<10 {
		c.t.Errorf("%d bytes instead of %d", got, to)
	}
	if size, err := Size(c.format, c.dev); err != nil || size != got {
		c.t.Errorf("Size says %d, Resize %d: %v", size, got, err)
	}
	if !first && !bytes.Equal(before, c.bytes()) {
		c.t.Errorf("resized to %d a second time, it changed", to)
	}
	least, err := Least(c.t.Context(), tool.Exec{}, c.format, c.dev)
	if err != nil || least <= 0 || least > got {
		c.t.Errorf("Least says %d of %d: %v", least, got, err)
	}
	if c.format == "swap" {
		if out := tooltest.Run(c.t, "blkid", "-p", "-o", "export", c.dev); !strings.Contains(out, "UUID="+c.uuid+"\n") || !strings.Contains(out, "LABEL=AN-FS\n") {
			c.t.Errorf("blkid: %s", out)
		}
		return
	}
	if err := disk.Fsck(c.t.Context(), tool.Exec{}, c.format, c.dev, false); err != nil && c.format != "ntfs" {
		c.t.Error(err)
	}
	if sha256.Sum256(c.load()) != c.sum {
		c.t.Errorf("the file changed when it was resized to %d", to)
	}
}

// bytes are those of the first MiB, where all formats keep what Resize writes.
func (c *content) bytes() []byte {
	c.t.Helper()
	f, err := os.Open(c.dev)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, mib)
	if _, err := f.ReadAt(b, 0); err != nil {
		c.t.Fatal(err)
	}
	return b
}

func TestResizeRefuses(t *testing.T) {
	tests := []struct {
		format      string
		start, to   int64
		want        error
		wantMessage string
	}{
		{"xfs", 300 * mib, 200 * mib, ErrCannotShrink, "an xfs never shrinks"},
		{"ext4", 32 * mib, 1 * mib, ErrCannotShrink, ""},
		{"btrfs", 300 * mib, 2 * mib, ErrCannotShrink, ""},
		{"vfat", 80 * mib, 20 * mib, ErrCannotShrink, "do not make a FAT32"},
		{"vfat", 80 * mib, 200 * mib, ErrCannotGrow, "its table has room"},
		{"ntfs", 48 * mib, 1 * mib, ErrCannotShrink, ""},
		{"ext4", 32 * mib, 401 * mib, ErrCannotGrow, "its device has"},
	}
	for _, tt := range tests {
		dev := device(t, tt.format, 400*mib)
		c := &content{t: t, format: tt.format, dev: dev}
		c.make(tt.start)
		_, err := Resize(t.Context(), tool.Exec{}, tt.format, dev, tt.to, Options{})
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.wantMessage) {
			t.Errorf("%s to %d: %v", tt.format, tt.to, err)
		}
		if sha256.Sum256(c.load()) != c.sum {
			t.Errorf("%s: the file changed", tt.format)
		}
	}
	if _, err := Resize(t.Context(), tool.Exec{}, "reiserfs", "/dev/zero", mib, Options{}); err == nil {
		t.Error("reiserfs was resized")
	}
	for format := range kinds {
		if n, err := Size(format, "/dev/zero"); err == nil {
			t.Errorf("zeros are a %s of %d bytes", format, n)
		}
	}
}
