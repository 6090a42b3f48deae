package locate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/sysfs"
)

// Place is a path by the file system that it is in.
type Place struct {
	// Host is the path as it was on the host when it was registered.
	Host string `json:"host"`
	// Volume holds the file system; without a UUID the path alone counts.
	Volume Volume `json:"volume"`
	// Inside is the path from the top of the file system: of a btrfs with its
	// subvolumes.
	Inside string `json:"inside,omitempty"`
}

// OfPath says in which file system an absolute path of the host is, which need
// not exist. The host's files are in root.
func OfPath(root, path string) (Place, error) {
	p := Place{Host: path}
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return p, fmt.Errorf("find file system of %s: not an absolute path", path)
	}
	full := filepath.Join("/", root, path)
	dir, err := resolve(filepath.Dir(full))
	if err != nil {
		return p, fmt.Errorf("find file system of %s: %w", path, err)
	}
	full = filepath.Join(dir, filepath.Base(path))
	m, err := mountOf(full)
	if err != nil {
		return p, fmt.Errorf("find file system of %s: %w", path, err)
	}
	if !strings.HasPrefix(m.Source, "/dev/") {
		return p, nil
	}
	p.Volume, err = OfDevice(m.Source)
	if errors.Is(err, fs.ErrPermission) {
		return p, nil // as in a container: it has the file system, and not the device
	}
	if err != nil {
		return p, err
	}
	if p.Volume.UUID != "" {
		p.Inside = filepath.Join(m.Root, below(full, m.Target))
	}
	return p, nil
}

// resolve follows the links of the part of a path that exists.
func resolve(dir string) (string, error) {
	full, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) && dir != "/" {
		up, err := resolve(filepath.Dir(dir))
		return filepath.Join(up, filepath.Base(dir)), err
	}
	return full, err
}

func below(path, dir string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, strings.TrimSuffix(dir, "/")), "/")
}

// mountOf is the mount that a path is in.
func mountOf(path string) (sysfs.Mount, error) {
	id, err := mountID(path)
	if err != nil {
		return sysfs.Mount{}, err
	}
	mounts, err := sysfs.Root("/").Mounts()
	if err != nil {
		return sysfs.Mount{}, err
	}
	for _, m := range mounts {
		if m.ID == id {
			return m, nil
		}
	}
	return sysfs.Mount{}, fmt.Errorf("mount %s is not in the mount table", id)
}

// mountID is that of the nearest directory above a path that exists, or its own
// if it is one.
func mountID(path string) (string, error) {
	for at := path; ; at = filepath.Dir(at) {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, at, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st)
		switch {
		case err == nil && st.Mask&unix.STATX_MNT_ID == 0:
			return "", errors.New("this kernel does not say")
		case err == nil:
			return strconv.FormatUint(st.Mnt_id, 10), nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) || at == "/":
			return "", err
		}
	}
}

// With calls f with where the place is now: where it was, wherever its file
// system is mounted, or in a directory of its own for the time being. When
// write is false, f only reads. A place without a UUID is below root.
func (p Place) With(root string, write bool, f func(path string) error) error {
	if p.Volume.UUID == "" {
		return f(filepath.Join("/", root, p.Host))
	}
	device, err := p.Volume.Find()
	if err != nil {
		return err
	}
	path, err := p.mounted(device, write)
	if err != nil {
		return err
	}
	if path != "" {
		return f(path)
	}
	return p.mountedFor(device, write, f)
}

// mounted looks for a mount of the file system that shows the path.
func (p Place) mounted(device string, write bool) (string, error) {
	mounts, err := sysfs.Root("/").Mounts()
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		if !p.shows(m, device) || write && hasOption(m.Options, "ro") {
			continue
		}
		path := filepath.Join(m.Target, below(p.Inside, m.Root))
		if id, err := mountID(path); err == nil && id == m.ID { // nothing is mounted over it
			return path, nil
		}
	}
	return "", nil
}

func (p Place) shows(m sysfs.Mount, device string) bool {
	if m.Root != "/" && m.Root != p.Inside && !strings.HasPrefix(p.Inside, m.Root+"/") {
		return false
	}
	if !strings.HasPrefix(m.Source, "/dev/") {
		return false
	}
	if sameDevice(m.Source, device) {
		return true
	}
	other, err := OfDevice(m.Source) // of a file system over several devices
	return err == nil && other.UUID == p.Volume.UUID && other.Type == p.Volume.Type
}

func sameDevice(a, b string) bool {
	var x, y unix.Stat_t
	return a == b || unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Rdev == y.Rdev && x.Mode&unix.S_IFMT == unix.S_IFBLK
}

func hasOption(options, want string) bool {
	for _, o := range strings.Split(options, ",") {
		if o == want {
			return true
		}
	}
	return false
}

func (p Place) mountedFor(device string, write bool, f func(path string) error) (err error) {
	dir, err := os.MkdirTemp("", "vic-undo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	var options []string
	if p.Volume.Type == "btrfs" {
		options = append(options, "subvolid=5")
	}
	if !write {
		options = append(options, "ro")
	}
	err = disk.Mount(device, dir, p.Volume.Type, options)
	if errors.Is(err, unix.EBUSY) && !write { // it is mounted where nobody can get at it, to be written to
		err = disk.Mount(device, dir, p.Volume.Type, options[:len(options)-1])
	}
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("write to %s: it is mounted read-only: %w", device, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Unmount(dir)) }()
	return f(filepath.Join(dir, p.Inside))
}
