package qemutests

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk/image"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// Every form of the installer boots to the agent, finds nothing to do, and says
// what a person can do.
func TestForms(t *testing.T) {
	lab.Need(t)
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
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	agentReady(ctx, t, m)
	lab.Shows(ctx, t, m, "Nothing to do")
	lab.Shows(ctx, t, m, firmware)
	typeAtShell(ctx, t, m, "poweroff")
}

// agentReady waits until the RAM system is up. What is typed before goes to
// the firmware or to the boot loader.
func agentReady(ctx context.Context, t *testing.T, m *vm.Machine) {
	t.Helper()
	ready := func(e event.Event) bool {
		return e.Phase == event.Enter && e.Step == "" && e.State == event.Done
	}
	if _, err := m.WaitEvent(ctx, ready); err != nil {
		t.Fatal(err)
	}
}

// typeAtShell types a line that ends the machine.
func typeAtShell(ctx context.Context, t *testing.T, m *vm.Machine, line string) {
	t.Helper()
	typeUntil(ctx, t, m, line, func(string) bool { return false })
	if err := m.Wait(ctx); err != nil {
		t.Error(err)
	}
}

// typeUntil is a person at a terminal, who types a line that ends the shell.
// Whether a shell listens is seen from its answer to an echo, so that nothing
// depends on how long anything takes. An answer to one that was typed after the
// line means that the line has not ended the shell: it is typed again, twice.
func typeUntil(ctx context.Context, t *testing.T, m *vm.Machine, line string, over func(console string) bool) {
	t.Helper()
	const (
		// The terminal shows what is typed, too. Nothing is quoted: the serial line
		// now and then doubles a letter, and no line ends an open quote.
		ask, answer = "echo at-your$x-service-%d.\r", "at-your-service-%d."
		where, here = "\x1b[6n", "\x1b[1;1R" // line editors ask for the cursor, and wait
		patience    = 50                     // ticks, before asking again
	)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	told, asked, heard, typed := 0, 0, 0, 0 // asked up to heard are from before the line was typed
	for quiet := patience; ; quiet++ {
		text, console := "", m.Console()
		switch {
		case over(console):
			return
		case strings.Count(console, where) > told:
			told++
			text = here
		case answered(console, answer, heard+1, asked):
			if typed++; typed > 3 {
				t.Fatalf("%s: the shell goes on", line)
			}
			heard, quiet, text = asked, 0, line+"\r"
		case quiet >= patience:
			asked++
			quiet, text = 0, fmt.Sprintf(ask, asked)
		}
		if text != "" {
			if err := m.SendConsole(text); err != nil {
				t.Log(err) // it has just gone
			}
		}
		select {
		case <-m.Done():
			return
		case <-ctx.Done():
			t.Fatalf("%s: typed %d times, %d answers: %v", line, typed, heard, ctx.Err())
		case <-tick.C:
		}
	}
}

// answered tells whether the console shows any of the answers numbered from
// first to last.
func answered(console, answer string, first, last int) bool {
	for i := first; i <= last; i++ {
		if strings.Contains(console, fmt.Sprintf(answer, i)) {
			return true
		}
	}
	return false
}

func usb(t *testing.T) vm.Config {
	stick := filepath.Join(lab.Built(t, "installer", "usb"), builder.USBFile)
	return vm.Config{Disks: []vm.Disk{{Path: stick, Bus: "usb", Snapshot: true, BootIndex: 1}}}
}

// uki puts the EFI executable where firmware looks for one, on an ESP.
func uki(t *testing.T) vm.Config {
	in, err := os.Open(filepath.Join(lab.Built(t, "installer", "uki"), builder.UKIFile))
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
	dir := lab.Built(t, "installer", "netboot")
	return vm.Config{Extra: []string{
		"-netdev", "user,id=boot,tftp=" + dir + ",bootfile=" + builder.ScriptFile,
		"-device", "virtio-net-pci,netdev=boot,bootindex=1",
	}}
}
