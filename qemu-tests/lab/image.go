package lab

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// Say runs a foreign program, which has to succeed, and returns its output.
func Say(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := (tool.Exec{}).Run(t.Context(), tool.Cmd{Name: name, Args: args})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Stdout)
	}
	return string(out.Stdout)
}

// CheckTable has sgdisk verify the partition table of an image. It takes the
// sector size from the device, so that of 4096-byte sectors is shown to it by a
// loop device.
func CheckTable(t *testing.T, path string, sector int) {
	t.Helper()
	if sector != 512 {
		tooltest.Root(t)
		path = strings.TrimSpace(Say(t, "losetup", "--find", "--show", "--read-only", "--sector-size", fmt.Sprint(sector), path))
		defer Say(t, "losetup", "--detach", path)
	}
	out := Say(t, "sgdisk", "-v", path)
	if !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk -v:\n%s", out)
	}
}

// eachData calls use for each part of a file that is not a hole (lseek(2),
// SEEK_DATA).
func eachData(f *os.File, use func(io.Reader) error) error {
	end := int64(0)
	for {
		start, err := f.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		if end, err = f.Seek(start, unix.SEEK_HOLE); err != nil {
			return err
		}
		if err := use(io.NewSectionReader(f, start, end-start)); err != nil {
			return err
		}
	}
}

// Digest is the SHA-256 of a file's content without its holes.
func Digest(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if err := eachData(f, func(r io.Reader) error { _, err := io.Copy(h, r); return err }); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Contains reports whether a file has the words anywhere, reading only what
// is not a hole.
func Contains(t *testing.T, path string, words []byte) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := false
	err = eachData(f, func(r io.Reader) error {
		buf := make([]byte, 0, 1<<20)
		for {
			n, err := r.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			found = found || bytes.Contains(buf, words)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if len(buf) >= len(words) {
				buf = append(buf[:0], buf[len(buf)-len(words)+1:]...)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Slice copies a part of a file, holes as holes: a partition of an image.
func Slice(t *testing.T, from, to string, start, size int64) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	const step = 1 << 20
	zero := make([]byte, step)
	for at := int64(0); at < size; at += step {
		block := make([]byte, min(step, size-at))
		if _, err := in.ReadAt(block, start+at); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(block, zero[:len(block)]) {
			continue
		}
		if _, err := out.WriteAt(block, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Truncate(size); err != nil {
		t.Fatal(err)
	}
}
