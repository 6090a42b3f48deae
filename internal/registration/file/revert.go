package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/registration"
)

func parent(path string) string { return filepath.Dir(path) }

// Check implements registration.Change.
func (f *File) Check(_ context.Context, env *registration.Env) (st registration.Standing, err error) {
	err = f.with(env, false, func(t target) error {
		st, err = t.check()
		return err
	})
	return st, err
}

func (t target) check() (registration.Standing, error) {
	now, err := t.now()
	if err != nil || now.Is != registration.Before {
		return now, err
	}
	// As before: unless an interrupted run has left something.
	leftovers := []string{t.fresh()}
	if t.Before != nil && t.Before.Beside {
		leftovers = append(leftovers, t.backup())
	}
	for _, path := range leftovers {
		if _, err := os.Lstat(path); err == nil {
			return registration.Standingf(registration.Partly, "%s is left", path), nil
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			return now, err
		}
	}
	for _, dir := range t.made() {
		if empty, err := t.ours(dir); err != nil {
			return now, err
		} else if empty {
			return registration.Standingf(registration.Partly, "%s is left", dir), nil
		}
	}
	return now, nil
}

// now compares the file alone.
func (t target) now() (registration.Standing, error) {
	st, err := os.Lstat(t.path)
	missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
	switch {
	case err != nil && !missing:
		return registration.Standing{}, err
	case missing && t.Before == nil:
		return registration.Standing{Is: registration.Before}, nil
	case missing:
		return registration.Standingf(registration.Changed, "somebody removed it"), nil
	}
	if same, err := t.isBefore(st); err != nil || same {
		return registration.Standing{Is: registration.Before}, err
	}
	same, err := hasSum(t.path, st, t.Size, t.SHA256)
	if err != nil {
		return registration.Standing{}, err
	}
	if !same && t.Before == nil && st.Size() == 0 && onFAT(t.path) {
		return registration.Standingf(registration.Partly, "it is empty, as a power cut leaves it"), nil
	}
	if !same {
		return registration.Standingf(registration.Changed, "it has another content, since %s", st.ModTime().UTC().Format("2006-01-02 15:04:05 UTC")), nil
	}
	return registration.Standing{Is: registration.Stands}, nil
}

// isBefore says whether a file is the one that was there.
func (t target) isBefore(st fs.FileInfo) (bool, error) {
	b := t.Before
	switch {
	case b == nil:
		return false, nil
	case b.Link != "":
		to, err := os.Readlink(t.path)
		if st.Mode()&fs.ModeType != fs.ModeSymlink {
			return false, nil
		}
		return to == b.Link, err
	}
	if b.Size == t.Size && b.SHA256 == t.SHA256 { // then its other attributes tell
		a, err := ReadAttributes(t.path, st)
		return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.Time.Equal(b.Time), err
	}
	return hasSum(t.path, st, b.Size, b.SHA256)
}

// onFAT says whether a file is on a FAT file system, where a file that was renamed is
// empty until it is synced. Of what it cannot tell nothing is taken for vic's.
func onFAT(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.MSDOS_SUPER_MAGIC
}

func hasSum(path string, st fs.FileInfo, size int64, sum string) (bool, error) {
	if !st.Mode().IsRegular() || st.Size() != size {
		return false, nil
	}
	_, got, err := sumOf(func() (io.ReadCloser, error) { return os.Open(path) })
	return got == sum, err
}

// ours says whether a directory that was made holds nothing, or only others
// that were made and hold nothing.
func (t target) ours(dir string) (bool, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil || len(list) == 0 {
		return true, err
	}
	inner := filepath.Join(dir, list[0].Name())
	if len(list) > 1 || !slices.Contains(t.made(), inner) {
		return false, nil
	}
	return t.ours(inner)
}

// Revert implements registration.Change.
func (f *File) Revert(_ context.Context, env *registration.Env) error {
	return f.with(env, true, target.revert)
}

func (t target) revert() error {
	now, err := t.now()
	if err != nil {
		return err
	}
	if now.Is == registration.Stands || now.Is == registration.Partly {
		if err := t.restore(); err != nil {
			return err
		}
	}
	return t.clear()
}

// restore puts back what was there.
func (t target) restore() error {
	switch b := t.Before; {
	case b == nil:
		t.env.Note("remove " + t.path)
		if err := os.Remove(t.path); err != nil {
			return err
		}
		return syncDir(parent(t.path))
	case b.Link != "":
		if err := os.Symlink(b.Link, t.fresh()); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return t.rename()
	case b.Beside:
		st, err := os.Lstat(t.backup())
		if err != nil {
			return err
		}
		if same, err := hasSum(t.backup(), st, b.Size, b.SHA256); err != nil || !same {
			return errors.Join(fmt.Errorf("%s is not what was kept there", t.backup()), err)
		}
		t.env.Note("rename " + t.backup())
		return t.move(t.backup())
	}
	kept, err := t.env.Kept("before", t.Before.SHA256)
	if err != nil {
		return err
	}
	err = t.write(kept, t.Before.Attributes)
	if err := errors.Join(err, kept.Close()); err != nil {
		return err
	}
	return t.rename()
}

// clear removes what is only there while a file is put in place, and the
// directories that were made and that nobody else uses.
func (t target) clear() error {
	if err := t.remove(t.fresh()); err != nil {
		return err
	}
	if t.Before != nil && t.Before.Beside {
		if err := t.remove(t.backup()); err != nil {
			return err
		}
	}
	for _, dir := range slices.Backward(t.made()) {
		if empty, err := t.ours(dir); err != nil || !empty {
			if err != nil {
				return err
			}
			continue
		}
		if err := t.remove(dir); err != nil {
			return err
		}
	}
	return nil
}

func (t target) remove(path string) error {
	t.env.Note("remove " + path)
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil && !strings.Contains(err.Error(), "directory not empty") {
		return err
	}
	return syncDir(parent(path))
}
