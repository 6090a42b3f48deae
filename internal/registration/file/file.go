// Package file is the kind of change that a file is: added, or put in the place
// of another, with the directories above it that were not there.
//
// The file is found again by its file system. What was there before is kept
// beside the record, or, when it is large, beside the file:
//
//	DIR/NAME               the file
//	DIR/.NAME.vic-new      while it is written
//	DIR/.NAME.vic-before   what was there, above KeepMost bytes
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// Kind is its name.
const Kind = "file"

// Version is that of its record.
const Version = 1

// KeepMost is how large a file may be to be kept beside the record, in bytes.
const KeepMost = 1 << 20

// File is a file that vic puts on the host.
type File struct {
	Place locate.Place `json:"place"`
	Mode  fs.FileMode  `json:"mode"` // permissions alone
	UID   int          `json:"uid"`
	GID   int          `json:"gid"`
	// Size and SHA256 are what Content has.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Before is what was in its place; nil: nothing.
	Before *Before `json:"before,omitempty"`
	// Made are the directories that were not there, the outermost first, under
	// the names that they had.
	Made []string `json:"made,omitempty"`
	// Content is called when it is read, twice.
	Content func() (io.ReadCloser, error) `json:"-"`
}

// New is a file of the host with some bytes, owned by root.
func New(path string, mode fs.FileMode, content []byte) *File {
	return FromReader(path, mode, func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(content))), nil
	})
}

// FromReader is New for what is too large to be in memory.
func FromReader(path string, mode fs.FileMode, content func() (io.ReadCloser, error)) *File {
	return &File{Place: locate.Place{Host: path}, Mode: mode.Perm(), Content: content}
}

// Kind implements registration.Change.
func (f *File) Kind() string { return Kind }

func (f *File) String() string {
	if f.Before != nil {
		return fmt.Sprintf("file %s replaced", f.Place.Host)
	}
	return fmt.Sprintf("file %s added", f.Place.Host)
}

// with calls do with where the file is now.
func (f *File) with(env *registration.Env, write bool, do func(target) error) error {
	return f.Place.With(env.Root, write, func(path string) error {
		return do(target{f, env, path})
	})
}

// target is a file where it is now.
type target struct {
	*File
	env  *registration.Env
	path string
}

func (t target) beside(suffix string) string {
	dir, name := filepath.Split(t.path)
	return dir + "." + name + suffix
}

func (t target) fresh() string  { return t.beside(".vic-new") }
func (t target) backup() string { return t.beside(".vic-before") }

// made are the directories where they are now.
func (t target) made() []string {
	var list []string
	for i := range t.Made {
		dir := filepath.Dir(t.path)
		for range len(t.Made) - 1 - i {
			dir = filepath.Dir(dir)
		}
		list = append(list, dir)
	}
	return list
}

// Prepare implements registration.Change.
func (f *File) Prepare(_ context.Context, env *registration.Env) (err error) {
	if f.Content == nil {
		return errors.New("it has no content")
	}
	if f.Place, err = locate.OfPath(env.Root, f.Place.Host); err != nil {
		return err
	}
	if f.Size, f.SHA256, err = sumOf(f.Content); err != nil {
		return err
	}
	return f.with(env, false, target.prepare)
}

func (t target) prepare() error {
	for _, leftover := range []string{t.fresh(), t.backup()} {
		if _, err := os.Lstat(leftover); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is in the way of it: undo or remove what it is from (%w)", leftover, errors.Join(fs.ErrExist, err))
		}
	}
	t.Made = nil
	for dir := filepath.Dir(t.path); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err == nil && !st.IsDir() {
			return fmt.Errorf("%s is no directory", dir)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		t.Made = append([]string{dir}, t.Made...)
	}
	before, err := t.readBefore()
	if err != nil {
		return err
	}
	t.Before = before
	return nil
}

// Apply implements registration.Change.
func (f *File) Apply(_ context.Context, env *registration.Env) error {
	return f.with(env, true, target.apply)
}

func (t target) apply() error {
	for _, dir := range t.made() {
		t.env.Note("make " + dir)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	content, err := t.Content()
	if err != nil {
		return err
	}
	err = t.write(content, Attributes{Mode: t.Mode, UID: t.UID, GID: t.GID})
	if err := errors.Join(err, content.Close()); err != nil {
		return err
	}
	if t.Before != nil && t.Before.Beside {
		if err := t.setAside(); err != nil {
			return err
		}
	}
	return t.rename()
}

// write makes the file beside its place.
func (t target) write(content io.Reader, a Attributes) error {
	t.env.Note("write " + t.fresh())
	out, err := os.OpenFile(t.fresh(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	if err == nil {
		err = a.Set(out)
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// rename puts what was written in its place.
func (t target) rename() error {
	t.env.Note("rename " + t.fresh())
	return t.move(t.fresh())
}

// move renames a file beside it to its name, for good. FAT has what a file is in its
// directory entry: of the new one, that waits for a sync of the file, and until then a
// power cut leaves an empty file.
func (t target) move(from string) error {
	if err := os.Rename(from, t.path); err != nil {
		return err
	}
	t.env.Note("sync " + t.path)
	if err := syncFile(t.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(t.path))
}

// syncFile has a file on the medium; a link is what its directory says.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
