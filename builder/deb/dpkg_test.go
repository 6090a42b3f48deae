package deb

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// The versions are chosen to differ in one thing each: epoch, tilde, letters,
// leading zeros, missing revisions.
func TestCompareVersionsLikeDpkg(t *testing.T) {
	dpkg := tooltest.Need(t, "dpkg")
	versions := []string{"0", "00", "1", "1-0", "1-1", "1.0", "1.0-1", "1.0-1+b1", "1.0~", "1.0~~", "1.0~a", "1.0a", "1.0+", "1.10", "1.9", "1:0", "0:1", "1.0-01", "2:1.0~rc1-1~deb13u1", "1.0.0", "1a1", "1a01", "1.2.3-4.5"}
	ops := []string{"<<", "<=", "=", ">=", ">>"}
	if testing.Short() {
		versions = versions[:9]
	}
	for i, a := range versions {
		for _, b := range versions[i:] {
			va, errA := parseVersion(a)
			vb, errB := parseVersion(b)
			if err := errors.Join(errA, errB); err != nil {
				t.Fatal(err)
			}
			for _, op := range ops[1:4] { // the other two follow
				_, err := dpkg.Run(t.Context(), tool.Cmd{Name: "dpkg", Args: []string{"--compare-versions", a, op, b}})
				var te *tool.Error
				if err != nil && (!errors.As(err, &te) || te.Exit != 1) {
					t.Fatal(err)
				}
				if got, want := (relation{op: op, ver: vb}).allows(va), err == nil; got != want {
					t.Errorf("%s %s %s: got %v, dpkg says %v", a, op, b, got, want)
				}
			}
		}
	}
}

var richFiles = []tarFile{
	{name: "./"}, {name: "./usr/"}, {name: "./usr/bin/"}, {name: "./usr/bin/prog", data: "#!/bin/sh\n", mode: 0o4755},
	{name: "./usr/bin/again", kind: tar.TypeLink, link: "./usr/bin/prog", mode: 0o4755}, {name: "./usr/bin/soft", kind: tar.TypeSymlink, link: "prog", mode: 0o777},
	{name: "./usr/share/", mode: 0o2775, gid: 50}, {name: "./usr/share/empty", uid: 1, gid: 2}, {name: "./usr/share/" + strings.Repeat("n", 150), data: "long name"},
	{name: "./usr/share/ümläut", data: "utf-8"},
}

// describe lists what matters of a tar, sorted. Names of one file are described
// alike: which of them comes first in the tar does not matter.
func describe(t *testing.T, r io.Reader) string {
	t.Helper()
	what := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		name, link := path.Clean(h.Name), path.Clean(h.Linkname)
		if h.Typeflag == tar.TypeLink {
			what[name] = what[link]
			continue
		}
		what[name] = fmt.Sprintf("%c %o %d/%d %d %q %d,%d %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.Linkname, h.Devmajor, h.Devminor, hexSum(b)[:8])
	}
	delete(what, ".") // the tree's root is its own
	var lines []string
	for name, w := range what {
		lines = append(lines, name+" "+w)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func TestTreeIsWhatDpkgDebUnpacks(t *testing.T) {
	dpkg := tooltest.Need(t, "dpkg-deb")
	for _, how := range []string{"gz", "xz", "zst", ""} {
		file := filepath.Join(t.TempDir(), "rich.deb")
		deb := makeDeb(t, completeControl("Package: rich\nMaintainer: x <x@example.org>\nDescription: x"), richFiles, how)
		if err := os.WriteFile(file, deb, 0o644); err != nil {
			t.Fatal(err)
		}
		compareWithDpkgDeb(t, dpkg, file)
	}
}

func compareWithDpkgDeb(t *testing.T, dpkg tool.Runner, file string) {
	t.Helper()
	out, err := dpkg.Run(t.Context(), tool.Cmd{Name: "dpkg-deb", Args: []string{"--fsys-tarfile", file}})
	if err != nil {
		t.Fatal(err)
	}
	tree := NewTree()
	if err := tree.AddDeb(file, "rich", nil); err != nil {
		t.Fatal(err)
	}
	var ours bytes.Buffer
	if err := tree.WriteTar(&ours, time.Now()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(describe(t, bytes.NewReader(out.Stdout)), describe(t, &ours)); diff != "" {
		t.Errorf("%s: dpkg-deb and vic differ:\n%s", file, diff)
	}
}

// dpkg's own unpacking, with the same rules as options.
func TestTrimIsWhatDpkgLeavesOut(t *testing.T) {
	dpkg := tooltest.Need(t, "dpkg")
	tooltest.Root(t)
	files := []tarFile{{name: "./"}, {name: "./usr/"}, {name: "./usr/share/"}, {name: "./usr/share/doc/"}, {name: "./usr/share/doc/x/"},
		{name: "./usr/share/doc/x/README", data: "r"}, {name: "./usr/share/doc/x/copyright", data: "c"}, {name: "./usr/share/doc/y", kind: tar.TypeSymlink, link: "x"},
		{name: "./usr/share/man/"}, {name: "./usr/share/man/man1/"}, {name: "./usr/share/man/man1/x.1.gz", data: "m"}, {name: "./usr/share/man/l", kind: tar.TypeSymlink, link: "man1"},
		{name: "./usr/share/locale/"}, {name: "./usr/share/locale/de/"}, {name: "./usr/share/locale/de/x.mo", data: "d"}, {name: "./usr/share/locale/locale.alias", data: "a"},
		{name: "./usr/share/locales", data: "not a locale"}, {name: "./usr/[x]", data: "glob"},
	}
	control := completeControl("Package: trimmed\nMaintainer: x <x@example.org>\nDescription: x")
	file := writeDeb(t, control, files)
	for _, text := range []string{
		"exclude /usr/share/doc/*\ninclude /usr/share/doc/*/copyright\nexclude /usr/share/man/*",
		"exclude /usr/share/locale/*\ninclude /usr/share/locale/locale.alias",
		"exclude /usr/share/*\ninclude /usr/share/man/*\nexclude /usr/share/man/man1/*",
		"exclude /usr/share/*\ninclude /usr/sh[a]re/doc/x*\nexclude /usr/share/doc/?\nexclude /usr/\\[x]",
	} {
		rules, err := ParseTrim(text)
		if err != nil {
			t.Fatal(err)
		}
		root := t.TempDir()
		args := []string{"--root=" + root, "--force-not-root", "--force-script-chrootless"}
		for _, opt := range rules.DpkgOptions() {
			args = append(args, "--"+opt)
		}
		args = append(args, "--unpack", file)
		for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates"} {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := dpkg.Run(t.Context(), tool.Cmd{Name: "dpkg", Args: args}); err != nil {
			t.Fatal(err)
		}
		tree := NewTree()
		if err := tree.AddDeb(file, "trimmed", rules); err != nil {
			t.Fatal(err)
		}
		if got, want := listing(tree), listFiles(t, root); got != want {
			t.Errorf("%s:\nvic  %s\ndpkg %s", text, got, want)
		}
	}
}

func listFiles(t *testing.T, root string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		if rel == "var" {
			return filepath.SkipDir
		}
		names = append(names, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(names[1:])
	return strings.Join(names, " ")
}
