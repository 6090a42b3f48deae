package copytree

import (
	"errors"
	"fmt"
	"path"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// dir is a directory that is being filled. pending counts the walker, while it
// reads the directory, and the entries that are queued; whoever brings it to
// zero gives the directory its metadata and closes it.
type dir struct {
	src, dst int    // open directories
	path     string // from the root, for messages and hard links
	stat     unix.Stat_t
	pending  atomic.Int64
}

func (d *dir) close() error { return errors.Join(unix.Close(d.src), unix.Close(d.dst)) }

// entry is something other than a directory, to be made in parent.
type entry struct {
	parent *dir
	name   string
	stat   unix.Stat_t
	// out is the destination when the walker has made it already (so that
	// other names can be linked to it), else -1.
	out int
}

func (e entry) path() string { return path.Join(e.parent.path, e.name) }

func openDir(at int, name string) (int, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if at != unix.AT_FDCWD {
		flags |= unix.O_NOFOLLOW
	}
	return retry(func() (int, error) { return unix.Openat(at, name, flags, 0) })
}

// retry repeats a system call that a signal interrupted. Go's runtime sends
// signals to its own threads.
func retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if err != unix.EINTR {
			return v, err
		}
	}
}

// fail keeps the first error and stops everything else.
func (c *copier) fail(path, what string, err error) {
	c.cancel(fmt.Errorf("%s: %s: %w", path, what, err))
}

// walk queues the entries of d, then walks its directories. Depth costs two
// open files a level.
func (c *copier) walk(d *dir) {
	d.pending.Add(1)
	c.dirs.Add(1)
	subdirs := c.scan(d)
	for _, name := range subdirs {
		if c.ctx.Err() != nil {
			break
		}
		if sub := c.enter(d, name); sub != nil {
			c.walk(sub)
		}
	}
	c.release(d)
}

// scan reads d in pieces, hands all but directories on, and returns the names
// of the directories.
func (c *copier) scan(d *dir) (subdirs []string) {
	buf := make([]byte, 32<<10)
	var names []string
	for c.ctx.Err() == nil {
		n, err := retry(func() (int, error) { return unix.Getdents(d.src, buf) })
		if err != nil {
			c.fail(d.path, "read directory", err)
			return nil
		}
		if n == 0 {
			return subdirs
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names[:0])
		for _, name := range names {
			var st unix.Stat_t
			if err := unix.Fstatat(d.src, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				c.fail(path.Join(d.path, name), "stat", err)
				return nil
			}
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				subdirs = append(subdirs, name)
				continue
			}
			c.dispatch(entry{parent: d, name: name, stat: st, out: -1})
		}
	}
	return nil
}

// enter makes the directory name in d, or takes one that exists, and opens it
// on both sides. It stays closed to others until it is complete.
func (c *copier) enter(d *dir, name string) *dir {
	sub := &dir{path: path.Join(d.path, name)}
	var err error
	if sub.src, err = openDir(d.src, name); err != nil {
		c.fail(sub.path, "open", err)
		return nil
	}
	if err := unix.Fstat(sub.src, &sub.stat); err != nil {
		c.fail(sub.path, "stat", errors.Join(err, unix.Close(sub.src)))
		return nil
	}
	err = unix.Mkdirat(d.dst, name, 0o700)
	if err == nil || err == unix.EEXIST {
		sub.dst, err = openDir(d.dst, name)
	}
	if err != nil {
		c.fail(sub.path, "make directory", errors.Join(err, unix.Close(sub.src)))
		return nil
	}
	return sub
}

// dispatch queues an entry. A file with several names is made here and now,
// or linked to the name that was made.
func (c *copier) dispatch(e entry) {
	if e.stat.Nlink > 1 && !c.first(&e) {
		return
	}
	e.parent.pending.Add(1)
	select {
	case c.queue <- e:
	case <-c.ctx.Done():
		c.drop(e)
	}
}

// drop lets go of an entry without making it.
func (c *copier) drop(e entry) {
	if e.out >= 0 {
		unix.Close(e.out)
	}
	c.release(e.parent)
}

// release counts one of d's entries, or its walker, as done.
func (c *copier) release(d *dir) {
	if d.pending.Add(-1) != 0 {
		return
	}
	if c.ctx.Err() == nil {
		if err := setDirMeta(d); err != nil {
			c.fail(d.path, "set metadata", err)
		}
	}
	if err := d.close(); err != nil {
		c.fail(d.path, "close", err)
	}
}
