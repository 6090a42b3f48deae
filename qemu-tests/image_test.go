package qemutests

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// The default layout: BIOS boot partition, ESP, root.
const (
	mib        = 1 << 20
	espStart   = 2 * mib
	espSize    = 512 * mib
	rootStart  = espStart + espSize
	targetSize = 8 << 30
)

// eachData calls f for each part of a file that is not a hole (lseek(2),
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

// digest is the SHA-256 of a file's content without its holes.
func digest(t *testing.T, path string) string {
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

// checkImage has foreign tools look at an installed disk.
func checkImage(t *testing.T, path string, sector int) {
	t.Helper()
	out := say(t, "e2fsck", "-fn", fmt.Sprintf("%s?offset=%d", path, rootStart))
	if !strings.Contains(out, "Pass 5") {
		t.Errorf("e2fsck did not look at the whole file system:\n%s", out)
	}
	esp := filepath.Join(t.TempDir(), "esp")
	slice(t, path, esp, espStart, espSize)
	say(t, "fsck.vfat", "-n", esp)
	tree := strings.ToLower(say(t, "mdir", "-b", "-/", "-i", esp, "::"))
	for _, want := range []string{"/efi/boot/bootx64.efi", "/efi/systemd/systemd-bootx64.efi", "/loader/entries/debian-", "/linux", "/initrd.img"} {
		if !strings.Contains(tree, want) {
			t.Errorf("%s is not on the ESP:\n%s", want, tree)
		}
	}
	checkTable(t, path, sector)
}

// checkTable has sgdisk verify the partition table. It takes the sector size
// from the device, so that of 4096-byte sectors is shown to it by a loop device.
func checkTable(t *testing.T, path string, sector int) {
	t.Helper()
	if sector != 512 {
		tooltest.Root(t)
		path = strings.TrimSpace(say(t, "losetup", "--find", "--show", "--read-only", "--sector-size", fmt.Sprint(sector), path))
		defer say(t, "losetup", "--detach", path)
	}
	out := say(t, "sgdisk", "-v", path)
	if !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk -v:\n%s", out)
	}
}

// say runs a foreign program, which has to succeed, and returns its output.
func say(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := (tool.Exec{}).Run(t.Context(), tool.Cmd{Name: name, Args: args})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Stdout)
	}
	return string(out.Stdout)
}

// slice copies a part of a file, holes as holes.
func slice(t *testing.T, from, to string, start, size int64) {
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
	zero := make([]byte, mib)
	for at := int64(0); at < size; at += mib {
		block := make([]byte, min(mib, size-at))
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
