package flash

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// found is a loop device as Find sees it, as if it were removable.
func found(t *testing.T, device string) Candidate {
	t.Helper()
	c, err := Find(device)
	if err != nil {
		t.Fatal(err)
	}
	if c.Removable || c.Transport != "virtual" || c.Refuse(Consent{}) == nil {
		t.Errorf("%+v", c)
	}
	return c
}

// readDevice reads what is on a device, from its beginning.
func readDevice(t *testing.T, path string, n int) []byte {
	t.Helper()
	d, err := disk.Open(path, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b := make([]byte, n)
	if _, err := d.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// Two devices at once, of which one has sectors of 4096 bytes and gets an image
// without a table; what was on them is gone.
func TestLoop(t *testing.T) {
	small, large := tooltest.Loop(t, 48<<20), tooltest.Loop(t, 64<<20, "--sector-size", "4096")
	run := tooltest.Need(t, "mkfs.ext4")
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "mkfs.ext4", Args: []string{"-q", large}}); err != nil {
		t.Fatal(err)
	}
	image := mbrImage(t, 23<<20+512)
	copy(image[446:512], zeroes)
	allow := Consent{Mean: []string{small, large}}
	var targets []Target
	for _, dev := range []string{small, large} {
		c := found(t, dev)
		if err := c.Refuse(allow); err != nil {
			t.Fatal(err)
		}
		targets = append(targets, c.Target(allow))
	}
	j, err := Prepare(Config{Image: newImage(image), Targets: targets})
	if err != nil {
		t.Fatal(err)
	}
	results, err := j.Run(t.Context())
	for i, r := range results {
		if err != nil || r.State != Done || r.Err != nil || !bytes.Equal(readDevice(t, []string{small, large}[i], len(image)), image) {
			t.Errorf("%v, %+v", err, r)
		}
	}
}

// A device that is mounted is refused, and by the kernel as well; --umount is for
// removable ones.
func TestMounted(t *testing.T) {
	dev := tooltest.Loop(t, 32<<20)
	run := tooltest.Need(t, "mkfs.ext4")
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "mkfs.ext4", Args: []string{"-q", dev}}); err != nil {
		t.Fatal(err)
	}
	free := found(t, dev)
	at := filepath.Join(t.TempDir(), "mnt")
	if err := errors.Join(os.Mkdir(at, 0o700), disk.Mount(dev, at, "ext4", nil)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.UnmountAll(at); err != nil {
			t.Error(err)
		}
	})
	if _, err := free.Target(Consent{}).Open(); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("mounted since it was looked at: %v", err)
	}
	c, err := Find(dev)
	if err != nil {
		t.Fatal(err)
	}
	mean := Consent{Mean: []string{dev}, Umount: true}
	if err := c.Refuse(mean); err == nil || !strings.Contains(err.Error(), dev+" mounted on "+at) {
		t.Errorf("not removable: %v", err)
	}
	c.Removable = true
	if err := c.Refuse(Consent{}); err == nil || !strings.Contains(err.(*Refusal).Hint(), "--umount") {
		t.Errorf("removable: %v", err)
	}
	if err := c.Refuse(mean); err != nil {
		t.Fatal(err)
	}
	d, err := c.Target(mean).Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if m, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(m), at) {
		t.Errorf("%v: it is mounted still", err)
	}
}

// What somebody holds without a mount is seen, and a partition is no disk.
func TestHeld(t *testing.T) {
	dev := tooltest.Loop(t, 8<<20)
	f, err := os.OpenFile(dev, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := Find(dev)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refuse(Consent{Mean: []string{dev}, Umount: true}); err == nil || !strings.Contains(err.Error(), "held by the kernel") {
		t.Error(err)
	}
	if err := c.Refuse(Consent{Mean: []string{"/dev/null"}}); err == nil {
		t.Error("another device is meant")
	}
}

// A device whose medium was changed is another one, also when it has the same
// name and the same size.
func TestChanged(t *testing.T) {
	dev := tooltest.Loop(t, 8<<20)
	c := found(t, dev)
	if c.identity.Sequence == 0 {
		t.Skip("this kernel does not count media (diskseq)")
	}
	other := filepath.Join(t.TempDir(), "other")
	run := tooltest.Need(t, "losetup")
	if err := errors.Join(os.WriteFile(other, nil, 0o600), os.Truncate(other, 8<<20)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--detach", dev}, {dev, other}} {
		if _, err := run.Run(t.Context(), tool.Cmd{Name: "losetup", Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Target(Consent{}).Open(); !errors.Is(err, ErrAnother) {
		t.Error(err)
	}
}

// A device that cannot store what it says it has: its file is on a file system
// that is full before. The kernel's errors are those of a broken card.
func TestLoopThatLies(t *testing.T) {
	tooltest.Root(t)
	dir := t.TempDir()
	if err := disk.Mount("tmpfs", dir, "tmpfs", []string{"size=12M"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.UnmountAll(dir); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "card")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 64<<20)); err != nil {
		t.Fatal(err)
	}
	run := tooltest.Need(t, "losetup")
	out, err := run.Run(t.Context(), tool.Cmd{Name: "losetup", Args: []string{"--find", "--show", file}})
	if err != nil {
		t.Fatal(err)
	}
	dev := strings.TrimSpace(string(out.Stdout))
	t.Cleanup(func() {
		if _, err := run.Run(context.Background(), tool.Cmd{Name: "losetup", Args: []string{"--detach", dev}}); err != nil {
			t.Error(err)
		}
	})
	c := found(t, dev)
	j, err := Prepare(Config{Image: newImage(mbrImage(t, 40<<20)), Targets: []Target{c.Target(Consent{})}})
	if err != nil {
		t.Fatal(err)
	}
	results, err := j.Run(t.Context())
	if r := results[0]; err != nil || r.State != Empty || !errors.Is(r.Err, syscall.EIO) && !errors.Is(r.Err, syscall.ENOSPC) {
		t.Errorf("%v, %+v", err, r)
	}
	if !isZero(readDevice(t, dev, headSize)) {
		t.Error("it has first sectors")
	}
}

// A file that is made has holes, and the size that was asked for or that of the
// image, to the byte.
func TestFile(t *testing.T) {
	image := mbrImage(t, 5<<20+100)
	for _, size := range []int64{0, 64 << 20} {
		for _, told := range []int64{-1, int64(len(image))} {
			path := filepath.Join(t.TempDir(), "card.img")
			if err := os.WriteFile(path, bytes.Repeat([]byte("old"), 1<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			j, err := Prepare(Config{Image: memory{b: append(image, make([]byte, 20<<20)...)[:len(image)], size: told}, Targets: []Target{FileTarget(path, size, told < 0)}})
			if err != nil {
				t.Fatal(err)
			}
			results, err := j.Run(t.Context())
			if err != nil || results[0].State != Done {
				t.Fatalf("%v, %+v", err, results)
			}
			b, err := os.ReadFile(path)
			if err != nil || !bytes.HasPrefix(b, image) || int64(len(b)) != max(size, int64(len(image))) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil || st.Blocks*512 > 5<<20 || told < 0 && st.Mode&0o777 != 0o600 {
				t.Errorf("it takes %d bytes, mode %o, %v", st.Blocks*512, st.Mode, err)
			}
		}
	}
}
