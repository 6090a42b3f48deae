package diskimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// tree is the files of a system: those of a tar, which stays where it is, and
// those that were changed. Names are relative, and clean; "" is the root.
type tree struct {
	file    *os.File // of the tar
	time    time.Time
	entries map[string]*entry
}

// entry is a file. Its content is in the tar at an offset, or in data.
type entry struct {
	tar.Header
	at   int64
	data []byte
	own  bool // the content is data
}

func newTree(file *os.File, t time.Time) *tree {
	return &tree{file: file, time: t, entries: map[string]*entry{}}
}

// clean is the name of a path of the target, or of an entry of a tar.
func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// index reads the headers of the tar.
func (t *tree) index() error {
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in := tar.NewReader(t.file)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read root tar: %w", err)
		}
		// The reader takes whole headers, and nothing ahead of them.
		at, err := t.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		h.Format = tar.FormatPAX
		if h.Typeflag == tar.TypeLink {
			h.Linkname = clean(h.Linkname)
		}
		t.entries[clean(h.Name)] = &entry{Header: *h, at: at}
	}
}

// open is the content of an entry.
func (t *tree) open(e *entry) *io.SectionReader {
	if e.own {
		return io.NewSectionReader(bytes.NewReader(e.data), 0, int64(len(e.data)))
	}
	if e.Typeflag == tar.TypeLink {
		if target := t.entries[e.Linkname]; target != nil {
			return t.open(target)
		}
	}
	return io.NewSectionReader(t.file, e.at, e.Size)
}

// errLoop is for links that lead to themselves.
var errLoop = errors.New("too many levels of symbolic links")

// follow is the name that a path leads to, inside the target: links in it are
// followed, also the last one if last is set. What does not exist is itself.
func (t *tree) follow(name string, last bool) (string, error) {
	rest := strings.Split(clean(name), "/")
	at := ""
	for hops := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		e := t.entries[next]
		if e == nil || e.Typeflag != tar.TypeSymlink || len(rest) == 0 && !last {
			at = next
			continue
		}
		if hops++; hops > 40 {
			return "", &fs.PathError{Op: "open", Path: name, Err: errLoop}
		}
		to := e.Linkname
		if !path.IsAbs(to) {
			to = path.Join("/", at, to)
		}
		at, rest = "", append(strings.Split(clean(to), "/"), rest...)
	}
	return at, nil
}

// lookup finds what a path leads to; nil when there is nothing.
func (t *tree) lookup(name string) (string, *entry) {
	at, err := t.follow(name, true)
	if err != nil {
		return at, nil
	}
	return at, t.entries[at]
}

// read is the content of a regular file.
func (t *tree) read(name string) ([]byte, error) {
	_, e := t.lookup(name)
	if e == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if e.Typeflag != tar.TypeReg && e.Typeflag != tar.TypeLink {
		return nil, fmt.Errorf("read %s: not a regular file", name)
	}
	return io.ReadAll(t.open(e))
}

func (t *tree) exists(name string) bool {
	_, e := t.lookup(name)
	return e != nil
}

// owner and mode of a file to be written.
type owner struct {
	mode     int64
	uid, gid int
}

// put writes a file, makes its folders, and replaces what has its name, also a
// link, as on a target.
func (t *tree) put(name string, o owner, content []byte) error {
	return t.add(name, entry{Header: tar.Header{Typeflag: tar.TypeReg, Mode: o.mode, Uid: o.uid, Gid: o.gid, Size: int64(len(content))}, data: content, own: true})
}

func (t *tree) symlink(name, target string) error {
	return t.add(name, entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target}})
}

// add puts an entry at a name.
func (t *tree) add(name string, e entry) error {
	at, err := t.follow(name, false)
	if err != nil {
		return err
	}
	if old := t.entries[at]; at == "" || old != nil && old.Typeflag == tar.TypeDir {
		return fmt.Errorf("write %s: it is a directory", name)
	}
	if err := t.mkdir(path.Dir("/"+at), owner{mode: 0o755}); err != nil {
		return err
	}
	t.unlink(at)
	e.ModTime, e.Format = t.time, tar.FormatPAX
	t.entries[at] = &e
	return nil
}

// mkdir makes a folder and those that it is in, if they are not there.
func (t *tree) mkdir(name string, o owner) error {
	at, err := t.follow(name, true)
	if err != nil {
		return err
	}
	if e := t.entries[at]; e != nil {
		if e.Typeflag != tar.TypeDir {
			return fmt.Errorf("make folder %s: there is a file", name)
		}
		return nil
	}
	if at != "" {
		if err := t.mkdir(path.Dir("/"+at), owner{mode: 0o755}); err != nil {
			return err
		}
	}
	t.entries[at] = &entry{Header: tar.Header{Typeflag: tar.TypeDir, Mode: o.mode, Uid: o.uid, Gid: o.gid, ModTime: t.time, Format: tar.FormatPAX}}
	return nil
}

// unlink takes a name away. When others are hard links to it, one of them takes
// its place.
func (t *tree) unlink(name string) {
	old := t.entries[name]
	delete(t.entries, name)
	if old == nil || old.Typeflag != tar.TypeReg {
		return
	}
	heir := ""
	for _, other := range slices.Sorted(maps.Keys(t.entries)) {
		e := t.entries[other]
		if e.Typeflag != tar.TypeLink || e.Linkname != name {
			continue
		}
		if heir == "" {
			heir = other
			t.entries[other] = old
			continue
		}
		e.Linkname = heir
	}
}

// below are the names in a folder, sorted: a parent comes before what is in it.
func (t *tree) below(dir string) []string {
	var names []string
	for name := range t.entries {
		if name == dir || dir == "" || strings.HasPrefix(name, dir+"/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// writeTar writes files as a tar, with names relative to dir. Hard links come
// last: a reader has to know what they are links to.
func (t *tree) writeTar(w io.Writer, dir string, names []string) error {
	out := tar.NewWriter(w)
	links := func(name string) bool { return t.entries[name].Typeflag == tar.TypeLink }
	order := slices.Concat(slices.DeleteFunc(slices.Clone(names), links), slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !links(n) }))
	for _, name := range order {
		if e := t.entries[name]; links(name) && !slices.Contains(names, e.Linkname) {
			return fmt.Errorf("/%s: it is a hard link to /%s, which is on another file system", name, e.Linkname)
		}
		if err := t.writeEntry(out, dir, name); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
	}
	return out.Close()
}

func (t *tree) writeEntry(out *tar.Writer, dir, name string) error {
	e := t.entries[name]
	h := e.Header
	h.Name = relative(dir, name)
	switch h.Typeflag {
	case tar.TypeDir:
		h.Name += "/"
	case tar.TypeLink:
		// mke2fs gives the one file what the last of its names says.
		of := t.entries[e.Linkname].Header
		h.Mode, h.Uid, h.Gid, h.ModTime, h.PAXRecords = of.Mode, of.Uid, of.Gid, of.ModTime, of.PAXRecords
		h.Linkname = relative(dir, e.Linkname)
	}
	if err := out.WriteHeader(&h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	_, err := io.Copy(out, t.open(e))
	return err
}

// relative is a name as seen from a folder.
func relative(dir, name string) string {
	if name == dir {
		return "."
	}
	if dir != "" {
		return "./" + strings.TrimPrefix(name, dir+"/")
	}
	return "./" + name
}
