// Package copytree copies a directory tree to another file system so that
// nothing tells the copy from the original: owners, modes with setuid, times
// to the nanosecond, extended attributes (capabilities, ACLs), hard links,
// holes, device nodes, fifos, sockets and symbolic links.
//
// It does not copy inode numbers, change times, and inode flags (chattr), and
// it deletes nothing: the destination is a fresh file system in which only
// directories (mount points) may exist.
//
//	walker ──(entry, parent)──> queue ──> workers
//	   makes directories                   make everything else
//
// One walker goes depth-first and makes the directories; workers fill them. A
// directory gets its own owner, mode and times when its last entry is made:
// that is counted, not listed, so memory does not grow with the tree. Every
// path is resolved one name at a time relative to an open directory.
package copytree

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Options adjusts a copy. The zero value is good.
type Options struct {
	// Workers is how many entries are copied at a time; 0 means two for
	// each processor. Each has a buffer of 256 KiB.
	Workers int
	// Progress, when not nil, is called a few times a second, and once at the
	// end, with the number of bytes of file content copied so far. Calls do
	// not overlap.
	Progress func(bytes int64)
}

// Stats counts what was made.
type Stats struct {
	Dirs, Files, Symlinks int64
	Hardlinks             int64 // further names of a file
	Special               int64 // device nodes, fifos, sockets
	Bytes                 int64 // file content, without holes
}

const (
	bufferSize    = 256 << 10
	queueLength   = 64
	progressEvery = 250 * time.Millisecond
)

// Copy copies what is in the directory src into the directory dst, both of
// which exist, and the metadata of src itself to dst. It returns when the
// file system of dst has everything on disk (syncfs(2)). On an error the copy
// is incomplete, and the Stats say how far it came.
func Copy(ctx context.Context, src, dst string, o Options) (Stats, error) {
	c, err := newCopier(ctx, src, dst)
	if err != nil {
		return Stats{}, err
	}
	defer c.cancel(nil)
	defer unix.Close(c.dst)

	stop := c.report(o.Progress)
	c.run(o.Workers)
	if c.ctx.Err() == nil {
		if err := unix.Syncfs(c.dst); err != nil {
			c.cancel(fmt.Errorf("sync %s: %w", dst, err))
		}
	}
	stop()
	if c.ctx.Err() != nil {
		return c.stats(), fmt.Errorf("copy %s to %s: %w", src, dst, context.Cause(c.ctx))
	}
	return c.stats(), nil
}

// copier is the state that the walker and the workers share. The first error
// is the cause of ctx's end.
type copier struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	root   *dir
	dst    int // the destination's root, open as long as the copier lives
	links  links
	queue  chan entry

	dirs, files, symlinks, hardlinks, special, bytes atomic.Int64
}

func newCopier(ctx context.Context, src, dst string) (*copier, error) {
	in, err := openDir(unix.AT_FDCWD, src)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", src, err)
	}
	out, err := openDir(unix.AT_FDCWD, dst)
	if err != nil {
		unix.Close(in)
		return nil, fmt.Errorf("open %s: %w", dst, err)
	}
	c := &copier{queue: make(chan entry, queueLength)}
	if c.dst, err = unix.FcntlInt(uintptr(out), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", dst, err), unix.Close(in), unix.Close(out))
	}
	c.root = &dir{src: in, dst: out, path: "."}
	if err := unix.Fstat(in, &c.root.stat); err != nil {
		return nil, errors.Join(fmt.Errorf("stat %s: %w", src, err), c.root.close(), unix.Close(c.dst))
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	return c, nil
}

// run walks the tree with n workers and returns when all of them are done.
func (c *copier) run(n int) {
	if n <= 0 {
		n = 2 * runtime.GOMAXPROCS(0)
	}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			buf := make([]byte, bufferSize)
			for e := range c.queue {
				c.finish(e, buf)
			}
		})
	}
	c.walk(c.root)
	close(c.queue)
	wg.Wait()
}

func (c *copier) stats() Stats {
	return Stats{
		Dirs: c.dirs.Load(), Files: c.files.Load(), Symlinks: c.symlinks.Load(),
		Hardlinks: c.hardlinks.Load(), Special: c.special.Load(), Bytes: c.bytes.Load(),
	}
}

// report calls f until the returned function has been called, and once then.
func (c *copier) report(f func(int64)) (stop func()) {
	if f == nil {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f(c.bytes.Load())
			case <-quit:
				f(c.bytes.Load())
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}
