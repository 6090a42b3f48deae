package qemutests

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk/image"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// Every form of the installer boots to the agent, finds nothing to do, and says
// what a person can do.
func TestForms(t *testing.T) {
	needLab(t)
	for _, tt := range []struct {
		name, firmware string
		config         func(*testing.T) vm.Config
	}{
		{"usb", "bios", usb},
		{"usb", "uefi", usb},
		{"uki", "uefi", uki},
		{"netboot", "bios", netboot},
	} {
		t.Run(tt.name+" "+tt.firmware, func(t *testing.T) {
			c := tt.config(t)
			c.Firmware, c.Events, c.NoReboot, c.Dir = tt.firmware, true, true, filepath.Join(t.TempDir(), "run")
			idle(t, vm.Start(t, c), strings.ToUpper(tt.firmware))
		})
	}
}

// idle waits until the agent is ready, types at the console, and powers off.
func idle(t *testing.T, m *vm.Machine, firmware string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	ready := func(e event.Event) bool {
		return e.Phase == event.Enter && e.Step == "" && e.State == event.Done
	}
	if _, err := m.WaitEvent(ctx, ready); err != nil {
		t.Fatal(err)
	}
	shows(ctx, t, m, "Nothing to do")
	shows(ctx, t, m, firmware)
	typeAtShell(ctx, t, m, "poweroff")
}

// typeAtShell is a person at a terminal, who types a line that ends the machine
// once the shell is there. The shell asks the terminal where its cursor is,
// among other things, and takes what comes for the answer.
func typeAtShell(ctx context.Context, t *testing.T, m *vm.Machine, line string) {
	t.Helper()
	const where, here = "\x1b[6n", "\x1b[1;1R"
	const patience = 25 // ticks without a question: the shell reads lines
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for answered, quiet := 0, 0; ; quiet++ {
		var err error
		if asked := strings.Count(m.Console(), where); asked > answered {
			answered, quiet = answered+1, 0
			err = m.SendConsole(here)
		} else if quiet%patience == patience-1 {
			err = m.SendConsole(line + "\r")
		}
		select {
		case <-m.Done():
			if err := m.Wait(ctx); err != nil {
				t.Error(err)
			}
			return
		case <-ctx.Done():
			t.Fatalf("%s: %v", line, ctx.Err())
		case <-tick.C:
			if err != nil {
				t.Log(err) // it has just gone
			}
		}
	}
}

// shows waits until the console shows text.
func shows(ctx context.Context, t *testing.T, m *vm.Machine, text string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(m.Console(), text) {
		select {
		case <-m.Done():
			t.Fatalf("machine ended before its console showed %q: %v", text, m.Wait(ctx))
		case <-ctx.Done():
			t.Fatalf("console does not show %q", text)
		case <-tick.C:
		}
	}
}

func usb(t *testing.T) vm.Config {
	stick := filepath.Join(built(t, "installer", "usb"), builder.USBFile)
	return vm.Config{Disks: []vm.Disk{{Path: stick, Bus: "usb", Snapshot: true, BootIndex: 1}}}
}

// uki puts the EFI executable where firmware looks for one, on an ESP.
func uki(t *testing.T) vm.Config {
	in, err := os.Open(filepath.Join(built(t, "installer", "uki"), builder.UKIFile))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	esp, err := os.Create(filepath.Join(t.TempDir(), "esp.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer esp.Close()
	st, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	source := io.NewSectionReader(in, 0, st.Size())
	if _, err := image.WriteUSB(esp, image.USB{Label: "UKI", Files: []image.File{{Path: "EFI/BOOT/BOOTX64.EFI", Source: source}}}); err != nil {
		t.Fatal(err)
	}
	return vm.Config{Disks: []vm.Disk{{Path: esp.Name(), Snapshot: true}}}
}

// netboot has the card's own iPXE fetch the script, and what it names, by TFTP.
func netboot(t *testing.T) vm.Config {
	dir := built(t, "installer", "netboot")
	return vm.Config{Extra: []string{
		"-netdev", "user,id=boot,tftp=" + dir + ",bootfile=" + builder.ScriptFile,
		"-device", "virtio-net-pci,netdev=boot,bootindex=1",
	}}
}
