package flash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/sysfs"
)

// vital are the places that a running system needs, with all that is mounted
// below /boot.
var vital = []string{"/", "/usr", "/boot", "/efi", "/etc", "/var", "/home", "/root", "/srv", "/opt", "/nix", "/nix/store", "/gnu/store", "/sysroot", "/run/live/medium", "/run/initramfs/live", "/cdrom"}

// mounts are where the running system is.
type mounts struct {
	root sysfs.Root
	why  map[string]string // mount point -> what for
}

// systemMounts finds the mount points that the running system needs: the usual
// ones, what their overlays are made of, and what holds the images that loop
// devices show.
func systemMounts(root sysfs.Root) (mounts, error) {
	m := mounts{root, map[string]string{}}
	list, err := root.Mounts()
	if err != nil {
		return m, err
	}
	for _, mount := range list {
		if slices.Contains(vital, mount.Target) || strings.HasPrefix(mount.Target, "/boot/") {
			m.why[mount.Target] = ""
		}
	}
	layers, err := overlayLayers(root)
	if err != nil {
		return m, err
	}
	for _, dir := range layers {
		m.add(list, dir, "below the overlay of this system")
	}
	loops, err := root.Names("sys/block")
	if err != nil {
		return m, fmt.Errorf("list block devices: %w", err)
	}
	for _, name := range loops {
		file, err := root.Text("sys/block", name, "loop/backing_file")
		switch {
		case errors.Is(err, os.ErrNotExist), !mounted(root, list, name): // no loop device, or not in use
		case err != nil:
			return m, fmt.Errorf("read what %s shows: %w", name, err)
		default:
			m.add(list, file, "it holds what "+name+" shows")
		}
	}
	return m, nil
}

func mounted(root sysfs.Root, list []sysfs.Mount, name string) bool {
	dev, err := root.Text("sys/block", name, "dev")
	return err == nil && slices.ContainsFunc(list, func(m sysfs.Mount) bool { return m.Dev == dev })
}

// add marks the mount that a path is on.
func (m mounts) add(list []sysfs.Mount, path, why string) {
	best := ""
	for _, mount := range list {
		if below(path, mount.Target) && len(mount.Target) >= len(best) {
			best = mount.Target
		}
	}
	if _, known := m.why[best]; best != "" && !known {
		m.why[best] = why
	}
}

func below(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(dir, "/"))
}

// overlayLayers are the directories that the overlays of the system are made of,
// from the options in mountinfo: lowerdir=A:B,upperdir=C.
func overlayLayers(root sysfs.Root) ([]string, error) {
	b, err := root.ReadFile("proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	var dirs []string
	for line := range strings.Lines(string(b)) {
		left, right, _ := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 5 || len(r) < 3 || r[0] != "overlay" || !slices.Contains(vital, l[4]) {
			continue
		}
		for option := range strings.SplitSeq(r[2], ",") {
			key, value, _ := strings.Cut(option, "=")
			if strings.HasPrefix(key, "lowerdir") || key == "upperdir" {
				dirs = append(dirs, strings.Split(value, ":")...)
			}
		}
	}
	return slices.DeleteFunc(dirs, func(d string) bool { return !filepath.IsAbs(d) }), nil
}

// of says what of the system is on a disk, by its users.
func (m mounts) of(users []sysfs.User) []string {
	var list []string
	rootDev := m.rootDevice()
	for _, u := range users {
		for _, at := range u.Mounts {
			why, ok := m.why[at]
			if !ok {
				continue
			}
			text := sysfs.Node(u.Name) + " mounted on " + at
			if why != "" {
				text += ", " + why
			}
			list = append(list, text)
		}
		if u.Swap {
			list = append(list, sysfs.Node(u.Name)+" is swap")
		}
		if dev, err := m.root.Text("sys/class/block", u.Name, "dev"); err == nil && dev == rootDev && len(list) == 0 {
			list = append(list, sysfs.Node(u.Name)+" holds /")
		}
	}
	return list
}

// rootDevice is the device of the root directory as the kernel numbers it, for
// systems whose mount table does not show it; empty when it is none.
func (m mounts) rootDevice() string {
	var st unix.Stat_t
	if m.root != "/" || unix.Stat("/", &st) != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
}
