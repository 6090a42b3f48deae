package image

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// efiProgram is an EFI application for x86-64 that sends text to COM1 and ends
// QEMU through isa-debug-exit with status 33.
func efiProgram(text string) []byte {
	const code = "\x48\x8d\x35\x21\x00\x00\x00" + // lea text(%rip), %rsi
		"\xac\x84\xc0\x74\x12" + // next: lodsb; test %al, %al; jz end
		"\x88\xc3\x66\xba\xfd\x03" + // mov %al, %bl; mov $0x3fd, %dx
		"\xec\xa8\x20\x74\xfb" + // wait: in %dx, %al; test $0x20, %al; jz wait
		"\x88\xd8\xb2\xf8\xee\xeb\xe9" + // mov %bl, %al; mov $0xf8, %dl; out %al, %dx; jmp next
		"\x66\xba\xf4\x00\xb0\x10\xee\xf4\xeb\xfd" // end: mov $0xf4, %dx; mov $0x10, %al; out %al, %dx; hlt
	le := binary.LittleEndian
	b := make([]byte, 1024)
	copy(b, "MZ")
	b[0x3c] = 0x40
	copy(b[0x40:], "PE\x00\x00\x64\x86\x01") // amd64, one section
	coff, opt := b[0x44:], b[0x58:]
	le.PutUint16(coff[16:], 240)
	le.PutUint16(coff[18:], 2) // executable
	le.PutUint16(opt, 0x20b)
	for _, f := range [][2]uint32{{16, 4096}, {32, 4096}, {36, 512}, {56, 8192}, {60, 512}, {68, 10}, {108, 16}} {
		le.PutUint32(opt[f[0]:], f[1]) // entry, alignments, sizes, subsystem, directories
	}
	section := opt[240:]
	copy(section, ".text")
	for i, v := range []uint32{512, 4096, 512, 512} {
		le.PutUint32(section[8+4*i:], v)
	}
	le.PutUint32(section[36:], 0x60000020)
	copy(b[512:], code+text+"\x00")
	return b
}

// The firmware finds the ESP of the image and starts EFI/BOOT/BOOTX64.EFI.
func TestImageBootsOnUEFI(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a virtual machine")
	}
	run := tooltest.Need(t, "qemu-system-x86_64")
	vars, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	if err != nil {
		tooltest.Missing(t, "ovmf is not installed")
	}
	u := sampleUSB()
	u.BIOS = sampleBIOS()
	u.Files[0].Source = strings.NewReader(string(efiProgram("vic: started from the ESP\r\n")))
	u.BIOS.Config = nil
	file, _ := writeImage(t, u)
	varsFile, serial := filepath.Join(t.TempDir(), "vars"), filepath.Join(t.TempDir(), "serial")
	if err := os.WriteFile(varsFile, vars, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	_, err = run.Run(ctx, tool.Cmd{Name: "qemu-system-x86_64", Args: []string{
		"-machine", "q35,accel=tcg", "-m", "256", "-display", "none", "-monitor", "none", "-net", "none", "-no-reboot",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
		"-drive", "if=pflash,unit=1,format=raw,file=" + varsFile,
		"-device", "qemu-xhci", "-device", "usb-storage,drive=usb,bootindex=0",
		"-drive", "if=none,id=usb,format=raw,readonly=on,file=" + file,
		"-serial", "file:" + serial, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
	}})
	log, readErr := os.ReadFile(serial)
	var exit *tool.Error
	if !errors.As(err, &exit) || exit.Exit != 33 || readErr != nil || !strings.Contains(string(log), "vic: started from the ESP") {
		t.Errorf("%v, %v; serial line:\n%s", err, readErr, log)
	}
}
