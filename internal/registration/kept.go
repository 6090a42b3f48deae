package registration

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// kept are the bytes that are kept for a registration: a file rN.NAME beside
// its record in each folder.
type kept struct {
	store *Store
	id    string
}

func (k kept) keep(name string, r io.Reader) (string, error) {
	if name == "" || name == "json" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") != "" {
		return "", fmt.Errorf("keep %q: a name has lower-case letters", name)
	}
	hash := sha256.New()
	file := k.id + "." + name
	for i, f := range k.store.folders {
		var err error
		if i == 0 {
			err = f.write(file, io.TeeReader(r, hash))
		} else {
			err = f.copyFrom(k.store.folders[0], file)
		}
		if err != nil {
			return "", fmt.Errorf("keep %s: %w", file, err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (k kept) kept(name, sum string) (io.ReadCloser, error) {
	var failed []error
	for _, f := range k.store.folders {
		file, err := f.openKept(k.id+"."+name, sum)
		if err == nil {
			return file, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// openKept opens a file that has the sum.
func (f *folder) openKept(name, sum string) (*os.File, error) {
	file, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	if err == nil && hex.EncodeToString(hash.Sum(nil)) != sum {
		err = fmt.Errorf("read %s: it is damaged", file.Name())
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// copyKept gives a folder what another has kept for a record.
func (s *Store) copyKept(to *folder, r Record) error {
	if r.State.over() {
		return nil
	}
	for _, from := range s.folders {
		if from == to {
			continue
		}
		names, err := from.names()
		if err != nil {
			return err
		}
		for _, name := range names {
			if owner, kind, ok := strings.Cut(name, "."); !ok || owner != r.ID || kind == "json" {
				continue
			}
			if err := to.copyFrom(from, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *folder) copyFrom(from *folder, name string) error {
	if _, err := os.Stat(filepath.Join(f.dir, name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.Open(filepath.Join(from.dir, name))
	if err != nil {
		return err
	}
	return errors.Join(f.write(name, file), file.Close())
}

// dropKept removes what was kept for a registration that is over, or that did
// not come to be.
func (s *Store) dropKept(id string) error {
	for _, f := range s.folders {
		if err := f.removeKept(id); err != nil && !errors.Is(err, errGone) {
			return fmt.Errorf("remove what was kept for %s: %w", id, err)
		}
	}
	return nil
}
