package sysfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, size := range []int{0, 1, 511, 512, 513, 4096, 100_000} {
		want := []byte(strings.Repeat("x", size))
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
	}
	var where *fs.PathError
	if _, err := readFile(path + "-not"); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &where) || where.Path != path+"-not" {
		t.Errorf("of none: %v", err)
	}
	if _, err := readFile(t.TempDir()); !errors.Is(err, unix.EISDIR) {
		t.Errorf("of a folder: %v", err)
	}
}

func BenchmarkReadFile(b *testing.B) {
	for name, read := range map[string]func(string) ([]byte, error){"ours": readFile, "os": os.ReadFile} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := read("/sys/kernel/mm/transparent_hugepage/enabled"); err != nil {
					b.Skip(err)
				}
			}
		})
	}
}
