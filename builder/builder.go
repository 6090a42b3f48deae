// Package builder makes artefacts from a configuration, on the host, without
// root and without a mounted file system.
//
//	Config --Payload-->   payload.erofs, payload.json, lock.json      (user-space system)
//	Config --Installer--> vmlinuz, initramfs, system.erofs, bundle.json (kernel system)
//	Bundle --WriteNetboot, WriteUKI, WriteUSB--> what boots elsewhere  (efi, bios system)
//
// The same inputs give the same bytes: walks are sorted, times come from
// Env.Time, identifiers from the content. The package installs nothing and
// starts no machine; it does not know the agent.
package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/tool"
)

// Env is what every build needs beside its configuration.
type Env struct {
	// Cache is the folder for downloads and finished payloads, by content.
	Cache string
	// Time is the time stamp in all artefacts (SOURCE_DATE_EPOCH).
	Time time.Time
	// Host runs the programs of this machine: mmdebstrap.
	Host tool.Runner
	// Archive opens a suite of the Debian archive for an architecture: what
	// artefacts are made of. It may be limited to the packages of a lock.
	Archive func(ctx context.Context, suite, arch string) (*deb.Archive, error)
	// Tools opens the archive as it is, for the programs that a build runs,
	// and for boot loaders: they are in no lock.
	Tools func(ctx context.Context, suite, arch string) (*deb.Archive, error)
	Sink  event.Sink
	// APT has the mirrors for installed systems whose item names none.
	APT request.APT
}

// RefusedError is input that nothing can be built from. It was found before
// anything was written.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

func refused(err error) error {
	if err == nil {
		return nil
	}
	return &RefusedError{err}
}

// DefaultTime is the time stamp where SOURCE_DATE_EPOCH is not set: a constant,
// so that two builds agree without being told.
var DefaultTime = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)

// SourceDate reads SOURCE_DATE_EPOCH
// (https://reproducible-builds.org/specs/source-date-epoch/).
func SourceDate(value string) (time.Time, error) {
	if value == "" {
		return DefaultTime, nil
	}
	sec, err := strconv.ParseInt(value, 10, 64)
	if err != nil || sec < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q is not a number of seconds since 1970", value)
	}
	return time.Unix(sec, 0).UTC(), nil
}

// step reports the start and the end of a part of a build.
func (e Env) step(name string, f func() error) error {
	e.Sink.Emit(event.Event{Phase: event.Build, Step: name, State: event.Start})
	if err := f(); err != nil {
		return err
	}
	e.Sink.Emit(event.Event{Phase: event.Build, Step: name, State: event.Done})
	return nil
}

// output is a folder that artefacts are written to: each file gets its name
// only when it is whole.
type output struct{ dir string }

// staged has f write into a new folder below dir, and moves what it wrote into
// dir when it has succeeded, the manifest last. Otherwise dir is as it was.
func staged(dir string, f func(out output) error) error {
	_, statErr := os.Stat(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make output folder: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, ".vic-")
	if err != nil {
		return fmt.Errorf("make output folder: %w", err)
	}
	if err = f(output{tmp}); err == nil {
		err = publish(tmp, dir)
	}
	err = errors.Join(err, os.RemoveAll(tmp))
	if err != nil && errors.Is(statErr, os.ErrNotExist) {
		os.Remove(dir) // was made here; stays when something is in it
	}
	return err
}

// publish moves files from one folder to another. The manifest is last: what
// is cut off before it is no artefact, or one that does not verify.
func publish(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	isManifest := func(e os.DirEntry) int {
		if e.Name() == BundleFile || e.Name() == PayloadFile {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(entries, func(a, b os.DirEntry) int { return isManifest(a) - isManifest(b) })
	for _, e := range entries {
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (o output) path(name string) string { return filepath.Join(o.dir, name) }

// write makes one file by calling f on a temporary one beside it.
func (o output) write(name string, f func(*os.File) error) (err error) {
	tmp, err := os.CreateTemp(o.dir, "."+name+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", o.path(name), err)
	}
	defer func() {
		tmp.Close()
		if err != nil {
			os.Remove(tmp.Name())
			err = fmt.Errorf("write %s: %w", o.path(name), err)
		}
	}()
	if err := f(tmp); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), o.path(name))
}

// copyFile copies a file into the folder.
func (o output) copyFile(name, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return o.write(name, func(f *os.File) error {
		_, err := io.Copy(f, in)
		return err
	})
}

// moveDir gives a finished folder its place in the cache. When another vic was
// quicker, its folder stays: what has the same name has the same content.
func moveDir(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Rename(from, to); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
