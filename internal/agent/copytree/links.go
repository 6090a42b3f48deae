package copytree

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// inode identifies a file of the source.
type inode struct{ dev, ino uint64 }

// links remembers files of which some names have not been seen yet: by the
// first one, and how many are missing. Only the walker uses it.
type links map[inode]*linked

type linked struct {
	path string // in the destination
	left uint64
}

// first reports whether e is to be copied: it is the first of its names. Its
// destination has then been made. Otherwise e has been linked to the first,
// or failed.
func (c *copier) first(e *entry) bool {
	if c.links == nil {
		c.links = links{}
	}
	id := inode{uint64(e.stat.Dev), e.stat.Ino}
	if l, ok := c.links[id]; ok {
		if l.left--; l.left == 0 {
			delete(c.links, id)
		}
		if err := c.link(l.path, *e); err != nil {
			c.fail(e.path(), "link to "+l.path, err)
		} else {
			c.hardlinks.Add(1)
		}
		return false
	}
	c.links[id] = &linked{path: e.path(), left: uint64(e.stat.Nlink) - 1}
	out, err := create(*e)
	if err != nil {
		c.fail(e.path(), "create", err)
		return false
	}
	e.out = out
	return true
}

// link gives the destination's file at old the name e.
func (c *copier) link(old string, e entry) error {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	at, err := retry(func() (int, error) { return unix.Openat2(c.dst, path.Dir(old), &how) })
	if err != nil {
		return err
	}
	return errors.Join(unix.Linkat(at, path.Base(old), e.parent.dst, e.name, 0), unix.Close(at))
}

// create makes e in the destination, without content and metadata but for a
// file's permissions, which are most often right then: others cannot reach it
// before its directory is complete. The result
// is the open file when it is a regular one, otherwise noFile.
func create(e entry) (int, error) {
	dst := e.parent.dst
	switch e.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return retry(func() (int, error) {
			return unix.Openat(dst, e.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, e.stat.Mode&0o777)
		})
	case unix.S_IFLNK:
		target, err := readlink(e)
		if err != nil {
			return noFile, err
		}
		return noFile, unix.Symlinkat(target, dst, e.name)
	case unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
		return noFile, unix.Mknodat(dst, e.name, e.stat.Mode&unix.S_IFMT|0o600, int(e.stat.Rdev))
	}
	return noFile, fmt.Errorf("unknown type %#o", e.stat.Mode&unix.S_IFMT)
}

// The values of entry.out that are no file descriptor.
const (
	notMade = -1
	noFile  = -2 // made, and not a regular file
)

func readlink(e entry) (string, error) {
	buf := make([]byte, e.stat.Size+1)
	if len(buf) < 128 {
		buf = make([]byte, 128)
	}
	for {
		n, err := unix.Readlinkat(e.parent.src, e.name, buf)
		if err != nil {
			return "", fmt.Errorf("read link: %w", err)
		}
		if n < len(buf) {
			return string(buf[:n]), nil
		}
		buf = make([]byte, 2*len(buf))
	}
}
