package deb

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"time"
)

// Tree is a file tree in memory. Names are clean and relative ("usr/bin/env");
// the root directory "." is always there. A Tree is not safe for concurrent
// use.
type Tree struct {
	entries map[string]*Entry
	inodes  uint64
	// replaces has, for each package, what its Replaces field says.
	replaces map[string][]alternatives
}

// Entry is a file, directory, link or device.
type Entry struct {
	// Header has type, mode, owner, time, link target, device numbers and, in
	// PAXRecords, extended attributes ("SCHILY.xattr.security.capability").
	// Name and Size are set by the tree. The type is never tar.TypeLink: names
	// of one file are entries with the same Inode.
	Header tar.Header
	// Data is the content of a regular file. It is shared, not copied.
	Data []byte
	// Origin is the package that the entry is from, for people.
	Origin string
	// Inode is the same, and not 0, for all names of a file with several.
	Inode uint64
}

// IsDir says whether the entry is a directory.
func (e *Entry) IsDir() bool { return e.Header.Typeflag == tar.TypeDir }

// NewTree returns a tree with only a root directory.
func NewTree() *Tree {
	root := &Entry{Header: tar.Header{Name: ".", Typeflag: tar.TypeDir, Mode: 0o755}}
	return &Tree{entries: map[string]*Entry{".": root}, replaces: map[string][]alternatives{}}
}

// Lookup returns the entry of that very name; it follows no symbolic links.
func (t *Tree) Lookup(name string) (*Entry, bool) {
	e, ok := t.entries[path.Clean(name)]
	return e, ok
}

// Len is the number of entries, the root included.
func (t *Tree) Len() int { return len(t.entries) }

// Add puts an entry into the tree, over a file that is there. Directories above
// that are missing are made with mode 0755; symbolic links above are followed
// inside the tree. A directory over a directory replaces its header; nothing
// else goes over or under a directory or a file, respectively.
func (t *Tree) Add(name string, e Entry) error {
	clean, err := cleanName(name)
	if err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	real, err := t.realParent(clean, &e)
	if err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	if old, ok := t.entries[real]; ok && old.IsDir() != e.IsDir() {
		return fmt.Errorf("add %q: a directory and a file of the same name (from %s and %s)", name, old.Origin, e.Origin)
	}
	t.put(real, e)
	return nil
}

func (t *Tree) put(name string, e Entry) {
	e.Header.Name = name
	e.Header.Size = int64(len(e.Data))
	t.entries[name] = &e
}

// realParent resolves the directories above name and makes missing ones.
func (t *Tree) realParent(name string, e *Entry) (string, error) {
	if name == "." {
		return name, nil
	}
	dir, err := t.resolve(path.Dir(name), true, true)
	if err != nil {
		return "", err
	}
	if err := t.makeDirs(dir, e); err != nil {
		return "", err
	}
	return path.Join(dir, path.Base(name)), nil
}

func (t *Tree) makeDirs(dir string, like *Entry) error {
	if e, ok := t.entries[dir]; ok {
		if !e.IsDir() {
			return fmt.Errorf("%s above it is not a directory (from %s)", dir, e.Origin)
		}
		return nil
	}
	if err := t.makeDirs(path.Dir(dir), like); err != nil {
		return err
	}
	t.put(dir, Entry{Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: like.Header.ModTime}, Origin: like.Origin})
	return nil
}

// maxLinks is how many symbolic links one name may go through, as in Linux.
const maxLinks = 40

// resolve follows the symbolic links in name as if the tree were the root file
// system; parts that do not exist stay as they are. last says whether a link at
// the very end is followed too. With strict, a link that points above the root
// is an error and not the root.
func (t *Tree) resolve(name string, last, strict bool) (string, error) {
	cur, rest, links := ".", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if cur == "." && strict {
				return "", fmt.Errorf("%w: a symbolic link above it points outside the tree", ErrHostile)
			}
			cur = path.Dir(cur)
			continue
		}
		next := path.Join(cur, part)
		e := t.entries[next]
		if e == nil || e.Header.Typeflag != tar.TypeSymlink || len(rest) == 0 && !last {
			cur = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("resolve %s: too many symbolic links", name)
		}
		if strings.HasPrefix(e.Header.Linkname, "/") {
			cur = "."
		}
		rest = append(strings.Split(e.Header.Linkname, "/"), rest...)
	}
	return cur, nil
}

