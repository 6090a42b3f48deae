package registration

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
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
	for i, c := range k.store.copies {
		var err error
		if i == 0 {
			err = c.Write(file, io.TeeReader(r, hash))
		} else {
			err = copyFile(c, k.store.copies[0], file)
		}
		if err != nil {
			return "", fmt.Errorf("keep %s: %w", file, err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (k kept) kept(name, sum string) (io.ReadCloser, error) {
	var failed []error
	for _, c := range k.store.copies {
		file, err := openKept(c, k.id+"."+name, sum)
		if err == nil {
			return file, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// openKept opens a file that has the sum.
func openKept(c Copy, name, sum string) (io.ReadCloser, error) {
	file, err := c.Open(name)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	if err == nil && hex.EncodeToString(hash.Sum(nil)) != sum {
		err = fmt.Errorf("read %s in %s: it is damaged", name, c)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return c.Open(name)
}

// keptFor names the files that a copy keeps for a registration.
func keptFor(c Copy, id string) ([]string, error) {
	names, err := c.Names()
	return slices.DeleteFunc(names, func(name string) bool {
		owner, kind, ok := strings.Cut(name, ".")
		return !ok || owner != id || kind == "json"
	}), err
}

// copyKept gives a copy what others have kept for a record, as far as it has not
// got it.
func (s *Store) copyKept(to Copy, r Record) error {
	if r.State.over() {
		return nil
	}
	have, err := keptFor(to, r.ID)
	if err != nil {
		return err
	}
	for _, from := range s.copies {
		if from == to {
			continue
		}
		names, err := keptFor(from, r.ID)
		if err != nil {
			return err
		}
		for _, name := range names {
			if slices.Contains(have, name) {
				continue
			}
			if err := copyFile(to, from, name); err != nil {
				return err
			}
			have = append(have, name)
		}
	}
	return nil
}

func copyFile(to, from Copy, name string) error {
	file, err := from.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(to.Write(name, file), file.Close())
}

// dropKept removes what was kept for a registration that is over, or that did
// not come to be.
func (s *Store) dropKept(id string) error {
	for _, c := range s.copies {
		if err := dropKept(c, id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what was kept for %s in %s: %w", id, c, err)
		}
	}
	return nil
}

func dropKept(c Copy, id string) error {
	names, err := keptFor(c, id)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
