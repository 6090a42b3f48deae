package copytree

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// finish makes a queued entry, or what is missing of it.
func (c *copier) finish(e entry, buf []byte) {
	if c.ctx.Err() != nil {
		c.drop(e)
		return
	}
	if err := c.make(&e, buf); err != nil {
		c.cancel(fmt.Errorf("%s: %w", e.path(), err))
	}
	c.drop(e)
}

func (c *copier) make(e *entry, buf []byte) error {
	if e.out == notMade {
		out, err := create(*e)
		if err != nil {
			return fmt.Errorf("create: %w", err)
		}
		e.out = out
	}
	switch e.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		c.files.Add(1)
		return c.file(e, buf)
	case unix.S_IFLNK:
		c.symlinks.Add(1)
	default:
		c.special.Add(1)
	}
	return setNodeMeta(*e)
}

// file copies content and metadata of a regular file, and closes it: ext4
// reports some errors only then.
func (c *copier) file(e *entry, buf []byte) error {
	in, err := retry(func() (int, error) {
		return unix.Openat(e.parent.src, e.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	err = c.content(in, e.out, e.stat, buf)
	if err == nil {
		err = setFileMeta(in, *e)
	}
	out := e.out
	e.out = noFile
	return errors.Join(err, unix.Close(in), unix.Close(out))
}

// content copies the data of a file and leaves its holes.
func (c *copier) content(in, out int, st unix.Stat_t, buf []byte) error {
	if st.Size > st.Blocks*512 {
		return c.sparse(in, out, st.Size, buf)
	}
	return c.extent(in, out, 0, st.Size, buf)
}

// sparse copies the extents that hold data. A file system that cannot tell
// says that all is data.
func (c *copier) sparse(in, out int, size int64, buf []byte) error {
	end := int64(0)
	for end < size {
		start, err := unix.Seek(in, end, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err != nil {
			return fmt.Errorf("find data: %w", err)
		}
		if end, err = unix.Seek(in, start, unix.SEEK_HOLE); err != nil {
			return fmt.Errorf("find hole: %w", err)
		}
		if err := c.extent(in, out, start, end, buf); err != nil {
			return err
		}
	}
	if end == size {
		return nil
	}
	if err := unix.Ftruncate(out, size); err != nil {
		return fmt.Errorf("set size: %w", err)
	}
	return nil
}

// extent copies the bytes from start up to end.
func (c *copier) extent(in, out int, start, end int64, buf []byte) error {
	for off := start; off < end; {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		n, err := retry(func() (int, error) { return unix.Pread(in, buf[:min(int64(len(buf)), end-off)], off) })
		if err != nil {
			return fmt.Errorf("read at %d: %w", off, err)
		}
		if n == 0 {
			return fmt.Errorf("read at %d of %d: %w", off, end, io.ErrUnexpectedEOF)
		}
		if err := writeAll(out, buf[:n], off); err != nil {
			return fmt.Errorf("write at %d: %w", off, err)
		}
		off += int64(n)
		c.bytes.Add(int64(n))
	}
	return nil
}

func writeAll(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := retry(func() (int, error) { return unix.Pwrite(fd, b, off) })
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}
