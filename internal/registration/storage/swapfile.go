package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/file"
	"github.com/victorinix/vic/internal/registration/locate"
)

// SwapFile is a swap file that is given up for the room that it takes: the kernel
// stops swapping to it, and it is removed. All that there is to it is its first
// page, as in a swap area, and that each of its blocks is allocated.
//
//	DIR/NAME            the swap file
//	DIR/.NAME.vic-new   while it is made again
type SwapFile struct {
	Place locate.Place `json:"place"`
	file.Attributes
	Size int64 `json:"size"` // bytes
	// Header is its first page; UUID and Label are in it.
	Header packed `json:"header"`
	UUID   string `json:"uuid,omitempty"`
	Label  string `json:"label,omitempty"`
	// On says that it was swapped to, with this priority; below 0 it is the
	// kernel's choice.
	On       bool `json:"on,omitempty"`
	Priority int  `json:"priority,omitempty"`
	// NoCOW: its blocks are written in place, without which btrfs swaps to none
	// (chattr(1), attribute C).
	NoCOW bool `json:"noCOW,omitempty"`
}

// GiveUpFile gives up the swap file at a path of the host.
func GiveUpFile(path string) *SwapFile { return &SwapFile{Place: locate.Place{Host: path}} }

// Kind implements registration.Change.
func (s *SwapFile) Kind() string { return SwapFileKind }

func (s *SwapFile) String() string {
	return fmt.Sprintf("swap file %s (%d bytes) removed", s.Place.Host, s.Size)
}

// Validate refuses a record that no Prepare has made.
func (s *SwapFile) Validate() error {
	if n := len(s.Header); n < 4<<10 || n > 64<<10 || s.Size < int64(n) {
		return fmt.Errorf("a header of %d bytes is none of a swap file of %d", n, s.Size)
	}
	return nil
}

// with calls do with where the swap file is now.
func (s *SwapFile) with(env *registration.Env, write bool, do func(swapFile) error) error {
	return s.Place.With(env.Root, write, func(path string) error { return do(swapFile{s, env, path}) })
}

// swapFile is one where it is now.
type swapFile struct {
	*SwapFile
	env  *registration.Env
	path string
}

func (f swapFile) fresh() string {
	dir, name := filepath.Split(f.path)
	return dir + "." + name + ".vic-new"
}

// Prepare implements registration.Change.
func (s *SwapFile) Prepare(_ context.Context, env *registration.Env) (err error) {
	if s.Place, err = locate.OfPath(env.Root, s.Place.Host); err != nil {
		return err
	}
	return s.with(env, false, swapFile.prepare)
}

func (f swapFile) prepare() error {
	st, err := os.Lstat(f.path)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", f.path)
	}
	if _, err := os.Lstat(f.fresh()); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is in the way of it: undo or remove what it is from (%w)", f.fresh(), errors.Join(fs.ErrExist, err))
	}
	list, err := locate.Contents(f.path)
	if err != nil {
		return err
	}
	if len(list) != 1 || list[0].Type != "swap" {
		return fmt.Errorf("%s is no swap file that can be given up: %v", f.path, types(list))
	}
	f.Size, f.UUID, f.Label = st.Size(), list[0].UUID, list[0].Label
	if f.Header, err = readAt(f.path, 0, int(list[0].BlockSize)); err != nil {
		return err
	}
	if f.Attributes, err = file.ReadAttributes(f.path, st); err != nil {
		return err
	}
	if err := f.prepareInode(); err != nil {
		return err
	}
	on, err := f.swappedTo()
	if on != nil {
		f.On, f.Priority = true, on.Priority
	}
	return err
}

// prepareInode looks at what only the file system tells.
func (f swapFile) prepareInode() error {
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	flags, err := inodeFlags(in)
	f.NoCOW = flags&noCOW != 0
	if err == nil {
		err = unix.Fstat(int(in.Fd()), &st)
	}
	if err == nil && st.Nlink != 1 {
		err = fmt.Errorf("%s has %d names: its room stays taken when one goes", f.path, st.Nlink)
	}
	return errors.Join(err, in.Close())
}

