package efi

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// speak is x86-64 code that sends the text behind it to COM1 and ends QEMU
// through isa-debug-exit.
const speak = "\x48\x8d\x35\x21\x00\x00\x00" + // lea text(%rip), %rsi
	"\xac\x84\xc0\x74\x12" + // next: lodsb; test %al, %al; jz end
	"\x88\xc3\x66\xba\xfd\x03" + // mov %al, %bl; mov $0x3fd, %dx
	"\xec\xa8\x20\x74\xfb" + // wait: in %dx, %al; test $0x20, %al; jz wait
	"\x88\xd8\xb2\xf8\xee\xeb\xe9" + // mov %bl, %al; mov $0xf8, %dl; out %al, %dx; jmp next
	"\x66\xba\xf4\x00\xb0\x10\xee\xf4\xeb\xfd" // end: mov $0xf4, %dx; mov $0x10, %al; out %al, %dx; hlt

const debugExit = 0x10<<1 | 1

// The firmware starts a UKI, and the host's stub starts its kernel.
func TestUKIBootsOnUEFI(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a virtual machine")
	}
	run := tooltest.Need(t, "qemu-system-x86_64")
	hostStub, err := os.ReadFile("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
	if err != nil {
		tooltest.Missing(t, "systemd-boot-efi is not installed")
	}
	vars, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	if err != nil {
		tooltest.Missing(t, "ovmf is not installed")
	}
	dir := t.TempDir()
	esp, varsFile, serial := filepath.Join(dir, "esp"), filepath.Join(dir, "vars"), filepath.Join(dir, "serial")
	if err := os.MkdirAll(filepath.Join(esp, "EFI/BOOT"), 0o755); err != nil {
		t.Fatal(err)
	}
	k := kernel(AMD64)
	k.sections[0].data = speak + "vic: the kernel has started\r\n\x00"
	u := sampleUKI()
	u.Stub, u.Kernel = bytes.NewReader(hostStub), k.source()
	for file, b := range map[string][]byte{varsFile: vars, filepath.Join(esp, "EFI/BOOT/BOOTX64.EFI"): mustWrite(t, u)} {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := tool.Cmd{Name: "qemu-system-x86_64", Args: []string{
		"-machine", "q35,accel=tcg", "-m", "256", "-display", "none", "-monitor", "none", "-net", "none", "-no-reboot",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
		"-drive", "if=pflash,unit=1,format=raw,file=" + varsFile,
		"-drive", "format=raw,file=fat:rw:" + esp, "-serial", "file:" + serial, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
	}}
	_, err = run.Run(ctx, cmd)
	log, readErr := os.ReadFile(serial)
	var exit *tool.Error
	if !errors.As(err, &exit) || exit.Exit != debugExit || readErr != nil || !strings.Contains(string(log), "vic: the kernel has started") {
		t.Errorf("%v, %v; serial line:\n%s", err, readErr, log)
	}
}
