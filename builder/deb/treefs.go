package deb

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"path"
	"sort"
	"time"
)

// FS is a read view of the tree as it is now. Symbolic links are followed
// inside the tree; it implements fs.ReadLinkFS too.
func (t *Tree) FS() fs.FS {
	f := treeFS{t: &Tree{entries: make(map[string]*Entry, len(t.entries))}, kids: map[string][]string{}}
	for _, name := range t.names() {
		f.t.entries[name] = t.entries[name]
		if name != "." {
			dir := path.Dir(name)
			f.kids[dir] = append(f.kids[dir], path.Base(name))
		}
	}
	return f
}

type treeFS struct {
	t    *Tree
	kids map[string][]string
}

func (f treeFS) find(op, name string, follow bool) (string, *Entry, error) {
	if !fs.ValidPath(name) {
		return "", nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	real, err := f.t.resolve(name, follow, false)
	if err != nil {
		return "", nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	e, ok := f.t.entries[real]
	if !ok {
		return "", nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return real, e, nil
}

// Open implements fs.FS.
func (f treeFS) Open(name string) (fs.File, error) {
	real, e, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	info := entryInfo{path.Base(name), e}
	if e.IsDir() {
		return &openDir{info: info, list: f.list(real)}, nil
	}
	return &openFile{info: info, Reader: bytes.NewReader(e.Data)}, nil
}

// Stat implements fs.StatFS.
func (f treeFS) Stat(name string) (fs.FileInfo, error) {
	_, e, err := f.find("stat", name, true)
	return entryInfo{path.Base(name), e}, err
}

// Lstat implements fs.ReadLinkFS.
func (f treeFS) Lstat(name string) (fs.FileInfo, error) {
	_, e, err := f.find("lstat", name, false)
	return entryInfo{path.Base(name), e}, err
}

// ReadLink implements fs.ReadLinkFS.
func (f treeFS) ReadLink(name string) (string, error) {
	_, e, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if e.Header.Typeflag != tar.TypeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return e.Header.Linkname, nil
}

// ReadFile implements fs.ReadFileFS.
func (f treeFS) ReadFile(name string) ([]byte, error) {
	_, e, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	if e.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	return bytes.Clone(e.Data), nil
}

func (f treeFS) list(dir string) []fs.DirEntry {
	kids := f.kids[dir]
	sort.Strings(kids)
	list := make([]fs.DirEntry, len(kids))
	for i, name := range kids {
		list[i] = fs.FileInfoToDirEntry(entryInfo{name, f.t.entries[path.Join(dir, name)]})
	}
	return list
}

// entryInfo is an fs.FileInfo; Sys is the *Entry.
type entryInfo struct {
	name string
	e    *Entry
}

func (i entryInfo) Name() string       { return i.name }
func (i entryInfo) Size() int64        { return int64(len(i.e.Data)) }
func (i entryInfo) Mode() fs.FileMode  { return i.e.Header.FileInfo().Mode() }
func (i entryInfo) ModTime() time.Time { return i.e.Header.ModTime }
func (i entryInfo) IsDir() bool        { return i.e.IsDir() }
func (i entryInfo) Sys() any           { return i.e }

type openFile struct {
	info entryInfo
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info entryInfo
	list []fs.DirEntry
	at   int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: fs.ErrInvalid}
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := d.list[d.at:]
	if n > 0 && len(rest) == 0 {
		return nil, io.EOF
	}
	if n > 0 && len(rest) > n {
		rest = rest[:n]
	}
	d.at += len(rest)
	return rest, nil
}
