package ramsys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// systemModules are what mountSystem needs.
var systemModules = []string{"erofs", "overlay"}

// mountSystem mounts the image, and lays its /usr and /etc over those of the
// initramfs, which stays the root:
//
//	/usr = tmpfs over system/usr over initramfs/usr   (tools and modules of the system first)
//	/etc = tmpfs over initramfs/etc over system/etc   (what was put into the initramfs first)
func mountSystem(img image, need func(module string) error) error {
	if err := os.MkdirAll(systemDir, 0o755); err != nil {
		return err
	}
	for _, module := range systemModules {
		if err := need(module); err != nil {
			return err
		}
	}
	if err := mountErofs(img, systemDir, need); err != nil {
		return err
	}
	return errors.Join(
		overlay("usr", "/usr", systemDir+"/usr", "/usr"),
		overlay("etc", "/etc", "/etc", systemDir+"/etc"))
}

// mountErofs mounts the image straight from its file where the kernel can:
// since Linux 6.12, from a file system with read_folio, such as ramfs. Where
// it cannot (ENOTBLK), a loop device stands between.
func mountErofs(img image, target string, need func(module string) error) error {
	const flags = unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSUID
	err := unix.Mount(img.path, target, "erofs", flags, "")
	if !img.block && errors.Is(err, unix.ENOTBLK) {
		err = errors.Join(need("loop"), withLoop(img.path, func(device string) error {
			return unix.Mount(device, target, "erofs", flags, "")
		}))
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", img.path, err)
	}
	return nil
}

// withLoop attaches a file to a read-only loop device, which the kernel
// detaches when nobody uses it any more: when use has not mounted it, at once.
func withLoop(path string, use func(device string) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return fmt.Errorf("find a free loop device: %w", err)
	}
	device := fmt.Sprintf("/dev/loop%d", n)
	loop, err := os.Open(device)
	if err != nil {
		return err
	}
	defer loop.Close()
	config := unix.LoopConfig{Fd: uint32(file.Fd()), Size: 4096}
	config.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), &config); err != nil {
		return fmt.Errorf("attach %s to %s: %w", path, device, err)
	}
	return use(device)
}

// overlay mounts an overlay on target, with a tmpfs as its upper layer and the
// lower ones that exist.
func overlay(name, target string, lower ...string) error {
	upper, work := filepath.Join(overlayDir, name, "upper"), filepath.Join(overlayDir, name, "work")
	for _, dir := range []string{upper, work, target} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return overlayOn(target, upper, work, lower...)
}

// overlayOn mounts an overlay with an upper layer that there is.
func overlayOn(target, upper, work string, lower ...string) error {
	var layers []string
	for _, dir := range lower {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			layers = append(layers, dir)
		}
	}
	options := "lowerdir=" + strings.Join(layers, ":") + ",upperdir=" + upper + ",workdir=" + work
	return fileSystem{"overlay", target, "overlay", 0, options}.mount()
}