// Resolve follows all symbolic links in name, inside the tree.
func (t *Tree) Resolve(name string) (string, *Entry, error) {
	real, err := t.resolve(name, true, false)
	if err != nil {
		return "", nil, err
	}
	e, ok := t.entries[real]
	if !ok {
		return "", nil, &fs.PathError{Op: "resolve", Path: name, Err: fs.ErrNotExist}
	}
	return real, e, nil
}

// Remove takes an entry out, a directory with everything below it. Removing
// what is not there is no error.
func (t *Tree) Remove(name string) {
	name = path.Clean(name)
	if e, ok := t.entries[name]; !ok || name == "." {
		return
	} else if e.IsDir() {
		for below := range t.entries {
			if strings.HasPrefix(below, name+"/") {
				delete(t.entries, below)
			}
		}
	}
	delete(t.entries, name)
}

// Walk calls fn for each entry, sorted by name, so that directories come
// before what they contain. fn may remove entries; fs.SkipAll ends the walk.
func (t *Tree) Walk(fn func(name string, e *Entry) error) error {
	for _, name := range t.names() {
		e, ok := t.entries[name]
		if !ok {
			continue
		}
		if err := fn(name, e); errors.Is(err, fs.SkipAll) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// names is sorted, with the root first.
func (t *Tree) names() []string {
	names := make([]string, 0, len(t.entries))
	for name := range t.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	if i := slices.Index(names, "."); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, ".")
	}
	return names
}

// usrMerged are top-level directories that are links into usr on Debian.
var usrMerged = []string{"bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"}

// mergedName moves a name below a merged directory to usr.
func mergedName(name string, typeflag byte) string {
	top, _, below := strings.Cut(name, "/")
	if slices.Contains(usrMerged, top) && (below || typeflag == tar.TypeDir) {
		return "usr/" + name
	}
	return name
}

// MergeUsr adds the links bin -> usr/bin and so on for those directories of usr
// that exist. The package base-files has them too.
func (t *Tree) MergeUsr(mtime time.Time) {
	for _, top := range usrMerged {
		_, inUsr := t.entries["usr/"+top]
		if _, there := t.entries[top]; inUsr && !there {
			t.put(top, Entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: "usr/" + top, Mode: 0o777, ModTime: mtime}})
		}
	}
}

// WriteTar writes the tree in PAX format, sorted. Times after mtime become
// mtime, as SOURCE_DATE_EPOCH asks for, and owners are numbers only: the names
// would mean the host's users.
func (t *Tree) WriteTar(w io.Writer, mtime time.Time) error {
	tw := tar.NewWriter(w)
	first := map[uint64]string{}
	err := t.Walk(func(name string, e *Entry) error {
		h := tarHeader(name, e, mtime)
		if other, ok := first[e.Inode]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, other, 0
		} else if e.Inode != 0 {
			first[e.Inode] = name
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("write tar entry %s: %w", name, err)
		}
		if h.Typeflag != tar.TypeReg {
			return nil
		}
		if _, err := tw.Write(e.Data); err != nil {
			return fmt.Errorf("write tar entry %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

func tarHeader(name string, e *Entry, mtime time.Time) *tar.Header {
	h := &tar.Header{
		Typeflag: e.Header.Typeflag, Name: name, Linkname: e.Header.Linkname, Size: int64(len(e.Data)),
		Mode: e.Header.Mode & 0o7777, Uid: e.Header.Uid, Gid: e.Header.Gid, ModTime: e.Header.ModTime,
		Devmajor: e.Header.Devmajor, Devminor: e.Header.Devminor,
	}
	if h.ModTime.IsZero() || h.ModTime.After(mtime) {
		h.ModTime = mtime
	}
	if e.IsDir() {
		h.Name += "/"
	}
	for key, value := range e.Header.PAXRecords {
		if strings.HasPrefix(key, xattrPrefix) {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords[key] = value
		}
	}
	return h
}

// xattrPrefix starts the PAX records of extended attributes.
const xattrPrefix = "SCHILY.xattr."
