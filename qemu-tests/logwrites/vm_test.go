package logwrites

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// writer is a boot sector that writes itself to the disk's second sector four
// times by INT 13h, prints w for each that succeeds and F for each that fails, and
// powers off.
var writer = []byte{
	0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, // xor ax, ax; mov ds, ax; mov es, ax
	0xbd, 4, 0, // mov bp, 4
	0xb8, 0x01, 0x03, 0xbb, 0x00, 0x7c, 0xb9, 2, 0, 0xba, 0x80, 0x00, // mov ax, 0x301; mov bx, 0x7c00; mov cx, 2; mov dx, 0x80
	0xcd, 0x13, 0xb0, 'w', 0x73, 2, 0xb0, 'F', // int 0x13; mov al, 'w'; jnc +2; mov al, 'F'
	0xba, 0xf8, 0x03, 0xee, 0x4d, 0x75, 0xe5, // mov dx, 0x3f8; out dx, al; dec bp; jnz
	0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xfa, 0xf4, 0xeb, 0xfd, // ACPI S5: out 0x604, 0x2000; hang
}

// written is what writer printed after SeaBIOS's last line began. SeaBIOS sends
// the end of that line at a timer's interrupt, so also while INT 13h runs: its
// dots and line ends lie among the letters of writer.
func written(console string) string {
	const last = "Booting from Hard Disk"
	_, after, _ := strings.Cut(console, last)
	return strings.Map(func(r rune) rune {
		if r == 'w' || r == 'F' {
			return r
		}
		return -1
	}, after)
}

// A virtual machine's writes are in its log, up to those that fail.
func TestMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("starts virtual machines")
	}
	tooltest.Need(t, "qemu-system-x86_64")
	for bus, want := range map[string]string{"virtio": "wwFF", "scsi": "wwFF", "sata": "wwww"} {
		t.Run(bus, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			disk := make([]byte, 1<<20)
			copy(disk, writer)
			disk[510], disk[511] = 0x55, 0xaa
			d := vm.Disk{Path: filepath.Join(t.TempDir(), "disk"), Bus: bus, LogWrites: filepath.Join(t.TempDir(), "log")}
			if err := os.WriteFile(d.Path, disk, 0o600); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(want, "F") {
				d.FailWrites = 2
			}
			m := vm.Start(t, vm.Config{Disks: []vm.Disk{d}})
			if err := m.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			if got := written(m.Console()); got != want {
				t.Errorf("writes went %s, want %s; console %q", got, want, m.Console())
			}
			f, err := os.Open(d.LogWrites)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			l, err := Open(f)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(want, "w"); l.Writes() != got {
				t.Errorf("%d writes in the log: %+v", l.Writes(), l.Entries)
			}
			end := NewOverlay(bytes.NewReader(disk), int64(len(disk)), 512)
			if err := l.Cut(len(l.Entries), All()).Apply(end); err != nil {
				t.Fatal(err)
			}
			if wrote, err := os.ReadFile(d.Path); err != nil || !bytes.Equal(content(t, end), wrote) || !bytes.Equal(wrote[:512], wrote[512:1024]) {
				t.Errorf("the log does not rebuild the disk (%v)", err)
			}
		})
	}
}
