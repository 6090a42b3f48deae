// Package pid1 is what programs of tests have in common that are the init of a
// machine: its file systems, its modules, and its end.
package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/kmod"
)

// Mount mounts what every program expects.
func Mount() error {
	for dir, fs := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs", "/tmp": "tmpfs"} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount(fs, dir, fs, 0, "")); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	return nil
}

// Load loads modules of the one kernel that has modules in the initramfs.
func Load(ctx context.Context, names ...string) error {
	dirs, err := filepath.Glob("/usr/lib/modules/*")
	if err != nil || len(dirs) != 1 {
		return fmt.Errorf("find modules: %v, %w", dirs, err)
	}
	tree, err := kmod.Open(dirs[0])
	if err != nil {
		return err
	}
	loader := &kmod.Loader{Insert: kmod.Finit}
	_, err = loader.Load(ctx, tree, names...)
	return err
}

// PowerOff ends the machine, and never returns.
func PowerOff() {
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("power off:", err)
	}
	select {}
}
