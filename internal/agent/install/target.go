package install

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/tool"
)

// target is the tree of the system that is being installed. Its links are not
// to be trusted: every path is resolved as the target itself would resolve it
// (RESOLVE_IN_ROOT of openat2(2)), so an absolute link stays inside.
type target struct {
	root    string
	tools   tool.Runner
	machine Machine
	disks   storage.Machine
	storage plan.Storage
	// node is the path of a device of the plan.
	node func(plan.Device) (string, error)
}

// findDisk finds a disk of the plan again.
func (t target) findDisk(want plan.Disk) (plan.Disk, error) {
	disks, err := t.disks.Disks()
	if err != nil {
		return plan.Disk{}, fmt.Errorf("find disk %s: %w", want, err)
	}
	return storage.FindDisk(want, disks)
}

// open opens a path inside the target.
func (t target) open(name string, flags int) (*os.File, error) {
	return t.openResolve(name, flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

func (t target) openResolve(name string, flags int, resolve uint64) (*os.File, error) {
	root, err := unix.Open(t.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: t.root, Err: err}
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve}
	for {
		fd, err := unix.Openat2(root, name, &how)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
		if err != unix.EINTR && err != unix.EAGAIN {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

func (t target) openDir(name string) (*os.File, error) {
	return t.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// read returns a regular file of at most 64 MiB.
func (t target) read(name string) ([]byte, error) {
	f, err := t.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("read %s: not a regular file", name))
	}
	return io.ReadAll(io.LimitReader(f, 64<<20))
}

// names lists a directory; one that does not exist has none.
func (t target) names(dir string) ([]string, error) {
	f, err := t.openDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// exists says whether a path leads to something, through links.
func (t target) exists(name string) bool {
	f, err := t.open(name, unix.O_PATH)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// mkdir makes a directory and its parents, owned by root, with mode 0755.
func (t target) mkdir(dir string) error {
	f, err := t.mkdirOpen(dir)
	if err != nil {
		return err
	}
	return f.Close()
}

func (t target) mkdirOpen(dir string) (*os.File, error) {
	dir = path.Clean("/" + dir)
	f, err := t.openDir(dir)
	if err == nil || !errors.Is(err, os.ErrNotExist) || dir == "/" {
		return f, err
	}
	parent, err := t.mkdirOpen(path.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	if err := mkdirat(parent, path.Base(dir), 0o755, 0, 0); err != nil {
		return nil, err
	}
	return t.openDir(dir)
}

// mkdirat makes one directory with exactly this mode and owner; one that
// exists keeps its own.
func mkdirat(parent *os.File, name string, mode uint32, uid, gid int) error {
	fd := int(parent.Fd())
	err := unix.Mkdirat(fd, name, 0o700)
	if err == unix.EEXIST {
		return nil
	}
	if err == nil {
		err = unix.Fchownat(fd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.Fchmodat(fd, name, mode, 0) // NOFOLLOW takes Linux 6.6
	}
	if err != nil {
		return &os.PathError{Op: "make directory", Path: path.Join(parent.Name(), name), Err: err}
	}
	return nil
}

// mountPoint makes the directory if need be and returns its path outside the
// target. mount(2) would follow a link out of the target, so there may be none.
func (t target) mountPoint(dir string) (string, error) {
	if err := t.mkdir(dir); err != nil {
		return "", fmt.Errorf("make mount point: %w", err)
	}
	f, err := t.openResolve(dir, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return "", fmt.Errorf("make mount point: %w", err)
	}
	return filepath.Join(t.root, dir), f.Close()
}

// file is one to be written.
type file struct {
	mode     uint32
	uid, gid int
	content  io.Reader
}

// writeSecret writes the bytes of a key, for root alone.
func (t target) writeSecret(a plan.WriteSecret, key []byte) error {
	if err := plain(a.Path); err != nil {
		return fmt.Errorf("write %q: %w", a.Path, err)
	}
	return t.put(a.Path, file{mode: a.Mode, content: bytes.NewReader(key)})
}

// put writes a file and replaces what has its name, in one step.
func (t target) put(name string, f file) error {
	dir, err := t.mkdirOpen(path.Dir(name))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer dir.Close()
	if err := putAt(dir, path.Base(name), f); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func putAt(dir *os.File, name string, f file) error {
	at, tmp := int(dir.Fd()), ".vic-"+rand.Text()
	fd, err := unix.Openat(at, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), tmp)
	_, err = io.Copy(out, f.content)
	if err == nil {
		err = out.Chown(f.uid, f.gid)
	}
	if err == nil {
		err = unix.Fchmod(fd, f.mode)
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		err = unix.Renameat(at, tmp, at, name)
	}
	if err != nil {
		return errors.Join(err, unix.Unlinkat(at, tmp, 0))
	}
	return nil
}

func (t target) writeFile(a plan.WriteFile) error {
	if err := plain(a.Path); err != nil {
		return fmt.Errorf("write %q: %w", a.Path, err)
	}
	return t.put(a.Path, file{mode: a.Mode, content: strings.NewReader(a.Content)})
}

func (t target) symlink(a plan.Symlink) error {
	if err := plain(a.Path); err != nil {
		return fmt.Errorf("link %q: %w", a.Path, err)
	}
	dir, err := t.mkdirOpen(path.Dir(a.Path))
	if err != nil {
		return fmt.Errorf("link %s: %w", a.Path, err)
	}
	defer dir.Close()
	at, tmp := int(dir.Fd()), ".vic-"+rand.Text()
	if err := unix.Symlinkat(a.Target, at, tmp); err != nil {
		return fmt.Errorf("link %s to %s: %w", a.Path, a.Target, err)
	}
	if err := unix.Renameat(at, tmp, at, path.Base(a.Path)); err != nil {
		return fmt.Errorf("link %s to %s: %w", a.Path, a.Target, errors.Join(err, unix.Unlinkat(at, tmp, 0)))
	}
	return nil
}

// plain refuses a path that is not absolute, or not in its shortest form.
func plain(name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
		return errors.New("not an absolute path in its shortest form")
	}
	return nil
}
