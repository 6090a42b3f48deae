package diskimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var epoch = time.Unix(1_735_689_600, 0)

// sample is an entry of a tar: a file with content, a link, a folder.
type sample struct {
	name, content string
	kind          byte
	mode          int64
}

func testTree(t *testing.T, list ...sample) *tree {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "tree.tar"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w := tar.NewWriter(f)
	for _, s := range list {
		h := &tar.Header{Name: "./" + s.name, Typeflag: s.kind, Mode: s.mode, ModTime: epoch}
		switch s.kind {
		case tar.TypeReg:
			h.Size = int64(len(s.content))
		case tar.TypeLink, tar.TypeSymlink:
			h.Linkname = s.content
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, s.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tr := newTree(f, epoch)
	if err := tr.index(); err != nil {
		t.Fatal(err)
	}
	return tr
}

func folders(names ...string) (list []sample) {
	for _, n := range names {
		list = append(list, sample{n, "", tar.TypeDir, 0o755})
	}
	return list
}

func file(name, content string) sample { return sample{name, content, tar.TypeReg, 0o644} }

func (t *tree) text(test *testing.T, name string) string {
	test.Helper()
	b, err := t.read(name)
	if err != nil {
		test.Fatal(err)
	}
	return string(b)
}

func TestLinksStayInside(t *testing.T) {
	tr := testTree(t, append(folders("", "usr", "usr/lib", "etc"),
		sample{"lib", "usr/lib", tar.TypeSymlink, 0o777},
		sample{"usr/up", "../../../../etc", tar.TypeSymlink, 0o777},
		sample{"etc/abs", "/lib/x", tar.TypeSymlink, 0o777},
		sample{"loop", "loop", tar.TypeSymlink, 0o777},
		file("usr/lib/x", "there"))...)
	for _, path := range []string{"/usr/lib/x", "/lib/x", "/etc/abs", "/usr/up/abs", "/lib/../lib/x"} {
		if got := tr.text(t, path); got != "there" {
			t.Errorf("%s has %q", path, got)
		}
	}
	if err := tr.put("/lib/new/y", owner{mode: 0o600}, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if tr.entries["usr/lib/new/y"] == nil || tr.entries["usr/lib/new"].Mode != 0o755 {
		t.Error("the file is not where the link leads")
	}
	if err := tr.put("/etc/abs", owner{mode: 0o600}, []byte("own")); err != nil || tr.text(t, "/usr/lib/x") != "there" || tr.entries["etc/abs"].Typeflag != tar.TypeReg {
		t.Errorf("a link is not replaced but followed: %v", err)
	}
	for _, path := range []string{"/loop/x", "/loop"} {
		if _, err := tr.follow(path, true); !errors.Is(err, errLoop) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	for _, path := range []string{"/etc", "/"} {
		if err := tr.put(path, owner{}, nil); err == nil || !strings.Contains(err.Error(), "is a directory") {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if err := tr.put("/usr/lib/x/below", owner{}, nil); err == nil || !strings.Contains(err.Error(), "there is a file") {
		t.Errorf("got %v", err)
	}
}

// Hard links keep their content when one of the names is replaced, and come after
// what they are links to.
func TestHardLinks(t *testing.T) {
	tr := testTree(t, append(folders("", "bin"), file("bin/z", "shared"),
		sample{"bin/a", "./bin/z", tar.TypeLink, 0o644}, sample{"bin/b", "bin/z", tar.TypeLink, 0o644})...)
	if got := tr.text(t, "/bin/a"); got != "shared" {
		t.Errorf("a link has %q", got)
	}
	if err := tr.put("/bin/z", owner{mode: 0o755}, []byte("other")); err != nil {
		t.Fatal(err)
	}
	if a, b, z := tr.text(t, "/bin/a"), tr.text(t, "/bin/b"), tr.text(t, "/bin/z"); a != "shared" || b != "shared" || z != "other" {
		t.Errorf("got %q, %q, %q", a, b, z)
	}
	if e := tr.entries["bin/b"]; e.Typeflag != tar.TypeLink || e.Linkname != "bin/a" {
		t.Errorf("the other link leads to %q", e.Linkname)
	}
	var out bytes.Buffer
	if err := tr.writeTar(&out, "", tr.below("")); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, &out); got != "./ ./bin/ ./bin/a ./bin/z ./bin/b=./bin/a" {
		t.Errorf("the tar has %s", got)
	}
	out.Reset()
	tr.entries["elsewhere"] = &entry{Header: tar.Header{Typeflag: tar.TypeReg}, own: true}
	tr.entries["bin/b"].Linkname = "elsewhere"
	if err := tr.writeTar(&out, "bin", tr.below("bin")); err == nil || !strings.Contains(err.Error(), "/bin/b: it is a hard link to /elsewhere, which is on another file system") {
		t.Errorf("got %v", err)
	}
}

func listing(t *testing.T, r io.Reader) string {
	t.Helper()
	var names []string
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(names, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name
		if h.Linkname != "" {
			name += "=" + h.Linkname
		}
		names = append(names, name)
	}
}

// A tar in which nothing is changed comes out as it went in: owners, modes,
// extended attributes, devices.
func TestTarIsKept(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "in.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	want := []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
		{Name: "./ping", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Gid: 8, Size: 3, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00"}},
		{Name: "./" + strings.Repeat("long/", 40) + "name", Typeflag: tar.TypeReg, Size: 3},
	}
	for _, h := range want {
		h.ModTime, h.Format = epoch, tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, "abc")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tr := newTree(f, epoch)
	if err := tr.index(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := tr.writeTar(&out, "", tr.below("")); err != nil {
		t.Fatal(err)
	}
	in := tar.NewReader(&out)
	got := map[string]*tar.Header{}
	for h, err := in.Next(); err == nil; h, err = in.Next() {
		got[h.Name] = h
	}
	for _, h := range want {
		g := got[h.Name]
		if g == nil || g.Mode != h.Mode || g.Uid != h.Uid || g.Gid != h.Gid || g.Devminor != h.Devminor || g.Size != h.Size ||
			g.PAXRecords["SCHILY.xattr.security.capability"] != h.PAXRecords["SCHILY.xattr.security.capability"] || !g.ModTime.Equal(epoch) {
			t.Errorf("%s became %+v", h.Name, g)
		}
	}
}

func TestDamagedTar(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "in.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString(strings.Repeat("no tar", 1000))
	if err := newTree(f, epoch).index(); err == nil || !strings.Contains(err.Error(), "read root tar") {
		t.Errorf("got %v", err)
	}
}
