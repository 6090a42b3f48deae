package efi

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestEfivarfsFiles(t *testing.T) {
	dir := t.TempDir()
	v := Efivarfs(dir)
	n := global("BootOrder")
	file := filepath.Join(dir, "BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c")
	for _, data := range []string{"\x01\x00\x02\x00", "\x02\x00"} { // the second is shorter
		if err := v.Set(n, []byte(data), bootAttributes); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil || string(b) != "\x07\x00\x00\x00"+data {
			t.Errorf("file has %x, %v", b, err)
		}
		got, a, err := v.Get(n)
		if err != nil || string(got) != data || a != bootAttributes {
			t.Errorf("got %x %d %v", got, a, err)
		}
	}
	if err := v.Delete(n); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Get(n); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := v.Delete(n); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestEfivarfsRefuses(t *testing.T) {
	dir := t.TempDir()
	v := Efivarfs(dir)
	if err := v.Set(global("X"), nil, bootAttributes); err == nil || !strings.Contains(err.Error(), "would delete it") {
		t.Errorf("got %v", err)
	}
	if err := v.Set(global("../X"), []byte("x"), bootAttributes); err == nil {
		t.Error("a name with a slash was accepted")
	}
	if err := os.WriteFile(filepath.Join(dir, global("Y").String()), []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Get(global("Y")); err == nil || !strings.Contains(err.Error(), "only 3 bytes") {
		t.Errorf("got %v", err)
	}
	if _, err := Efivarfs(filepath.Join(dir, "none")).List(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestEfivarfsList(t *testing.T) {
	dir := t.TempDir()
	v := Efivarfs(dir)
	for _, n := range []string{"Boot0001", "dump-type0-1-2"} {
		if err := v.Set(global(n), []byte("x"), bootAttributes); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"README", "-" + Global.String(), "Boot0002-8be4df61"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	names, err := v.List()
	if want := []VariableName{global("Boot0001"), global("dump-type0-1-2")}; err != nil || !slices.Equal(names, want) {
		t.Errorf("got %v, %v", names, err)
	}
}

func TestEfivarfsClearsAndRestoresImmutable(t *testing.T) {
	tooltest.Root(t)
	dir := t.TempDir()
	v, n := Efivarfs(dir), global("Immutable")
	if err := v.Set(n, []byte("old value"), bootAttributes); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, n.String())
	if err := setFlags(file, immutableFlag); err != nil {
		t.Skipf("the temporary directory's file system has no immutable flag: %v", err)
	}
	t.Cleanup(func() {
		if restore, err := clearImmutable(file); err == nil {
			_ = restore // stays cleared, so that the directory can be removed
		}
	})
	if err := os.WriteFile(file, []byte("x"), 0o644); err == nil {
		t.Fatal("the immutable flag does nothing here")
	}
	if err := v.Set(n, []byte("new"), bootAttributes); err != nil {
		t.Fatal(err)
	}
	if got, _, err := v.Get(n); err != nil || !bytes.Equal(got, []byte("new")) {
		t.Errorf("got %q, %v", got, err)
	}
	if err := os.Remove(file); err == nil {
		t.Error("the flag was not set again")
	}
	if err := v.Delete(n); err != nil {
		t.Error(err)
	}
}

func TestFullStoreIsExplained(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	n := global("Boot0000")
	// Opening /dev/full works and writing fails with ENOSPC, as with a full
	// variable store.
	if err := os.Symlink(full, filepath.Join(dir, n.String())); err != nil {
		t.Fatal(err)
	}
	err := Efivarfs(dir).Set(n, []byte("x"), bootAttributes)
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "variable store is full") {
		t.Errorf("got %v", err)
	}
}
