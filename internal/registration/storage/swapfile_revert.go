package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/registration"
)

// Revert implements registration.Change.
func (s *SwapFile) Revert(_ context.Context, env *registration.Env) error {
	return s.with(env, true, swapFile.revert)
}

func (f swapFile) revert() error {
	if _, err := os.Lstat(f.fresh()); err == nil { // of a run that was interrupted
		if err := f.remove(f.fresh()); err != nil {
			return err
		}
	}
	_, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = f.restore()
	}
	if err != nil {
		return err
	}
	wanted, options, err := f.wanted()
	if err != nil || !wanted {
		return err
	}
	if on, err := f.swappedTo(); err != nil || on != nil {
		return err
	}
	priority := priorityOf(options)
	if f.Priority >= 0 {
		priority = &f.Priority
	}
	f.env.Note("swap to " + f.path)
	return disk.SwapOn(f.path, priority, options)
}

// restore makes the swap file again, beside its place. When that fails, nothing is
// left of it.
func (f swapFile) restore() error {
	if err := f.write(); err != nil {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			err = fmt.Errorf("there is no room for its %d bytes: %w", f.Size, err)
		}
		return errors.Join(fmt.Errorf("make %s again: %w", f.path, err), f.remove(f.fresh()))
	}
	f.env.Note("rename " + f.fresh())
	// What somebody else makes at this moment is not replaced.
	if err := unix.Renameat2(unix.AT_FDCWD, f.fresh(), unix.AT_FDCWD, f.path, unix.RENAME_NOREPLACE); err != nil {
		return errors.Join(fmt.Errorf("rename %s to %s: %w", f.fresh(), f.path, err), f.remove(f.fresh()))
	}
	f.env.Note("sync " + filepath.Dir(f.path))
	return syncFilesystem(filepath.Dir(f.path))
}

func (f swapFile) write() (err error) {
	f.env.Note("make " + f.fresh())
	out, err := os.OpenFile(f.fresh(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if f.NoCOW { // which a file takes only while it is empty
		if err := setNoCOW(out); err != nil {
			return err
		}
	}
	f.env.Note("allocate " + f.fresh())
	if err := allocate(out, f.Size); err != nil {
		return err
	}
	f.env.Note("write the first page of " + f.fresh())
	if _, err := out.WriteAt(f.Header, 0); err != nil {
		return err
	}
	if err := f.Set(out); err != nil {
		return err
	}
	return out.Sync()
}

func setNoCOW(f *os.File) error {
	flags, err := inodeFlags(f)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|noCOW)
	}
	if err != nil {
		return fmt.Errorf("have %s written in place: %w", f.Name(), err)
	}
	return nil
}

// allocate gives a file all its blocks: the kernel swaps to none with holes. File
// systems that cannot reserve them (ext2, ext3) get zeros.
func allocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP):
			return writeZeros(f, size)
		case err != nil:
			return fmt.Errorf("allocate %d bytes for %s: %w", size, f.Name(), err)
		}
		return nil
	}
}

func writeZeros(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}
