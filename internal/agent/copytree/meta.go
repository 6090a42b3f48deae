package copytree

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The order matters: chown(2) clears setuid, setgid and the capabilities, so
// it comes first; chmod(2) rewrites the mask of an ACL, so attributes come
// after it; times come last.

const permissions = 0o7777

func times(st unix.Stat_t) []unix.Timespec { return []unix.Timespec{st.Atim, st.Mtim} }

// setFileMeta completes the regular file e.out from in.
func setFileMeta(in int, e entry) error {
	return setOpenMeta(in, e.out, e.stat, func() error {
		return unix.UtimesNanoAt(e.parent.dst, e.name, times(e.stat), unix.AT_SYMLINK_NOFOLLOW)
	})
}

// setDirMeta completes a directory.
func setDirMeta(d *dir) error {
	return setOpenMeta(d.src, d.dst, d.stat, func() error {
		return unix.UtimesNanoAt(d.dst, ".", times(d.stat), 0)
	})
}

func setOpenMeta(in, out int, st unix.Stat_t, setTimes func() error) error {
	if err := setOwnerAndMode(out, st); err != nil {
		return err
	}
	if err := copyAttrs(openAttrs(in), openAttrs(out)); err != nil {
		return err
	}
	if err := setTimes(); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// setOwnerAndMode changes what differs: to ask is cheap, while each change is a
// transaction in the journal of the file system.
func setOwnerAndMode(out int, want unix.Stat_t) error {
	var now unix.Stat_t
	if err := unix.Fstat(out, &now); err != nil {
		return fmt.Errorf("stat the copy: %w", err)
	}
	chown := now.Uid != want.Uid || now.Gid != want.Gid
	if chown {
		if err := unix.Fchown(out, int(want.Uid), int(want.Gid)); err != nil {
			return fmt.Errorf("change owner to %d:%d: %w", want.Uid, want.Gid, err)
		}
	}
	if mode := want.Mode & permissions; now.Mode&permissions != mode || chown && mode&0o7000 != 0 {
		if err := unix.Fchmod(out, mode); err != nil {
			return fmt.Errorf("change mode to %04o: %w", mode, err)
		}
	}
	return nil
}

// setNodeMeta completes a symbolic link, device node, fifo or socket: things
// that are not to be opened.
func setNodeMeta(e entry) error {
	at, st := e.parent.dst, e.stat
	var now unix.Stat_t
	if err := unix.Fstatat(at, e.name, &now, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("stat the copy: %w", err)
	}
	if now.Uid != st.Uid || now.Gid != st.Gid {
		if err := unix.Fchownat(at, e.name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("change owner to %d:%d: %w", st.Uid, st.Gid, err)
		}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(at, e.name, st.Mode&permissions, 0); err != nil {
			return fmt.Errorf("change mode to %04o: %w", st.Mode&permissions, err)
		}
	}
	if err := copyAttrs(pathAttrs(procPath(e.parent.src, e.name)), pathAttrs(procPath(at, e.name))); err != nil {
		return err
	}
	if err := unix.UtimesNanoAt(at, e.name, times(st), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// procPath is a path to name in the open directory fd, for the system calls on
// extended attributes, which have no *at variant before Linux 6.13.
func procPath(fd int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(fd) + "/" + name
}

// attrs is a file whose extended attributes are read or written: by descriptor
// or, for what cannot be opened, by path.
type attrs interface {
	list(buf []byte) (int, error)
	get(name string, buf []byte) (int, error)
	set(name string, value []byte) error
}

type openAttrs int

func (fd openAttrs) list(b []byte) (int, error)             { return unix.Flistxattr(int(fd), b) }
func (fd openAttrs) get(name string, b []byte) (int, error) { return unix.Fgetxattr(int(fd), name, b) }
func (fd openAttrs) set(name string, b []byte) error        { return unix.Fsetxattr(int(fd), name, b, 0) }

type pathAttrs string

func (p pathAttrs) list(b []byte) (int, error)             { return unix.Llistxattr(string(p), b) }
func (p pathAttrs) get(name string, b []byte) (int, error) { return unix.Lgetxattr(string(p), name, b) }
func (p pathAttrs) set(name string, b []byte) error        { return unix.Lsetxattr(string(p), name, b, 0) }

// copyAttrs copies all extended attributes, ACLs and capabilities among them.
func copyAttrs(from, to attrs) error {
	var room [256]byte
	names, err := grow(room[:], from.list)
	if err == unix.EOPNOTSUPP {
		return nil // no attributes on this file system, so none are lost
	}
	if err != nil {
		return fmt.Errorf("list attributes: %w", err)
	}
	if len(names) == 0 {
		return nil
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := grow(room[:], func(b []byte) (int, error) { return from.get(name, b) })
		if err != nil {
			return fmt.Errorf("read attribute %s: %w", name, err)
		}
		if err := to.set(name, value); err != nil {
			return fmt.Errorf("set attribute %s: %w", name, err)
		}
	}
	return nil
}

// grow calls read with buf, and with larger buffers while it asks for them.
// Attribute lists and values have at most 64 KiB (xattr(7)).
func grow(buf []byte, read func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := read(buf)
		if err == nil {
			return buf[:n], nil
		}
		if err != unix.ERANGE || len(buf) >= 64<<10 {
			return nil, err
		}
		buf = make([]byte, 64<<10)
	}
}
