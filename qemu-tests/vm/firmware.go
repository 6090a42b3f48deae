package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/victorinix/vic/internal/tool"
)

// firmware is a UEFI code image with the template of its variable store.
type firmware struct{ code, vars string }

// target says what a guest architecture needs on the host.
type target struct {
	qemu, qemuPackage string
	firmwarePackage   string
	firmwares         []firmware
}

// targets has the usual places of Debian, Fedora, Arch and openSUSE, in that
// order. The files of a pair have to match in size.
var targets = map[string]target{
	"amd64": {
		qemu: "qemu-system-x86_64", qemuPackage: "qemu-system-x86",
		firmwarePackage: "ovmf",
		firmwares: []firmware{
			{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
			{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
			{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
			{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
			{"/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"},
		},
	},
	"arm64": {
		qemu: "qemu-system-aarch64", qemuPackage: "qemu-system-arm",
		firmwarePackage: "qemu-efi-aarch64",
		firmwares: []firmware{
			{"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
			{"/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"},
			{"/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"},
		},
	},
}

// ErrMissing is wrapped by errors about something to install on the host.
var ErrMissing = errors.New("not installed")

// host finds things on the host; its root and search path are changed by tests.
type host struct {
	root string
	exec tool.Exec
}

// emulator finds QEMU for an architecture.
func (h host) emulator(arch string) (string, error) {
	t := targets[arch]
	path, err := h.exec.LookPath(t.qemu)
	if err != nil {
		return "", fmt.Errorf("find %s for %s machines: %w (Debian package %s)", t.qemu, arch, ErrMissing, t.qemuPackage)
	}
	return path, nil
}

// firmware finds the UEFI firmware for an architecture.
func (h host) firmware(arch string) (firmware, error) {
	t := targets[arch]
	for _, f := range t.firmwares {
		f = firmware{h.root + f.code, h.root + f.vars}
		if isFile(f.code) && isFile(f.vars) {
			return f, nil
		}
	}
	return firmware{}, fmt.Errorf("find UEFI firmware for %s machines: %w (Debian package %s)", arch, ErrMissing, t.firmwarePackage)
}

// imageTool finds qemu-img.
func (h host) imageTool() (string, error) {
	path, err := h.exec.LookPath("qemu-img")
	if err != nil {
		return "", fmt.Errorf("find qemu-img: %w (Debian package qemu-utils)", ErrMissing)
	}
	return path, nil
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// NewVars makes a variable store for Config.Vars, of which nobody has made anything yet.
func NewVars(arch, path string) error {
	f, err := host{}.firmware(arch)
	if err != nil {
		return err
	}
	return makeVars(path, f.vars)
}

// makeVars copies the template of a variable store to path, unless path is
// there. A store of another size belongs to another firmware: QEMU would place
// it wrongly and the firmware would not start.
func makeVars(path, template string) error {
	want, err := os.ReadFile(template)
	if err != nil {
		return fmt.Errorf("read UEFI variable template: %w", err)
	}
	st, err := os.Stat(path)
	if err == nil {
		if st.Size() != int64(len(want)) {
			return fmt.Errorf("use UEFI variable store %s: it has %d bytes, this firmware's has %d (%s)", path, st.Size(), len(want), template)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("use UEFI variable store: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".vars-*")
	if err != nil {
		return fmt.Errorf("make UEFI variable store %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(want)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("make UEFI variable store %s: %w", path, err)
	}
	// A link never replaces a store that another machine has just made.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make UEFI variable store %s: %w", path, err)
	}
	return nil
}
