package vm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestMissingPartsNameDebianPackages(t *testing.T) {
	empty := host{root: t.TempDir(), exec: tool.Exec{Path: t.TempDir()}}
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{}, "qemu-system-x86_64 for amd64 machines: not installed (Debian package qemu-system-x86)"},
		{Config{Arch: "arm64"}, "qemu-system-aarch64 for arm64 machines: not installed (Debian package qemu-system-arm)"},
	} {
		_, err := run(t.Context(), empty, tt.c)
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	if _, err := empty.imageTool(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "qemu-utils") {
		t.Errorf("got %v", err)
	}
	for arch, want := range map[string]string{"amd64": "(Debian package ovmf)", "arm64": "(Debian package qemu-efi-aarch64)"} {
		if _, err := empty.firmware(arch); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestFirmwareTakesTheFirstWholePair(t *testing.T) {
	root := t.TempDir()
	write := func(path string) {
		if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pairs := targets["amd64"].firmwares
	write(pairs[0].code) // without its variables
	write(pairs[2].code)
	write(pairs[2].vars)
	write(pairs[3].code)
	write(pairs[3].vars)
	if f, err := (host{root: root}).firmware("amd64"); err != nil || f.code != root+pairs[2].code {
		t.Errorf("got %v, %v", f, err)
	}
}

func TestMakeVars(t *testing.T) {
	dir := t.TempDir()
	template, store := filepath.Join(dir, "template"), filepath.Join(dir, "store")
	if err := os.WriteFile(template, []byte("blank"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := makeVars(store, template); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(store, []byte("BootX"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := makeVars(store, template); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(store); err != nil || string(b) != "BootX" {
		t.Errorf("the store was replaced: %q %v", b, err)
	}
	if err := os.WriteFile(store, []byte("other"+"size"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := makeVars(store, template); err == nil || !strings.Contains(err.Error(), "it has 9 bytes, this firmware's has 5") {
		t.Errorf("got %v", err)
	}
}

func TestAbsentFilesAreNamed(t *testing.T) {
	tooltest.Need(t, "qemu-system-x86_64")
	for _, c := range []Config{
		{Disks: []Disk{{Path: "/nonexistent/disk"}}},
		{Kernel: "/nonexistent/kernel"},
	} {
		if _, err := Run(t.Context(), c); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent/") {
			t.Errorf("got %v", err)
		}
	}
}

func TestJoinInitrdAligns(t *testing.T) {
	dir := t.TempDir()
	s := setup{Config: Config{Dir: dir}}
	for name, content := range map[string]string{"a": "12345", "b": "1234", "c": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"b", "a", "c"} {
		s.Initrd = append(s.Initrd, filepath.Join(dir, n))
	}
	if err := s.joinInitrd(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(s.initrd); err != nil || !bytes.Equal(b, []byte("123412345\x00\x00\x00x\x00\x00\x00")) {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestDetectFormat(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{"": "raw", "QF": "raw", "QFI\xfb....": "qcow2", "MBR.....": "raw"} {
		f := filepath.Join(dir, "f")
		if err := os.WriteFile(f, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := detectFormat(f); err != nil || got != want {
			t.Errorf("%q: got %s, %v", content, got, err)
		}
	}
}

func TestBlankDiskIsSparseAndNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d")
	if err := BlankDisk(path, 8<<30); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != 8<<30 {
		t.Errorf("got %v %v", st, err)
	}
	if err := BlankDisk(path, 1); !errors.Is(err, os.ErrExist) {
		t.Errorf("an existing file: %v", err)
	}
}

func TestOverlayKeepsTheBacking(t *testing.T) {
	run := tooltest.Need(t, "qemu-img", "qemu-io")
	base := filepath.Join(t.TempDir(), "base")
	if err := BlankDisk(base, 1<<20); err != nil {
		t.Fatal(err)
	}
	over := Overlay(t, base)
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "qemu-io", Args: []string{"-f", "qcow2", "-c", "write -P 7 0 4096", over}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(base)
	if err != nil || bytes.IndexFunc(b, func(r rune) bool { return r != 0 }) >= 0 {
		t.Errorf("the backing was written to (%v)", err)
	}
	again := Overlay(t, over) // of a qcow2 image
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "qemu-io", Args: []string{"-f", "qcow2", "-c", "read -P 7 0 4096", again}}); err != nil {
		t.Error(err)
	}
}

func TestProbe(t *testing.T) {
	needVM(t)
	// The probe's guest is right: it runs to its end without KVM.
	if err := runProbe(t.Context(), host{}, "amd64", "tcg"); err != nil {
		t.Errorf("probe guest: %v", err)
	}
	if err := runProbe(t.Context(), host{}, "amd64", "no-such"); err == nil {
		t.Error("an accelerator that does not exist works")
	}
	if err := runProbe(t.Context(), host{}, "mips", "tcg"); err == nil {
		t.Error("a guest that does not exist runs")
	}
	hung := probeGuest["amd64"][0]
	probeGuest["amd64"][0] = 0xf4 // hlt
	defer func() { probeGuest["amd64"][0] = hung }()
	if err := runProbe(t.Context(), host{}, "amd64", "tcg"); err == nil {
		t.Error("a guest that hangs passes")
	}
}

func TestProbeAccelOverride(t *testing.T) {
	for _, a := range []string{"kvm", "tcg"} {
		t.Setenv("VIC_ACCEL", a)
		if got := ProbeAccel(t.Context()); got != a {
			t.Errorf("got %s, want %s", got, a)
		}
	}
	// A probe that was cut short decides nothing.
	t.Setenv("VIC_ACCEL", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := probed.accel
	ProbeAccel(ctx)
	if probed.accel != before {
		t.Error("a cancelled probe was kept")
	}
}
