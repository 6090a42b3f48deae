// Package within finds and makes paths inside of a tree whose symbolic links
// are not to be trusted, such as the system that is being installed: every path
// is resolved as that system itself would resolve it (RESOLVE_IN_ROOT of
// openat2(2)), so an absolute link stays inside.
package within

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Root is the directory that holds the tree, by its path outside.
type Root string

// Open opens a path inside the tree; flags are open(2)'s.
func (r Root) Open(name string, flags int) (*os.File, error) {
	return r.open(name, flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

func (r Root) open(name string, flags int, resolve uint64) (*os.File, error) {
	root, err := unix.Open(string(r), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: string(r), Err: err}
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve}
	for {
		fd, err := unix.Openat2(root, name, &how)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
		if err != unix.EINTR && err != unix.EAGAIN {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// OpenDir opens a directory.
func (r Root) OpenDir(name string) (*os.File, error) {
	return r.Open(name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// Mkdir makes a directory and its parents, owned by root, with mode 0755, and
// opens it. What exists stays as it is.
func (r Root) Mkdir(dir string) (*os.File, error) {
	dir = path.Clean("/" + dir)
	f, err := r.OpenDir(dir)
	if err == nil || !errors.Is(err, os.ErrNotExist) || dir == "/" {
		return f, err
	}
	parent, err := r.Mkdir(path.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	if err := Mkdirat(parent, path.Base(dir), 0o755, 0, 0); err != nil {
		return nil, err
	}
	return r.OpenDir(dir)
}

// Mkdirat makes one directory with exactly this mode and owner; one that
// exists keeps its own.
func Mkdirat(parent *os.File, name string, mode uint32, uid, gid int) error {
	fd := int(parent.Fd())
	err := unix.Mkdirat(fd, name, 0o700)
	if err == unix.EEXIST {
		return nil
	}
	if err == nil {
		err = unix.Fchownat(fd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.Fchmodat(fd, name, mode, 0) // NOFOLLOW takes Linux 6.6
	}
	if err != nil {
		return &os.PathError{Op: "make directory", Path: path.Join(parent.Name(), name), Err: err}
	}
	return nil
}

// MountPoint makes a directory if need be and returns its path outside the
// tree. mount(2) would follow a link out of the tree, so there may be none.
func (r Root) MountPoint(dir string) (string, error) {
	f, err := r.Mkdir(dir)
	if err != nil {
		return "", fmt.Errorf("make mount point: %w", err)
	}
	f.Close()
	return r.Plain(dir)
}

// Plain is the path outside the tree of something that exists and is reached
// without a link.
func (r Root) Plain(name string) (string, error) {
	f, err := r.open(path.Clean("/"+name), unix.O_PATH, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return "", fmt.Errorf("find in %s: %w", r, err)
	}
	return filepath.Join(string(r), path.Clean("/"+name)), f.Close()
}
