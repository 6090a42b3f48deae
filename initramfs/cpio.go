package initramfs

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/u-root/mkuimage/cpio"
)

// File is one entry of an archive.
type File struct {
	// Path is relative to the root of the archive; a leading slash is dropped.
	Path string
	// Mode has the type and the permission bits, with setuid, setgid and
	// sticky. Regular files, directories, symbolic links, devices and named
	// pipes can be written; sockets cannot.
	Mode fs.FileMode
	UID  uint32
	GID  uint32
	// Link is the target of a symbolic link.
	Link string
	// Major and Minor number a device.
	Major, Minor uint32
	// Data is the content of a regular file, Size bytes long (< 4 GiB).
	Data io.ReaderAt
	Size int64
	// Origin says which part of the build the file comes from; see Entry.
	Origin string
}

// Regular is a file with content b.
func Regular(name string, perm fs.FileMode, b []byte) File {
	return File{Path: name, Mode: perm.Perm(), Data: bytes.NewReader(b), Size: int64(len(b))}
}

// Directory is an empty directory. Parents of other files need not be listed.
func Directory(name string, perm fs.FileMode) File {
	return File{Path: name, Mode: fs.ModeDir | perm}
}

// Symlink is a symbolic link at name that points to target.
func Symlink(name, target string) File {
	return File{Path: name, Mode: fs.ModeSymlink | 0o777, Link: target}
}

// CharDevice is a character device.
func CharDevice(name string, perm fs.FileMode, major, minor uint32) File {
	return File{Path: name, Mode: fs.ModeDevice | fs.ModeCharDevice | perm.Perm(), Major: major, Minor: minor}
}

// Limits of the kernel's unpacker (init/initramfs.c) and of the eight hex
// digits of a newc field.
const (
	maxPath = 4096 // PATH_MAX, with the terminating zero
	maxSize = math.MaxUint32
)

// segmentAlign is what the length of every segment is a multiple of. The
// kernel accepts an uncompressed archive only at a multiple of 4; 512 is what
// cpio(1) pads to.
const segmentAlign = 512

var alignment [segmentAlign]byte

// writeArchive writes files (sorted, parents added) as one newc archive with
// its trailer. It returns the files written.
func writeArchive(w io.Writer, files []File, t time.Time) ([]File, error) {
	mtime := t.Unix()
	if mtime < 0 || mtime > math.MaxUint32 {
		return nil, fmt.Errorf("time %s does not fit into an archive", t.UTC().Format(time.RFC3339))
	}
	files, err := arrange(files)
	if err != nil {
		return nil, err
	}
	out := cpio.Newc.Writer(w)
	for i, f := range files {
		rec, err := f.record()
		if err != nil {
			return nil, fmt.Errorf("archive %s: %w", f.Path, err)
		}
		rec.Ino, rec.MTime = uint64(i+1), uint64(mtime)
		if err := out.WriteRecord(rec); err != nil {
			return nil, fmt.Errorf("archive %s: %w", f.Path, err)
		}
	}
	if err := cpio.WriteTrailer(out); err != nil {
		return nil, fmt.Errorf("archive trailer: %w", err)
	}
	return files, nil
}

// arrange cleans the paths, adds missing parents (0755 root) and sorts, so
// that the kernel, which makes no parents of its own, finds them made.
func arrange(files []File) ([]File, error) {
	byPath := map[string]File{}
	for _, f := range files {
		name, err := cleanPath(f.Path)
		if err != nil {
			return nil, err
		}
		f.Path = name
		if _, ok := byPath[name]; ok {
			return nil, fmt.Errorf("archive %s: listed twice", name)
		}
		byPath[name] = f
	}
	for name := range byPath {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			parent, ok := byPath[dir]
			if ok && !parent.Mode.IsDir() {
				return nil, fmt.Errorf("archive %s: %s is not a directory", name, dir)
			}
			if !ok {
				byPath[dir] = Directory(dir, 0o755)
			}
		}
	}
	out := make([]File, 0, len(byPath))
	for _, f := range byPath {
		out = append(out, f)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out, nil
}

