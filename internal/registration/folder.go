package registration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// folder is a directory of records.
type folder struct {
	dir  string
	info fs.FileInfo // of the directory when it was opened; nil: not there then
	note func(string)
}

var errGone = errors.New("the folder is not there any more")

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

// write puts a file in place as a whole: when it returns, it is on the medium.
func (f *folder) write(name string, r io.Reader) (err error) {
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

// remove removes the files that were kept for a registration.
func (f *folder) removeKept(id string) error {
	if err := f.there(); err != nil {
		return err
	}
	names, err := f.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if owner, kind, ok := strings.Cut(name, "."); ok && owner == id && kind != "json" {
			f.note("remove " + name)
			if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *folder) names() ([]string, error) {
	if f.info == nil {
		return nil, nil
	}
	list, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		if _, ok := number(strings.SplitN(e.Name(), ".", 2)[0]); ok && e.Type().IsRegular() {
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

// records reads all records. One that is damaged is among damaged, by its ID.
func (f *folder) records() (list map[string]Record, damaged map[string]error, err error) {
	names, err := f.names()
	if err != nil {
		return nil, nil, fmt.Errorf("read registrations: %w", err)
	}
	list, damaged = map[string]Record{}, map[string]error{}
	for _, name := range names {
		id, isRecord := strings.CutSuffix(name, ".json")
		if !isRecord {
			continue
		}
		r, err := f.record(id)
		if err != nil {
			damaged[id] = err
			continue
		}
		list[id] = r
	}
	return list, damaged, nil
}

func (f *folder) record(id string) (Record, error) {
	path := filepath.Join(f.dir, id+".json")
	b, err := os.ReadFile(path)
	if err != nil {
		return Record{}, err
	}
	var head struct{ Version int }
	if err := json.Unmarshal(b, &head); err == nil && head.Version > Version {
		return Record{}, fmt.Errorf("read %s: version %d: %w", path, head.Version, ErrUnknownKind)
	}
	var r Record
	if err := strict(b, &r); err != nil {
		return Record{}, fmt.Errorf("read %s: %w", path, err)
	}
	if r.ID != id || r.Version != Version {
		return Record{}, fmt.Errorf("read %s: it is a record of %q, version %d", path, r.ID, r.Version)
	}
	return r, nil
}

// strict decodes one JSON value, and refuses what v has no field for.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind its end")
	}
	return nil
}
