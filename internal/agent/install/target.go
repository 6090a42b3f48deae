package install

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/agent/within"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/tool"
)

// target is the tree of the system that is being installed. Its links are not
// to be trusted: see package within.
type target struct {
	root    within.Root
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

// read returns a regular file of at most 64 MiB.
func (t target) read(name string) ([]byte, error) {
	f, err := t.root.Open(name, unix.O_RDONLY|unix.O_NONBLOCK)
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
	f, err := t.root.OpenDir(dir)
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
	f, err := t.root.Open(name, unix.O_PATH)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// mkdir makes a directory and its parents, owned by root, with mode 0755.
func (t target) mkdir(dir string) error {
	f, err := t.root.Mkdir(dir)
	if err != nil {
		return err
	}
	return f.Close()
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
	dir, err := t.root.Mkdir(path.Dir(name))
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
	dir, err := t.root.Mkdir(path.Dir(a.Path))
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
