package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// bootLimit is for one boot on a machine that is busy with others.
const bootLimit = 2 * time.Minute

// BootTimes are seconds by the guest's own clock, which runs since its kernel
// has started.
type BootTimes struct {
	Agent []float64 // until the agent is ready and has a lease
	Hello []float64 // until the least init prints its line
}

// Boot boots the RAM system and the least init in turns. The machines are the
// same: 256 MiB, one processor, a network card, a port for events.
func Boot(ctx context.Context, b *builder.Bundle, hello, dir string, rounds int) (t BootTimes, err error) {
	full, bare := filepath.Join(dir, "initrd"), filepath.Join(dir, "hello.cpio")
	if err := writeFile(full, b.Initrd); err != nil {
		return t, err
	}
	if err := writeFile(bare, func(f io.Writer) error { return initSegment(f, hello) }); err != nil {
		return t, err
	}
	for i := range rounds {
		agent, err := boot(ctx, b, full, fmt.Sprintf("%s/agent-%d", dir, i), agentReady)
		if err != nil {
			return t, err
		}
		least, err := boot(ctx, b, bare, fmt.Sprintf("%s/hello-%d", dir, i), helloPrinted)
		if err != nil {
			return t, err
		}
		t.Agent, t.Hello = append(t.Agent, agent), append(t.Hello, least)
	}
	return t, nil
}

// initSegment is an archive in which program is /init.
func initSegment(w io.Writer, program string) error {
	elf, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	return initramfs.WriteSegment(w, []initramfs.File{
		initramfs.CharDevice("dev/console", 0o600, 5, 1), initramfs.Regular("init", 0o755, elf),
	}, builder.DefaultTime)
}

func boot(ctx context.Context, b *builder.Bundle, initrd, dir string, wait func(context.Context, *vm.Machine) (float64, error)) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	m, err := vm.Run(ctx, vm.Config{
		Name: filepath.Base(dir), Dir: dir, Kernel: b.Path(builder.KernelFile), Initrd: []string{initrd},
		Cmdline: b.Cmdline + " console=ttyS0 quiet vic.net=wait vic.onerror=poweroff",
		NICs:    []vm.NIC{{Restrict: true}}, Events: true, NoReboot: true,
	})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	return wait(ctx, m)
}

var ready = regexp.MustCompile(`^agent ready ([0-9.]+) ?s `)

// agentReady waits for the event and returns the time in it.
func agentReady(ctx context.Context, m *vm.Machine) (float64, error) {
	e, err := m.WaitEvent(ctx, func(e event.Event) bool {
		return e.Phase == event.Enter && e.Step == "" && e.State == event.Done
	})
	if err != nil {
		return 0, err
	}
	found := ready.FindStringSubmatch(e.Message)
	if found == nil {
		return 0, fmt.Errorf("agent says %q, which has no time in it", e.Message)
	}
	return strconv.ParseFloat(found[1], 64)
}

// helloPrinted waits for the machine to end and reads what it has printed.
func helloPrinted(ctx context.Context, m *vm.Machine) (float64, error) {
	if err := m.Wait(ctx); err != nil {
		return 0, err
	}
	_, after, found := strings.Cut(m.Console(), "hello after ")
	ns, _, ended := strings.Cut(after, " ns")
	if !found || !ended {
		return 0, fmt.Errorf("the least init printed nothing:\n%s", m.ConsoleTail(20))
	}
	v, err := strconv.ParseInt(ns, 10, 64)
	return float64(v) / 1e9, err
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := write(f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}
