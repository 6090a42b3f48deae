package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/extent"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// StageFile is a file that keeps a piece of the file system's device for vic: what is
// written there is written to the disk, past the file system. Nobody changes or moves
// the file (chattr(1), attribute i).
type StageFile struct {
	Place locate.Place `json:"place"`
	// Inside is where the piece begins in the file, Offset where it begins on the
	// device of the file system; bytes. Until the file is made, Offset is 0.
	Inside int64 `json:"inside"`
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`

	piece *extent.Piece
	make  func(path string) (*extent.Piece, error)
}

// KeepPiece gives a piece a name at a path of the host. The caller closes the piece.
func KeepPiece(path string, p *extent.Piece) *StageFile {
	return &StageFile{Place: locate.Place{Host: path}, Inside: p.Inside, Offset: p.Offset, Size: p.Size, piece: p}
}

// MakePiece makes a file at a path of the host that keeps a piece of so many bytes, by
// make. Piece is that then, which the caller closes.
func MakePiece(path string, size int64, make func(path string) (*extent.Piece, error)) *StageFile {
	return &StageFile{Place: locate.Place{Host: path}, Size: size, make: make}
}

// Piece is what the file has that Apply made or named.
func (s *StageFile) Piece() *extent.Piece { return s.piece }

// Kind implements registration.Change.
func (s *StageFile) Kind() string { return StageFileKind }

func (s *StageFile) String() string {
	return fmt.Sprintf("file %s (%d bytes in one piece) added", s.Place.Host, s.Size)
}

// Validate refuses a record that no Prepare has made.
func (s *StageFile) Validate() error {
	if s.Inside < 0 || s.Offset < 0 || s.Size <= 0 {
		return fmt.Errorf("%d bytes at byte %d are no piece", s.Size, s.Offset)
	}
	return nil
}

// Prepare implements registration.Change.
func (s *StageFile) Prepare(_ context.Context, env *registration.Env) (err error) {
	if s.piece == nil && s.make == nil {
		return errors.New("it has no piece")
	}
	if s.Place, err = locate.OfPath(env.Root, s.Place.Host); err != nil {
		return err
	}
	return s.with(env, false, func(path string) error {
		_, err := os.Lstat(path)
		if err == nil {
			err = fs.ErrExist
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is in the way of it: undo or remove what it is from (%w)", path, err)
		}
		return nil
	})
}

func (s *StageFile) with(env *registration.Env, write bool, do func(path string) error) error {
	return s.Place.With(env.Root, write, do)
}

// immutable is FS_IMMUTABLE_FL (include/uapi/linux/fs.h).
const immutable = 0x10

// Apply implements registration.Change.
func (s *StageFile) Apply(_ context.Context, env *registration.Env) error {
	return s.with(env, true, func(path string) error {
		env.Note("name " + path)
		if err := s.name(path); err != nil {
			return err
		}
		env.Note("fix " + path)
		if err := setImmutable(s.piece.File, true); err != nil {
			return err
		}
		return syncFilesystem(filepath.Dir(path))
	})
}

// name has the file be at its path.
func (s *StageFile) name(path string) (err error) {
	if s.make == nil {
		return s.piece.Link(path)
	}
	if s.piece, err = s.make(path); err != nil {
		return err
	}
	s.Inside, s.Offset = s.piece.Inside, s.piece.Offset
	return nil
}

// setImmutable does nothing where files have no such attribute.
func setImmutable(f *os.File, on bool) error {
	flags, has, err := lookFlags(f)
	if err != nil || !has {
		return err
	}
	flags &^= immutable
	if on {
		flags |= immutable
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags); err != nil {
		return fmt.Errorf("set the attributes of %s: %w", f.Name(), err)
	}
	return nil
}

// Check implements registration.Change.
func (s *StageFile) Check(_ context.Context, env *registration.Env) (st registration.Standing, err error) {
	err = s.with(env, false, func(path string) error {
		st, err = s.check(path)
		return err
	})
	return st, err
}

func (s *StageFile) check(path string) (registration.Standing, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return registration.Standing{Is: registration.Before}, nil
	}
	if err != nil {
		return registration.Standing{}, err
	}
	defer f.Close()
	if s.Offset == 0 {
		return registration.Standingf(registration.Partly, "making it was cut off"), nil
	}
	list, err := extent.Map(f)
	if err != nil {
		return registration.Standing{}, err
	}
	if !(extent.Extent{Inside: s.Inside, Offset: s.Offset, Size: s.Size}).In(list) {
		return registration.Standingf(registration.Changed, "there is another file at %s", path), nil
	}
	flags, has, err := lookFlags(f)
	if err == nil && has && flags&immutable == 0 {
		return registration.Standingf(registration.Partly, "it may be changed"), nil
	}
	return registration.Standing{Is: registration.Stands}, err
}

// Revert implements registration.Change.
func (s *StageFile) Revert(_ context.Context, env *registration.Env) error {
	return s.with(env, true, func(path string) error {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		env.Note("let go " + path)
		if err := errors.Join(setImmutable(f, false), f.Close()); err != nil {
			return err
		}
		env.Note("remove " + path)
		if err := os.Remove(path); err != nil {
			return err
		}
		return syncFilesystem(filepath.Dir(path))
	})
}
