// Command script is the init of machines that run a shell script and are asked
// for nothing else. It loads the modules that /modules names, one a line with its
// parameters, runs /bin/sh /script, writes its output to the disk with the serial
// number vic-output, and powers off. The console is no way for documents: an
// emulated serial port repeats a letter now and then.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/kmod"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("script:", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("power off:", err)
	}
	select {}
}

func run() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := errors.Join(os.MkdirAll(m[1], 0o755), unix.Mount(m[0], m[1], m[0], 0, "")); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	if err := os.Chmod("/tmp", 0o1777); err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", "/script")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}
	out, err := cmd.CombinedOutput()
	return errors.Join(err, keep(out))
}

// keep writes the output, with a zero byte behind it.
func keep(out []byte) error {
	found, err := filepath.Glob("/sys/block/vd*/serial")
	if err != nil {
		return err
	}
	for _, path := range found {
		if serial, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(serial)) != "vic-output" {
			continue
		}
		disk, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(path)), os.O_WRONLY|os.O_SYNC, 0)
		if err != nil {
			return err
		}
		_, err = disk.Write(append(out, 0))
		return errors.Join(err, disk.Close())
	}
	return errors.New("there is no disk for the output")
}

func loadModules() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	tree, err := kmod.Open("/usr/lib/modules/" + unix.ByteSliceToString(name.Release[:]))
	if err != nil {
		return err
	}
	list, err := os.ReadFile("/modules")
	if err != nil {
		return err
	}
	loader := kmod.Loader{Insert: kmod.Finit, Params: map[string]string{}, Parallel: 1}
	var names []string
	for line := range strings.Lines(string(list)) {
		module, params, _ := strings.Cut(strings.TrimSpace(line), " ")
		loader.Params[module] = params
		names = append(names, module)
	}
	_, err = loader.Load(context.Background(), tree, names...)
	return err
}
