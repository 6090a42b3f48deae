package registration

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Copy is a place for records and what is kept beside them, which are files: a
// folder of the host, or a file of a stage. There is no order among the files, and
// those that are not named as this package names them are nobody's business.
type Copy interface {
	// String is what people know it by.
	String() string
	Names() ([]string, error)
	// Open opens a file, which may be closed late; the error wraps fs.ErrNotExist
	// where it is not there.
	Open(name string) (io.ReadCloser, error)
	// Write puts a file in place as a whole: when it returns, it is on the medium,
	// and when it is cut off, what was there before is. The error wraps
	// fs.ErrNotExist when the copy is not there any more.
	Write(name string, r io.Reader) error
	Remove(name string) error
}

// folder is a directory of records.
type folder struct {
	dir  string
	info fs.FileInfo // of the directory when it was opened; nil: not there then
	note func(string)
}

// errGone is a fs.ErrNotExist of all of a folder.
var errGone = fmt.Errorf("the folder is not there any more: %w", fs.ErrNotExist)

// Folder is a directory as a Copy. It is made where it is not there. note is
// told of each write; it may be nil.
func Folder(dir string, note func(string)) (Copy, error) {
	if note == nil {
		note = func(string) {}
	}
	return openFolder(dir, true, note)
}

// String implements Copy.
func (f *folder) String() string { return f.dir }

func openFolder(dir string, create bool, note func(string)) (*folder, error) {
	if create {
		if err := makeDirs(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make folder of registrations: %w", err)
		}
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &folder{dir: dir, note: note}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open folder of registrations: %w", err)
	}
	return &folder{dir, info, note}, nil
}

// makeDirs is os.MkdirAll with what it makes on the medium.
func makeDirs(dir string, mode fs.FileMode) error {
	err := os.Mkdir(dir, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirs(filepath.Dir(dir), 0o755); err != nil {
			return err
		}
		err = os.Mkdir(dir, mode)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// there says whether the directory is the one that was opened: a mount that is
// gone leaves another in its place.
func (f *folder) there() error {
	now, err := os.Stat(f.dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (f.info == nil || !os.SameFile(f.info, now)) {
		return fmt.Errorf("%s: %w", f.dir, errGone)
	}
	return err
}

// Write implements Copy.
func (f *folder) Write(name string, r io.Reader) (err error) {
	if err := f.there(); err != nil {
		return err
	}
	temp := filepath.Join(f.dir, "."+name+".new")
	f.note("write " + temp)
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, r)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", temp, err), os.Remove(temp))
	}
	f.note("rename " + temp)
	if err := os.Rename(temp, filepath.Join(f.dir, name)); err != nil {
		return err
	}
	f.note("sync " + f.dir)
	return syncDir(f.dir)
}

// Remove implements Copy.
func (f *folder) Remove(name string) error {
	if err := f.there(); err != nil {
		return err
	}
	f.note("remove " + name)
	return os.Remove(filepath.Join(f.dir, name))
}

// Open implements Copy.
func (f *folder) Open(name string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(f.dir, name))
}

// Names implements Copy.
func (f *folder) Names() ([]string, error) {
	if f.info == nil {
		return nil, nil
	}
	list, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// number is that of an ID: 7 of r7.
func number(id string) (int, bool) {
	digits, ok := strings.CutPrefix(id, "r")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0 && id == "r"+strconv.Itoa(n)
}
