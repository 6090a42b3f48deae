package efi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// EfivarfsPath is where Linux mounts efivarfs.
const EfivarfsPath = "/sys/firmware/efi/efivars"

// immutableFlag is FS_IMMUTABLE_FL of linux/fs.h.
const immutableFlag = 0x00000010

var errNoData = errors.New("data is empty, which would delete it")

// Efivarfs are the firmware's variables behind an efivarfs mounted at root
// (Documentation/filesystems/efivarfs.rst): a file NAME-VENDOR for each, with
// the attributes in its first 4 bytes. Most files are immutable until that
// flag is cleared.
func Efivarfs(root string) Variables { return efivarfs{root} }

type efivarfs struct{ root string }

func (e efivarfs) path(n VariableName) string { return filepath.Join(e.root, n.String()) }

func (e efivarfs) Get(n VariableName) ([]byte, Attributes, error) {
	b, err := os.ReadFile(e.path(n))
	if err != nil {
		return nil, 0, fmt.Errorf("read EFI variable %s: %w", n, err)
	}
	if len(b) < 4 {
		return nil, 0, fmt.Errorf("read EFI variable %s: it has only %d bytes, attributes need 4", n, len(b))
	}
	return b[4:], Attributes(binary.LittleEndian.Uint32(b)), nil
}

func (e efivarfs) Set(n VariableName, data []byte, a Attributes) error {
	if len(data) == 0 {
		return fmt.Errorf("write EFI variable %s: %w", n, errNoData)
	}
	if strings.Contains(n.Name, "/") {
		return fmt.Errorf("write EFI variable %s: name has a slash", n)
	}
	path := e.path(n)
	restore, err := clearImmutable(path)
	created := errors.Is(err, fs.ErrNotExist)
	if err != nil && !created {
		return fmt.Errorf("write EFI variable %s: %w", n, err)
	}
	b := append(binary.LittleEndian.AppendUint32(nil, uint32(a)), data...)
	after := restore
	if err = writeOnce(path, b); err != nil {
		err = explain(err)
		if created { // opening it has made an empty file for no variable
			after = func() error { return removeFile(path) }
		}
	}
	if after != nil {
		err = also(err, after())
	}
	if err != nil {
		return fmt.Errorf("write EFI variable %s (%d bytes): %w", n, len(data), err)
	}
	return nil
}

// removeFile removes a file that may be immutable or gone already.
func removeFile(path string) error {
	restore, err := clearImmutable(path)
	if err != nil {
		return ignoreNotExist(err)
	}
	if err := ignoreNotExist(os.Remove(path)); err != nil {
		return also(err, restore())
	}
	return nil
}

// also puts a second error behind the first, on one line.
func also(err, second error) error {
	switch {
	case second == nil:
		return err
	case err == nil:
		return second
	}
	return fmt.Errorf("%w; then %w", err, second)
}

// writeOnce hands b to the firmware with a single write(2), as efivarfs wants
// it. It does not truncate first: kernels from 6.14 on take a file that is
// empty when it is closed for a deleted variable.
func writeOnce(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = also(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() > int64(len(b)) { // not on efivarfs, which has set the size
		return f.Truncate(int64(len(b)))
	}
	return nil
}

func (e efivarfs) Delete(n VariableName) error {
	if _, err := os.Lstat(e.path(n)); err != nil {
		return fmt.Errorf("delete EFI variable %s: %w", n, err)
	}
	if err := removeFile(e.path(n)); err != nil {
		return fmt.Errorf("delete EFI variable %s: %w", n, explain(err))
	}
	return nil
}

func (e efivarfs) List() ([]VariableName, error) {
	files, err := os.ReadDir(e.root)
	if err != nil {
		return nil, fmt.Errorf("list EFI variables: %w", err)
	}
	var names []VariableName
	for _, f := range files {
		if n, ok := parseVariableName(f.Name()); ok && f.Type().IsRegular() {
			names = append(names, n)
		}
	}
	sortNames(names)
	return names, nil
}

func parseVariableName(s string) (VariableName, bool) {
	const guid = 36
	if len(s) < guid+2 || s[len(s)-guid-1] != '-' {
		return VariableName{}, false
	}
	g, err := ParseGUID(s[len(s)-guid:])
	return VariableName{s[:len(s)-guid-1], g}, err == nil
}

func sortNames(names []VariableName) {
	slices.SortFunc(names, func(a, b VariableName) int { return strings.Compare(a.String(), b.String()) })
}

// clearImmutable makes the file writable, and returns what sets the flag again.
func clearImmutable(path string) (restore func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	nothing := func() error { return nil }
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return nothing, nil // the file system has no flags
	}
	if err != nil {
		return nil, fmt.Errorf("read flags of %s: %w", path, err)
	}
	if flags&immutableFlag == 0 {
		return nothing, nil
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags&^immutableFlag); err != nil {
		return nil, fmt.Errorf("clear the immutable flag of %s: %w", path, err)
	}
	return func() error { return setFlags(path, flags) }, nil
}

func setFlags(path string, flags int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags); err != nil {
		return fmt.Errorf("set the immutable flag of %s again: %w", path, err)
	}
	return nil
}

// explain says what the kernel's answer means on efivarfs.
func explain(err error) error {
	why := ""
	switch {
	case errors.Is(err, unix.ENOSPC):
		why = "the firmware's variable store is full: delete crash dumps (dump-type0-*) or unused boot entries, then reboot so that the firmware reclaims the space"
	case errors.Is(err, unix.EROFS):
		why = "efivarfs is mounted read-only, or this firmware has no runtime SetVariable"
	case errors.Is(err, unix.EINVAL):
		why = "the firmware refuses the name, the attributes or the data"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, why)
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
