package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/victorinix/vic/internal/tool"
)

// probeLimit is how long the probe's guest may take. It is done within 0.3 s
// where KVM works; where it hangs, each process waits this long once.
const probeLimit = 3 * time.Second

// probed is ProbeAccel's answer for this process.
var probed struct {
	sync.Mutex
	accel string
}

// ProbeAccel returns "kvm" if a guest really runs under KVM on this host, and
// otherwise "tcg". That /dev/kvm exists says little: in some containers and
// nested machines guests start and hang. VIC_ACCEL overrides the probe. The
// answer is kept for the life of the process, unless ctx ended the probe.
func ProbeAccel(ctx context.Context) string {
	if a := os.Getenv("VIC_ACCEL"); a == "kvm" || a == "tcg" {
		return a
	}
	probed.Lock()
	defer probed.Unlock()
	if probed.accel != "" {
		return probed.accel
	}
	accel := "tcg"
	if canKVM(ctx, "/dev/kvm") && runProbe(ctx, host{}, runtime.GOARCH, "kvm") == nil {
		accel = "kvm"
	}
	if ctx.Err() == nil {
		probed.accel = accel
	}
	return accel
}

// accelFor is the accelerator for guests of an architecture.
func accelFor(ctx context.Context, arch string) string {
	if arch != runtime.GOARCH {
		return "tcg"
	}
	return ProbeAccel(ctx)
}

func canKVM(ctx context.Context, device string) bool {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil && ctx.Err() == nil
}

// probeExit is QEMU's exit status when the amd64 probe wrote probeValue to the
// isa-debug-exit device: value*2 + 1. QEMU itself exits with 0 or 1.
const (
	probeValue = 0x21
	probeExit  = probeValue*2 + 1
)

// probeGuest is the smallest program that shows that a processor runs.
var probeGuest = map[string][]byte{
	"amd64": {
		0xb0, probeValue, // mov al, probeValue
		// Where KVM has no processor to run on it emulates instructions, and
		// knows enough of them for SeaBIOS but not for UEFI or Linux; the
		// wait in this one is among those that it lacks.
		0x9b, 0xdb, 0xe3, // finit
		0xe6, 0xf4, // out 0xf4, al
		0xf4, 0xeb, 0xfd, // hlt; jmp to hlt
	},
	"arm64": {
		0x00, 0x01, 0x80, 0x52, // movz w0, #8
		0x00, 0x80, 0xb0, 0x72, // movk w0, #0x8400, lsl #16: PSCI SYSTEM_OFF
		0x02, 0x00, 0x00, 0xd4, // hvc #0
		0x00, 0x00, 0x00, 0x14, // b .
	},
}

// bootSector pads code to a BIOS boot sector, on a disk of 1 MiB because
// SeaBIOS boots no disk of less than a cylinder (16 heads, 63 sectors).
func bootSector(code []byte) []byte {
	disk := make([]byte, 1<<20)
	copy(disk[:510], code)
	disk[510], disk[511] = 0x55, 0xaa
	return disk
}

// runProbe runs the tiny guest; nil means that it ran to its end.
func runProbe(ctx context.Context, h host, arch, accel string) error {
	guest := probeGuest[arch]
	if guest == nil {
		return fmt.Errorf("probe %s: no guest for %s", accel, arch)
	}
	if arch == "amd64" {
		guest = bootSector(guest)
	}
	qemu, err := h.emulator(arch)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "vic-probe-")
	if err != nil {
		return fmt.Errorf("probe %s: %w", accel, err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "guest")
	if err := os.WriteFile(file, guest, 0o600); err != nil {
		return fmt.Errorf("probe %s: %w", accel, err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	_, err = h.exec.Run(ctx, tool.Cmd{Name: qemu, Args: probeArgs(arch, accel, file)})
	var exit *exec.ExitError
	if arch == "amd64" && errors.As(err, &exit) && exit.ExitCode() == probeExit {
		return nil
	}
	if arch == "amd64" && err == nil {
		return fmt.Errorf("probe %s: the guest did not run", accel)
	}
	return err
}

func probeArgs(arch, accel, file string) []string {
	a := []string{"-nodefaults", "-no-user-config", "-display", "none", "-m", "32", "-accel", accel}
	if arch == "arm64" {
		cpu := "max"
		if accel == "kvm" {
			cpu = "host"
		}
		return append(a, "-machine", "virt", "-cpu", cpu, "-kernel", file)
	}
	return append(a, "-machine", "q35", "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
		"-drive", opts("if=none,id=disk,format=raw,readonly=on", "file", file),
		"-device", "virtio-blk-pci,drive=disk")
}

// easyToEmulate are SMBIOS strings for Config.EasyToEmulate: a credential, which
// systemd-sysctl reads, and what systemd-boot adds to the kernel's command line
// (since 256), which reaches the initramfs too; smbios-type-11(7).
var easyToEmulate = []string{
	"io.systemd.credential:sysctl.extra=kernel.randomize_va_space=0",
	"io.systemd.boot.kernel-cmdline-extra=norandmaps " + noWorkArounds,
}

// noWorkArounds is for the kernel's command line.
const noWorkArounds = "mitigations=off"
