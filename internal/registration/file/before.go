package file

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Before is a file, or a symbolic link, that was there.
type Before struct {
	Attributes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
	// Link is where a symbolic link leads; empty: it is a file.
	Link string `json:"link,omitempty"`
	// Beside: it is kept beside the file, not beside the record.
	Beside bool `json:"beside,omitempty"`
}

// Attributes are those of a file, beside its content.
type Attributes struct {
	Mode  fs.FileMode `json:"mode"` // with setuid, setgid and sticky, as Go has them
	UID   int         `json:"uid"`
	GID   int         `json:"gid"`
	Time  time.Time   `json:"time,omitzero"`
	Xattr []xattr     `json:"xattr,omitempty"`
}

// xattr is an extended attribute: an ACL, a capability, a security label.
type xattr struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// ReadAttributes are those of what Lstat has found.
func ReadAttributes(path string, st fs.FileInfo) (Attributes, error) {
	a := Attributes{Mode: st.Mode() &^ fs.ModeType, Time: st.ModTime()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		a.UID, a.GID = int(sys.Uid), int(sys.Gid)
	}
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return a, nil
	}
	if err != nil {
		return a, fmt.Errorf("read attributes of %s: %w", path, err)
	}
	for _, name := range strings.FieldsFunc(string(names[:n]), func(r rune) bool { return r == 0 }) {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return a, fmt.Errorf("read attribute %s of %s: %w", name, path, err)
		}
		a.Xattr = append(a.Xattr, xattr{name, value[:n]})
	}
	return a, nil
}

// Set gives an open file the attributes. A FAT has the owner and mode of its
// mount, and does not permit others.
func (a Attributes) Set(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if ok && (int(sys.Uid) != a.UID || int(sys.Gid) != a.GID) {
		if err := f.Chown(a.UID, a.GID); err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	if st.Mode() != a.Mode {
		if err := f.Chmod(a.Mode); err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	for _, x := range a.Xattr {
		if err := unix.Fsetxattr(int(f.Fd()), x.Name, x.Value, 0); err != nil {
			return fmt.Errorf("set attribute %s of %s: %w", x.Name, f.Name(), err)
		}
	}
	if a.Time.IsZero() {
		return nil
	}
	return os.Chtimes(f.Name(), a.Time, a.Time)
}

// readBefore reads what is in the place of the file, and keeps it unless it is
// large.
func (t target) readBefore() (*Before, error) {
	st, err := os.Lstat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b := &Before{Size: st.Size()}
	if b.Attributes, err = ReadAttributes(t.path, st); err != nil {
		return nil, err
	}
	switch {
	case st.Mode()&fs.ModeType == fs.ModeSymlink:
		b.Link, err = os.Readlink(t.path)
		return b, err
	case !st.Mode().IsRegular():
		return nil, errors.New("what is in its place is neither a file nor a link")
	}
	open := func() (io.ReadCloser, error) { return os.Open(t.path) }
	if b.Size > KeepMost {
		b.Beside = true
		_, b.SHA256, err = sumOf(open)
		return b, err
	}
	f, err := open()
	if err != nil {
		return nil, err
	}
	b.SHA256, err = t.env.Keep("before", f)
	return b, errors.Join(err, f.Close())
}

// sumOf reads all of a content.
func sumOf(open func() (io.ReadCloser, error)) (int64, string, error) {
	f, err := open()
	if err != nil {
		return 0, "", err
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// setAside gives a large file a second name: a link, or a copy where there are
// none.
func (t target) setAside() error {
	t.env.Note("link " + t.backup())
	err := os.Link(t.path, t.backup())
	if err == nil || errors.Is(err, fs.ErrExist) {
		return syncDir(parent(t.path))
	}
	in, err := os.Open(t.path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(t.backup(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = t.Before.Set(out)
	}
	if err == nil {
		err = out.Sync()
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return syncDir(parent(t.path))
}
