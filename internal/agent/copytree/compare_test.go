package copytree_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// node is all that a copy has to preserve of one name.
type node struct {
	Mode     uint32
	UID, GID uint32
	Rdev     uint64
	Size     int64 // of anything but a directory
	Mtime    unix.Timespec
	Link     string            // symlink target
	SHA256   string            // content
	Data     string            // the ranges that are no hole
	Xattrs   map[string]string // name -> value
	SameAs   string            // the first name of the same file
}

// snapshot describes the tree at root, except lost+found.
func snapshot(t *testing.T, root string) map[string]node {
	t.Helper()
	tree, first := map[string]node{}, map[uint64]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if rel == "lost+found" {
			return fs.SkipDir
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		n := node{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Rdev: uint64(st.Rdev), Mtime: st.Mtim, Xattrs: xattrs(t, p)}
		if !d.IsDir() {
			n.Size = st.Size
			if _, ok := first[st.Ino]; !ok {
				first[st.Ino] = rel
			}
			n.SameAs = first[st.Ino]
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			n.Link, err = os.Readlink(p)
		case unix.S_IFREG:
			n.SHA256, n.Data, err = content(p)
		}
		tree[rel] = n
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func xattrs(t *testing.T, p string) map[string]string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(p, buf)
	if err != nil {
		t.Fatalf("list attributes of %s: %v", p, err)
	}
	m := map[string]string{}
	for _, name := range strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 }) {
		n, err := unix.Lgetxattr(p, name, buf)
		if err != nil {
			t.Fatalf("read attribute %s of %s: %v", name, p, err)
		}
		m[name] = fmt.Sprintf("%x", buf[:n])
	}
	return m
}

func content(p string) (sum, data string, err error) {
	f, err := os.Open(p)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", "", err
	}
	var ranges bytes.Buffer
	for end := int64(0); ; {
		start, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return fmt.Sprintf("%x", h.Sum(nil)), ranges.String(), nil
		}
		if err != nil {
			return "", "", err
		}
		if end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE); err != nil {
			return "", "", err
		}
		fmt.Fprintf(&ranges, "%d-%d ", start, end)
	}
}

// requireSame fails the test at every difference between two trees.
func requireSame(t *testing.T, src, dst string) {
	t.Helper()
	want, got := snapshot(t, src), snapshot(t, dst)
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[p]; !ok {
			t.Errorf("%s: missing", p)
		} else if d := cmp.Diff(want[p], g); d != "" {
			t.Errorf("%s: (-source +copy)\n%s", p, d)
		}
		delete(got, p)
	}
	for p := range got {
		t.Errorf("%s: not in the source", p)
	}
}
