package deb

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var lockPackages = []string{
	"Package: hello\nVersion: 1:2.0\nDepends: greeting, libhello\nDescription: says hello\n and more\nPriority: optional",
	"Package: hi\nProvides: greeting", "Package: good-day\nProvides: greeting", "Package: libhello\nArchitecture: all", "Package: unrelated",
}

func TestLockRoundTripAndBuildFromIt(t *testing.T) {
	a := newTestArchive(t, lockPackages...)
	cfg := a.config()
	archive := a.open(cfg)
	pkgs := resolveAll(t, archive, "hello")
	var text bytes.Buffer
	if err := archive.Lock(append(pkgs, pkgs...)).Write(&text); err != nil {
		t.Fatal(err)
	}
	lock, err := ReadLock(bytes.NewReader(text.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := lock.Write(&again); err != nil || !bytes.Equal(again.Bytes(), text.Bytes()) {
		t.Errorf("%v, %s", err, cmp.Diff(text.String(), again.String()))
	}
	// The archive has moved on: newer packages, no InRelease that fits.
	a.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if strings.Contains(r.URL.Path, "/dists/") {
			t.Errorf("a build from a lock asked for %s", r.URL)
		}
		return false
	})
	locked := Config{Mirror: cfg.Mirror, CacheDir: t.TempDir(), Lock: lock}
	fromLock := a.open(locked)
	got := resolveAll(t, fromLock, "hello")
	if !slices.EqualFunc(got, pkgs, func(x, y Package) bool { return x.String() == y.String() && x.SHA256 == y.SHA256 }) {
		t.Errorf("got %v, want %v", got, pkgs)
	}
	if _, err := fromLock.Fetch(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	_, err = fromLock.Resolve(t.Context(), Request{Packages: []string{"unrelated"}})
	wantError(t, err, "unrelated cannot be had")
	// The same repository for mmdebstrap either way, byte for byte.
	var index [2][]byte
	for i, from := range []*Archive{archive, fromLock} {
		dir := t.TempDir()
		if err := from.LocalRepository(t.Context(), dir, resolveAll(t, from, "hello")); err != nil {
			t.Fatal(err)
		}
		if index[i], err = os.ReadFile(filepath.Join(dir, "Packages")); err != nil {
			t.Fatal(err)
		}
		// mmdebstrap knows the suite from Release alone.
		release, err := os.ReadFile(filepath.Join(dir, "Release"))
		if err != nil || !strings.Contains(string(release), "Codename: test\n") || !strings.Contains(string(release), hexSum(index[i])) {
			t.Errorf("Release: %v\n%s", err, release)
		}
	}
	if !bytes.Equal(index[0], index[1]) {
		t.Error(cmp.Diff(string(index[0]), string(index[1])))
	}
	if !strings.Contains(string(index[0]), "Description: says hello\n and more\n") {
		t.Errorf("a paragraph lost a field:\n%s", index[0])
	}
}

func TestLockOffline(t *testing.T) {
	a := newTestArchive(t, lockPackages...)
	cfg := a.config()
	archive := a.open(cfg)
	pkgs := resolveAll(t, archive, "hello")
	if _, err := archive.Fetch(t.Context(), pkgs); err != nil {
		t.Fatal(err)
	}
	offline := a.open(Config{CacheDir: cfg.CacheDir, Lock: archive.Lock(pkgs), Offline: true})
	if _, err := offline.Fetch(t.Context(), resolveAll(t, offline, "hello")); err != nil {
		t.Error(err)
	}
}

func TestLockForAnotherSuite(t *testing.T) {
	a := newTestArchive(t, lockPackages...)
	archive := a.open(a.config())
	for says, cfg := range map[string]Config{
		"for suite test": {Suite: "sid"}, "for architecture amd64": {Arch: "arm64"},
	} {
		cfg.Lock, cfg.Mirror, cfg.CacheDir = archive.Lock(nil), "http://127.0.0.1/", t.TempDir()
		_, err := Open(t.Context(), cfg)
		wantError(t, err, says)
	}
}

func TestReadLockRefuses(t *testing.T) {
	a := newTestArchive(t, lockPackages...)
	archive := a.open(a.config())
	good := archive.Lock(resolveAll(t, archive, "hello"))
	for says, spoil := range map[string]func(*Lock){
		"version 2":           func(l *Lock) { l.LockVersion = 2 },
		"not a suite name":    func(l *Lock) { l.Suite = "../x" },
		"architecture name":   func(l *Lock) { l.Arch = "" },
		"not a SHA-256":       func(l *Lock) { l.Packages[0].SHA256 = "abc" },
		"inRelease":           func(l *Lock) { l.InRelease = "abc" },
		"clean relative path": func(l *Lock) { l.Packages[0].Filename = "../../etc/shadow" },
		"out of range":        func(l *Lock) { l.Packages[0].Size = -1 },
		"not one line":        func(l *Lock) { l.Packages[0].Control = []string{"Depends: a\n\nPackage: evil"} },
		"not a field":         func(l *Lock) { l.Packages[0].Control = []string{"nonsense"} },
		"given twice":         func(l *Lock) { l.Packages[0].Control = []string{"sha256: 00"} },
		"listed twice":        func(l *Lock) { l.Packages[1] = l.Packages[0] },
		"for architecture":    func(l *Lock) { l.Packages[0].Arch = "sparc" },
		"not a package name":  func(l *Lock) { l.Packages[0].Name = "" },
		"start with digit":    func(l *Lock) { l.Packages[0].Version = "x" },
		"do not stay":         func(l *Lock) { l.Packages[0].Version = " 1.0" },
	} {
		var l Lock
		b, err := json.Marshal(good)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &l); err != nil {
			t.Fatal(err)
		}
		spoil(&l)
		if b, err = json.Marshal(l); err != nil {
			t.Fatal(err)
		}
		_, err = ReadLock(bytes.NewReader(b))
		wantError(t, err, says)
	}
	for in, says := range map[string]string{
		"": "EOF", "{": "EOF", "[]": "cannot unmarshal", `{"lockVersion":1,"mirror":"x"}`: "unknown field", `{"lockVersion":1,"suite":"a","arch":"b"} {}`: "after the end",
	} {
		_, err := ReadLock(strings.NewReader(in))
		wantError(t, err, says)
	}
}

func TestLocalRepositoryCopiesWhereItCannotLink(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from")
	if err := os.WriteFile(from, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/dev/shm", "vic-test-")
	if err != nil {
		t.Skipf("no second file system: %v", err)
	}
	defer os.RemoveAll(dir)
	for range 2 { // over an older file too
		if err := linkOrCopy(from, filepath.Join(dir, "to")); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "to")); err != nil || string(b) != "content" {
		t.Errorf("got %q, %v", b, err)
	}
}
