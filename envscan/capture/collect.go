package capture

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Entry is a file of a captured tree.
type Entry struct {
	Path    string // below the root, without a slash in front
	Mode    fs.FileMode
	Target  string // of a link
	Content []byte // of a regular file
}

// maxFile bounds what is read of a file: modules.alias of a distribution's
// kernel has 2 MB.
const maxFile = 64 << 20

// Collect reads files below root: those of paths, the names of everything in
// directories among them, and links on the way. Paths elsewhere are left out.
//
//   - A file that cannot be read, and a disk, become a directory: reading it
//     fails in the tree too, so that its facts are a gap and not null.
//   - Other devices become empty files: they are there.
//   - /proc/self is a directory, and that of this program. Of the environment of
//     process 1 there is only what tells a container.
func Collect(root string, paths []string) ([]Entry, error) {
	c := collector{root: filepath.Clean(root), entries: map[string]Entry{}}
	for _, p := range paths {
		rel, err := filepath.Rel(c.root, p)
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") || "/"+rel == os.DevNull {
			continue
		}
		if err := c.add(rel, 0); err != nil {
			return nil, fmt.Errorf("capture %s: %w", p, err)
		}
	}
	var list []Entry
	for _, e := range c.entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

type collector struct {
	root    string
	entries map[string]Entry
}

// maxLinks is how many links may lead to one file, as in path_resolution(7).
const maxLinks = 40

// add reads what is at a path, by way of every link.
func (c *collector) add(rel string, links int) error {
	if links > maxLinks {
		return errors.New("too many links")
	}
	names := strings.Split(rel, "/")
	for i := range names {
		at := path.Join(names[:i+1]...)
		st, err := os.Lstat(filepath.Join(c.root, at))
		if err != nil {
			return nil // what is not there has no facts
		}
		if st.Mode()&fs.ModeSymlink != 0 && at != "proc/self" {
			return c.follow(at, path.Join(names[i+1:]...), links)
		}
		if i < len(names)-1 {
			c.directory(at)
			continue
		}
		return c.last(at, st)
	}
	return nil
}

func (c *collector) directory(at string) {
	if _, known := c.entries[at]; !known && at != "." {
		c.entries[at] = Entry{Path: at, Mode: fs.ModeDir}
	}
}

// follow goes on behind a link. One that leads out of the tree ends there.
func (c *collector) follow(at, rest string, links int) error {
	target, err := os.Readlink(filepath.Join(c.root, at))
	if err != nil {
		return nil // it has gone
	}
	c.entries[at] = Entry{Path: at, Mode: fs.ModeSymlink, Target: target}
	to := path.Join(path.Dir(at), target, rest)
	if path.IsAbs(target) {
		to = strings.TrimPrefix(path.Join(target, rest), "/")
	}
	if to == ".." || strings.HasPrefix(to, "../") || to == "" {
		return nil
	}
	return c.add(to, links+1)
}

func (c *collector) last(at string, st fs.FileInfo) error {
	full := filepath.Join(c.root, at)
	switch m := st.Mode(); {
	case m.IsRegular():
		c.file(at, full)
	case m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0:
		c.entries[at] = Entry{Path: at, Mode: fs.ModeDir}
	case m.IsDir() || at == "proc/self":
		c.directory(at)
		return c.names(at, full)
	default:
		c.entries[at] = Entry{Path: at}
	}
	return nil
}

func (c *collector) file(at, full string) {
	e := Entry{Path: at}
	content, err := read(full)
	if err != nil {
		e.Mode = fs.ModeDir
	}
	if e.Content = content; at == "proc/1/environ" {
		e.Content = marks(content)
	}
	c.entries[at] = e
}

// marks keeps the variables by which container managers make themselves known.
// Others may be passwords of what runs there.
func marks(environ []byte) []byte {
	var kept []string
	for _, v := range strings.Split(string(environ), "\x00") {
		if strings.HasPrefix(v, "container=") || strings.HasPrefix(v, "container_") {
			kept = append(kept, v)
		}
	}
	return []byte(strings.Join(kept, "\x00"))
}

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("read %s: it has more than %d bytes", file, maxFile)
	}
	return b, err
}

// names adds what is in a directory, as far as its list tells.
func (c *collector) names(at, full string) error {
	list, err := os.ReadDir(full)
	if err != nil {
		return nil // the scan could not list it either
	}
	for _, d := range list {
		in := path.Join(at, d.Name())
		if _, known := c.entries[in]; known || at == "proc" && strings.Trim(d.Name(), "0123456789") == "" {
			continue // of processes there is what was looked at
		}
		switch m := d.Type(); {
		case in == "proc/self":
			c.directory(in)
		case m&fs.ModeSymlink != 0:
			target, err := os.Readlink(filepath.Join(full, d.Name()))
			if err != nil {
				continue
			}
			c.entries[in] = Entry{Path: in, Mode: fs.ModeSymlink, Target: target}
		case m.IsDir() || m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0:
			c.entries[in] = Entry{Path: in, Mode: fs.ModeDir}
		default:
			c.entries[in] = Entry{Path: in}
		}
	}
	return nil
}