func cleanPath(name string) (string, error) {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	switch {
	case clean == "" || strings.Contains("/"+name+"/", "/../"):
		return "", fmt.Errorf("archive %q: not a path inside the archive", name)
	case clean == cpio.Trailer:
		return "", fmt.Errorf("archive %q: the name that ends an archive", name)
	case strings.ContainsRune(clean, 0):
		return "", fmt.Errorf("archive %q: zero byte in path", name)
	case len(clean)+1 > maxPath:
		return "", fmt.Errorf("archive %.40q...: path of %d bytes, limit is %d", name, len(clean), maxPath-1)
	}
	return clean, nil
}

// record translates f; inode and time are left to the caller.
func (f File) record() (cpio.Record, error) {
	info := cpio.Info{
		Name: f.Path, Mode: unixMode(f.Mode), NLink: 1,
		UID: uint64(f.UID), GID: uint64(f.GID),
	}
	switch f.Mode.Type() {
	case 0:
		if f.Size < 0 || f.Size > maxSize {
			return cpio.Record{}, fmt.Errorf("%d bytes do not fit into an archive", f.Size)
		}
		info.FileSize = uint64(f.Size)
		data := f.Data
		if data == nil {
			data = bytes.NewReader(nil)
		}
		return cpio.Record{Info: info, ReaderAt: io.NewSectionReader(data, 0, f.Size)}, nil
	case fs.ModeSymlink:
		if f.Link == "" || len(f.Link) >= maxPath {
			return cpio.Record{}, fmt.Errorf("link target of %d bytes", len(f.Link))
		}
		info.FileSize = uint64(len(f.Link))
		return cpio.Record{Info: info, ReaderAt: strings.NewReader(f.Link)}, nil
	case fs.ModeDir:
		info.NLink = 2
		return cpio.Record{Info: info}, nil
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		info.Rmajor, info.Rminor = uint64(f.Major), uint64(f.Minor)
		return cpio.Record{Info: info}, nil
	case fs.ModeNamedPipe:
		return cpio.Record{Info: info}, nil
	}
	return cpio.Record{}, fmt.Errorf("a file of type %s cannot be archived", f.Mode.Type())
}

// unixMode is the st_mode of m.
func unixMode(m fs.FileMode) uint64 {
	mode := uint64(m.Perm())
	for _, bit := range []struct {
		have fs.FileMode
		add  uint64
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&bit.have != 0 {
			mode |= bit.add
		}
	}
	switch m.Type() {
	case fs.ModeDir:
		return mode | cpio.S_IFDIR
	case fs.ModeSymlink:
		return mode | cpio.S_IFLNK
	case fs.ModeNamedPipe:
		return mode | cpio.S_IFIFO
	case fs.ModeDevice:
		return mode | cpio.S_IFBLK
	case fs.ModeDevice | fs.ModeCharDevice:
		return mode | cpio.S_IFCHR
	}
	return mode | cpio.S_IFREG
}

// counter counts what goes through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// align pads with zeros, which the kernel skips between archives.
func (c *counter) align() error {
	if over := c.n % segmentAlign; over != 0 {
		_, err := c.Write(alignment[over:])
		return err
	}
	return nil
}

// WriteSegment writes files as an uncompressed newc archive, to append to
// what Write (or another WriteSegment) has written: the kernel unpacks all of
// them, one over the other (buffer-format.rst). It is for what must stay
// apart from the reproducible part (the request, secrets) and for what is
// compressed already (the system erofs).
//
// Its length is a multiple of 512. Missing parents are added, as 0755.
func WriteSegment(w io.Writer, files []File, t time.Time) error {
	out := &counter{w: w}
	if _, err := writeArchive(out, files, t); err != nil {
		return err
	}
	return out.align()
}
