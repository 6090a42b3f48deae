package deb

import (
	"archive/tar"
	"bytes"
	"io"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// FuzzExtract: whatever the bytes, names that reach the sink are clean, links
// lead to files seen before, and the claimed limit holds.
func FuzzExtract(f *testing.F) {
	for _, how := range []string{"", "gz", "zst"} {
		f.Add(makeDeb(f, plainControl, []tarFile{{name: "./usr/"}, {name: "./usr/a", data: "x"}, {name: "./usr/b", kind: tar.TypeLink, link: "./usr/a"},
			{name: "./usr/l", kind: tar.TypeSymlink, link: "../.."}}, how))
	}
	f.Add(makeDeb(f, plainControl, []tarFile{{name: "../evil"}}, ""))
	f.Add(makeAr(arFile{"debian-binary", []byte("2.0\n")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		seen := map[string]bool{}
		var total int64
		Extract(bytes.NewReader(b), int64(len(b)), func(h *tar.Header, r io.Reader) error {
			if h.Name != path.Clean(h.Name) || h.Name[0] == '/' || h.Name == ".." || strings.HasPrefix(h.Name, "../") {
				t.Errorf("name %q", h.Name)
			}
			if h.Typeflag == tar.TypeLink && !seen[h.Linkname] {
				t.Errorf("hard link to %q", h.Linkname)
			}
			seen[h.Name] = true
			n, err := io.Copy(io.Discard, r)
			if total += n; total > maxUnpacked {
				t.Errorf("%d bytes", total)
			}
			return err
		})
	})
}

// FuzzStanza: what check lets pass gives each field back, and reading does not
// depend on where a paragraph stands in the file.
func FuzzStanza(f *testing.F) {
	f.Add("Package: hello\nVersion: 1\nDescription: x\n more\n .\n\tmore\n")
	f.Add("A:\n\nB: 1\r\n\r\n")
	f.Add(" leading\nA: 1")
	f.Fuzz(func(t *testing.T, text string) {
		for s := range stanzas([]byte(text)) {
			if s.check() != nil {
				continue
			}
			n := 0
			for name, value := range s.fields() {
				if n++; s.get(name) != value {
					t.Errorf("field %q: %q and %q", name, value, s.get(name))
				}
			}
			again, err := oneStanza([]byte("\n" + string(s) + "\n\n"))
			if n > 0 && !strings.Contains(string(s), "\n\n") && (err != nil || again != s) {
				t.Errorf("%q became %q, %v", s, again, err)
			}
		}
	})
}

// FuzzPackages: an index is read or refused, and its packages are sound.
func FuzzPackages(f *testing.F) {
	f.Add("Package: hello\nVersion: 1:2-3\nArchitecture: amd64\nProvides: a (= 1), b\nFilename: pool/x.deb\nSize: 3\nSHA256: " + strings.Repeat("a", 64) + "\n")
	f.Add("Package: x\n\nPackage: y\nVersion: ~")
	f.Fuzz(func(t *testing.T, text string) {
		x := newIndex("amd64")
		if x.add([]byte(text)) != nil {
			return
		}
		x.finish()
		for _, list := range x.byName {
			p, err := list[0].toPackage()
			if err != nil {
				continue
			}
			if strings.HasPrefix(p.Filename, "/") || strings.Contains("/"+p.Filename+"/", "/../") || len(p.SHA256) != 64 || p.Size <= 0 || p.InstalledSize < 0 {
				t.Errorf("%+v", p)
			}
		}
	})
}

// FuzzInRelease: nothing but the whole, unaltered message is accepted.
func FuzzInRelease(f *testing.F) {
	key := newKey(f, "Fuzz")
	text := "Origin: Test\nSuite: test\nCodename: tests\nDate: Sat, 28 Feb 2026 12:00:00 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n " + strings.Repeat("0", 64) + " 1 main/binary-amd64/Packages\n"
	good := clearsigned(f, text, key)
	f.Add(good)
	f.Add([]byte(text))
	f.Add(append([]byte("x\n"), good...))
	f.Add(append(bytes.Clone(good), "x\n"...))
	f.Add(bytes.Replace(good, []byte("- "), nil, 1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := verifyClearsigned(raw, openpgp.EntityList{key}, testNow)
		if err == nil && strings.TrimRight(string(got), "\n") != strings.TrimRight(text, "\n") {
			t.Errorf("accepted %q", got)
		}
		parseRelease(raw, Config{Suite: "test", Arch: "amd64", Components: []string{"main"}, Now: func() time.Time { return testNow }})
	})
}

// FuzzLock: what is read is written, and read, the same.
func FuzzLock(f *testing.F) {
	f.Add(`{"lockVersion":1,"suite":"trixie","arch":"amd64","components":["main"],"packages":[{"name":"hello","version":"1","arch":"all","filename":"pool/h.deb","size":5,"sha256":"` + strings.Repeat("a", 64) + `","control":["Depends: libc6"]}]}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ReadLock(strings.NewReader(text))
		if err != nil {
			return
		}
		var one, two bytes.Buffer
		if err := l.Write(&one); err != nil {
			t.Fatalf("write what was read: %v", err)
		}
		again, err := ReadLock(bytes.NewReader(one.Bytes()))
		if err != nil {
			t.Fatalf("read what was written: %v", err)
		}
		if err := again.Write(&two); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%s\n%s\n%v", one.Bytes(), two.Bytes(), err)
		}
		if _, err := l.index(); err != nil {
			t.Errorf("no index of a valid lock: %v", err)
		}
	})
}

// FuzzDepends: what is read prints as something that reads the same.
func FuzzDepends(f *testing.F) {
	f.Add("libc6 (>= 2.39), a:any | b (<< 1:2-3~), c (= 1.0+b1)")
	f.Add("a (,b) | ,")
	f.Fuzz(func(t *testing.T, field string) {
		deps, err := parseDepends(field)
		if err != nil {
			return
		}
		for _, alts := range deps {
			again, err := parseDepends(alts.String())
			if err != nil || len(again) != 1 || again[0].String() != alts.String() {
				t.Errorf("%q: %v, %v", alts, again, err)
			}
		}
	})
}
