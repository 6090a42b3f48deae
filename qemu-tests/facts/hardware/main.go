// Command hardware is the init of a machine with a disk of each kind. It loads
// the modules in /modules, waits for as many disks as hardware.disks says on the
// kernel's command line, lets the one with the serial number "asleep" be
// suspended, and runs the commands in /commands, lines of
//
//	NAME<TAB>PROGRAM ARGUMENT...
//
// whose output goes to the port "facts", after a line "@ NAME"; what they cost
// follows, as milliseconds and bytes of memory, after "@ cost of NAME". SATA in an
// argument is the node of the disk with the serial number "sata". Then it powers
// off.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/victorinix/vic/qemu-tests/lab/pid1"
	"github.com/victorinix/vic/qemu-tests/lab/port"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("BROKEN", err)
	}
	pid1.PowerOff()
}

func run() error {
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return err
	}
	if err := pid1.Mount(); err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	sata, asleep, err := disks()
	if err != nil {
		return err
	}
	if err := suspend(asleep); err != nil {
		return err
	}
	out, err := port.Open("facts")
	if err != nil {
		return err
	}
	defer out.Close()
	commands, err := os.ReadFile("/commands")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(commands)) {
		name, command, _ := strings.Cut(strings.TrimSpace(line), "\t")
		argv := strings.Fields(strings.ReplaceAll(command, "SATA", "/dev/"+sata))
		fmt.Fprintf(out, "@ %s\n", name)
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdout, cmd.Stderr = out, out
		// smartctl tells by its exit status that a disk is failing.
		start := time.Now()
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			return fmt.Errorf("run %s: %w", command, err)
		}
		took := time.Since(start)
		fmt.Fprintf(out, "@ cost of %s\n%d %d\n", name, took.Milliseconds(), memory(cmd.ProcessState))
		fmt.Fprintf(out, "@ power after %s\n%s\n", name, status(asleep))
	}
	return nil
}

// memory is what a program had in memory at most, in bytes.
func memory(p *os.ProcessState) int64 {
	usage, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return usage.Maxrss << 10
}

func loadModules() error {
	list, err := os.ReadFile("/modules")
	if err != nil {
		return err
	}
	return pid1.Load(context.Background(), strings.Fields(string(list))...)
}

// disks waits for all, and finds two of them by their serial number.
func disks() (sata, asleep string, err error) {
	want := 0
	cmdline, err := os.ReadFile("/proc/cmdline")
	for _, word := range strings.Fields(string(cmdline)) {
		if v, ok := strings.CutPrefix(word, "hardware.disks="); ok {
			want, err = strconv.Atoi(v)
		}
	}
	if err != nil {
		return "", "", err
	}
	found := 0
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && found < want; time.Sleep(200 * time.Millisecond) {
		found = 0
		for _, pattern := range []string{"sd*", "vd*", "nvme*"} {
			paths, err := filepath.Glob("/sys/block/" + pattern)
			if err != nil {
				return "", "", err
			}
			found += len(paths)
			for _, path := range paths {
				page, err := os.ReadFile(path + "/device/vpd_pg80")
				switch {
				case err != nil: // not SCSI
				case strings.Contains(string(page), "sata"):
					sata = filepath.Base(path)
				case strings.Contains(string(page), "asleep"):
					asleep = filepath.Base(path)
				}
			}
		}
	}
	if found < want || sata == "" || asleep == "" {
		return "", "", fmt.Errorf("%d of %d disks, %q, %q", found, want, sata, asleep)
	}
	return sata, asleep, nil
}

// suspend lets the kernel switch a disk off that nobody uses, and waits until it
// has.
func suspend(disk string) error {
	dir := "/sys/block/" + disk + "/device/power/"
	if err := errors.Join(os.WriteFile(dir+"autosuspend_delay_ms", []byte("100"), 0), os.WriteFile(dir+"control", []byte("auto"), 0)); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if status(disk) == "suspended" {
			return nil
		}
	}
	return fmt.Errorf("%s is %s", disk, status(disk))
}

func status(disk string) string {
	b, err := os.ReadFile("/sys/block/" + disk + "/device/power/runtime_status")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}
