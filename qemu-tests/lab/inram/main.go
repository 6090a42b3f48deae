// Command inram runs the compiled tests of packages in the RAM system, one after
// the other, and switches the machine off. It is told what to run by a file:
//
//	inram /tests/runs.json
//
// Each run's output goes to the virtio-serial port runs.Port, between two lines,
// see runs.Run. The console would not do: emulated, it now and then doubles a
// letter.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/qemu-tests/lab/inram/runs"
	"github.com/victorinix/vic/qemu-tests/lab/port"
	"github.com/victorinix/vic/qemu-tests/lab/watch"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Println("inram:", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("power off:", err)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) != 2 {
		return errors.New("it takes one argument: the file that says what to run")
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var list runs.List
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("read %s: %w", os.Args[1], err)
	}
	out, err := port.Open(runs.Port)
	if err != nil {
		return err
	}
	defer out.Close()
	// Disks are images with holes, which a ramfs would fill when they are read.
	if err := disk.Mount("tmpfs", "/tmp", "tmpfs", []string{"size=90%"}); err != nil {
		return err
	}
	for _, module := range list.Modules {
		if out, err := exec.CommandContext(ctx, "modprobe", module).CombinedOutput(); err != nil {
			return fmt.Errorf("load %s: %w: %s", module, err, out)
		}
	}
	for _, r := range list.Runs {
		if _, err := fmt.Fprintf(out, "\n%s\n", r.Begin()); err != nil {
			return err
		}
		failed := test(ctx, r, list.Secrets, out)
		if _, err := fmt.Fprintf(out, "\n%s\n", r.End(failed)); err != nil {
			return err
		}
	}
	return nil
}

// test runs one package's tests, as go test would in CI. It fails too when a secret
// is seen where every program can read it.
func test(ctx context.Context, r runs.Run, secrets []string, out *os.File) error {
	var watched []func() []string
	for _, word := range secrets {
		watched = append(watched, watch.Processes(word, time.Second))
	}
	c := exec.CommandContext(ctx, r.Program(), r.Args...)
	c.Dir = r.Folder()
	c.Env = append(os.Environ(), "CI=true", "TMPDIR=/tmp")
	c.Stdout, c.Stderr = out, out
	err := c.Run()
	for _, stop := range watched {
		if seen := stop(); len(seen) > 0 {
			return fmt.Errorf("a secret is in the arguments or the environment of %q (the tests: %v)", seen, err)
		}
	}
	return err
}