// noCOW is FS_NOCOW_FL (include/uapi/linux/fs.h).
const noCOW = 0x00800000

// inodeFlags are a file's (ioctl_iflags(2)); 0 where the file system has none.
func inodeFlags(f *os.File) (int, error) {
	flags, _, err := lookFlags(f)
	return flags, err
}

// lookFlags is inodeFlags, and says whether the file system has any.
func lookFlags(f *os.File) (flags int, has bool, err error) {
	flags, err = unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read the attributes of %s: %w", f.Name(), err)
	}
	return flags, true, nil
}

// swappedTo is what the kernel tells of a file that it swaps to; nil: it does not.
func (f swapFile) swappedTo() (*sysfs.Swap, error) {
	swaps, err := sysfs.Root("/").Swaps()
	if err != nil {
		return nil, err
	}
	for _, s := range swaps {
		if s.File && sameFile(s.Path, f.path) {
			return &s, nil
		}
	}
	return nil, nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// Apply implements registration.Change.
func (s *SwapFile) Apply(_ context.Context, env *registration.Env) error {
	return s.with(env, true, swapFile.apply)
}

func (f swapFile) apply() error {
	if f.On {
		f.env.Note("stop swapping to " + f.path)
		if err := disk.SwapOff(f.path); err != nil {
			return err
		}
	}
	return f.remove(f.path)
}

// remove removes a file, and has its room free when it returns: btrfs gives it back
// with its next transaction.
func (f swapFile) remove(path string) error {
	f.env.Note("remove " + path)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFilesystem(filepath.Dir(path))
}

// Check implements registration.Change.
func (s *SwapFile) Check(_ context.Context, env *registration.Env) (st registration.Standing, err error) {
	err = s.with(env, false, func(f swapFile) error {
		st, err = f.check()
		return err
	})
	return st, err
}

func (f swapFile) check() (registration.Standing, error) {
	st, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return registration.Standing{Is: registration.Stands}, nil
	}
	if err != nil {
		return registration.Standing{}, err
	}
	_, err = os.Lstat(f.fresh())
	left := err == nil
	same, err := f.is(st)
	switch {
	case err != nil:
		return registration.Standing{}, err
	case !same && left:
		return registration.Standingf(registration.Changed, "there is another file at %s; %s is vic's, and may be removed", f.path, f.fresh()), nil
	case !same:
		return registration.Standingf(registration.Changed, "there is another file at %s, since %s", f.path, st.ModTime().UTC().Format("2006-01-02 15:04:05 UTC")), nil
	case left:
		return registration.Standingf(registration.Partly, "%s is left", f.fresh()), nil
	}
	wanted, _, err := f.wanted()
	if err != nil {
		return registration.Standing{}, err
	}
	on, err := f.swappedTo()
	if err == nil && wanted && on == nil {
		return registration.Standingf(registration.Partly, "it is not swapped to"), nil
	}
	return registration.Standing{Is: registration.Before}, err
}

// is says whether a file that is there is the one that was.
func (f swapFile) is(st fs.FileInfo) (bool, error) {
	if !st.Mode().IsRegular() || st.Size() != f.Size {
		return false, nil
	}
	now, err := readAt(f.path, 0, len(f.Header))
	return bytes.Equal(now, f.Header), err
}

// wanted says whether it should be swapped to, with the options of fstab. A swap
// file is in fstab by its path alone.
func (f swapFile) wanted() (bool, []string, error) {
	if !f.On {
		return false, nil, nil
	}
	return inFstab(f.env, func(spec string) bool {
		spec = unescape.Replace(spec)
		return filepath.IsAbs(spec) && sameFile(f.env.Path(spec), f.path)
	})
}

// unescape undoes what fstab(5) writes for white space.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t")
