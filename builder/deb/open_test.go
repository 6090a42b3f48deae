package deb

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

func TestOpenGoodSignature(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	for _, suite := range []string{"test", "tests"} {
		if suite == "tests" { // the code name does as well
			for name, b := range a.files {
				a.files[strings.Replace(name, "dists/test/", "dists/tests/", 1)] = b
			}
		}
		cfg := a.config()
		cfg.Suite = suite
		pkgs := resolveAll(t, a.open(cfg), "hello")
		if len(pkgs) != 1 || pkgs[0].String() != "hello=1.0" {
			t.Errorf("%s: got %v", suite, pkgs)
		}
	}
}

func TestOpenArmouredKeyringAmongSeveralSignatures(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	a.signers = []*openpgp.Entity{newKey(t, "Someone else"), a.key}
	a.sign()
	cfg := a.config()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.key.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	cfg.Keyrings = []string{filepath.Join(t.TempDir(), "k.asc")}
	if err := os.WriteFile(cfg.Keyrings[0], b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	a.open(cfg)
}

func TestOpenRefusesBadSignatures(t *testing.T) {
	inRelease := "dists/test/InRelease"
	edit := func(from, to string) func(*testArchive) {
		return func(a *testArchive) {
			b := bytes.Replace(a.files[inRelease], []byte(from), []byte(to), 1)
			if bytes.Equal(b, a.files[inRelease]) {
				panic("the test changed nothing")
			}
			a.files[inRelease] = b
		}
	}
	tests := map[string]struct {
		spoil func(*testArchive)
		says  string
	}{
		"altered text":    {edit("Origin: Test", "Origin: Tess"), "signature"},
		"unsigned":        {func(a *testArchive) { a.files[inRelease] = []byte("Origin: Test\n") }, "not a clear-signed message"},
		"empty":           {func(a *testArchive) { a.files[inRelease] = nil }, "not a clear-signed message"},
		"text before":     {func(a *testArchive) { a.files[inRelease] = append([]byte("Suite: test\n"), a.files[inRelease]...) }, "not a clear-signed message"},
		"text after":      {func(a *testArchive) { a.files[inRelease] = append(a.files[inRelease], "Suite: evil\n"...) }, "unsigned text after"},
		"no signature":    {edit("-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP SIGNATURF-----"), "malformed"},
		"signed twice":    {func(a *testArchive) { a.files[inRelease] = append(a.files[inRelease], a.files[inRelease]...) }, "unsigned text after"},
		"header smuggled": {edit("Hash: SHA", "Origin: x\nHash: SHA"), "malformed"},
		"too large":       {func(a *testArchive) { a.files[inRelease] = bytes.Repeat([]byte{'x'}, maxInRelease+1) }, "more than"},
		"wrong key":       {func(a *testArchive) { a.signers = []*openpgp.Entity{newKey(a.t, "Mallory")}; a.sign() }, "by key"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestArchive(t, "Package: hello")
			test.spoil(a)
			_, err := Open(t.Context(), a.config())
			wantError(t, err, "InRelease", test.says)
			if !errors.Is(err, ErrSignature) && name != "too large" {
				t.Errorf("%v is not ErrSignature", err)
			}
		})
	}
}

func TestOpenRefusesRevokedAndExpiredKeys(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	cfg := a.config()
	cfg.Now = func() time.Time { return testNow }
	if err := a.key.RevokeKey(packet.KeyCompromised, "stolen", &packet.Config{Time: func() time.Time { return testNow.AddDate(0, -1, 0) }}); err != nil {
		t.Fatal(err)
	}
	cfg.Keyrings = []string{writeKeyring(t, a.key)}
	_, err := Open(t.Context(), cfg)
	wantError(t, err, "revoked")

	old := newTestArchive(t, "Package: hello")
	life := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: 3600, Time: func() time.Time { return testNow.Add(-2 * time.Hour) }}
	if old.key, err = openpgp.NewEntity("Old", "", "old@example.org", life); err != nil {
		t.Fatal(err)
	}
	old.signers = []*openpgp.Entity{old.key}
	old.sign()
	_, err = Open(t.Context(), old.config())
	wantError(t, err, "expired")
}

func TestOpenChecksRelease(t *testing.T) {
	tests := map[string]struct {
		field, value string
		says         string
	}{
		"expired":         {"Valid-Until", testNow.Add(-time.Minute).Format(time.RFC1123), "expired on"},
		"no such date":    {"Valid-Until", "soon", "Valid-Until"},
		"from the future": {"Date", testNow.AddDate(0, 0, 3).Format(time.RFC1123), "clock"},
		"other suite":     {"Suite", "other", ""},
		"no architecture": {"Architectures", "all arm64", "no architecture amd64"},
		"no component":    {"Components", "contrib", "no component main"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestArchive(t, "Package: hello")
			a.release[test.field] = test.value
			if test.field == "Suite" {
				a.release["Codename"], test.says = "others", `for suite "other"`
			}
			a.sign()
			_, err := Open(t.Context(), a.config())
			wantError(t, err, test.says)
			if (name == "expired") != errors.Is(err, ErrExpired) {
				t.Errorf("ErrExpired: %v", err)
			}
		})
	}
}

func TestOpenWithoutValidUntil(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	a.release["Valid-Until"] = ""
	a.sign()
	cfg := a.config()
	cfg.Now = func() time.Time { return testNow.AddDate(1, 0, 0) }
	a.open(cfg)
}

func TestOpenRefusesAlteredPackages(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	for _, name := range []string{"Packages", "Packages.xz"} {
		b := a.files["dists/test/main/binary-amd64/"+name]
		b[len(b)/2] ^= 1
	}
	cfg := a.config()
	_, err := Open(t.Context(), cfg)
	wantError(t, err, "Packages.xz", "hash")
	if !errors.Is(err, ErrHash) {
		t.Errorf("%v is not ErrHash", err)
	}
	assertNothingKept(t, cfg.CacheDir)
}

// assertNothingKept: what failed its check must not be in the cache.
func assertNothingKept(t *testing.T, dir string) {
	t.Helper()
	for _, pattern := range []string{"sha256/*/*", "partial/*"} {
		if found, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(found) > 0 {
			t.Errorf("the cache has %v (%v)", found, err)
		}
	}
}

func TestOpenByHash(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	a.release["Acquire-By-Hash"] = "yes"
	a.sign()
	packed := a.files["dists/test/main/binary-amd64/Packages.xz"]
	a.files["dists/test/main/binary-amd64/by-hash/SHA256/"+hexSum(packed)] = packed
	delete(a.files, "dists/test/main/binary-amd64/Packages.xz")
	resolveAll(t, a.open(a.config()), "hello")
}

func TestOpenOffline(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	cfg := a.config()
	offline := cfg
	offline.Offline = true
	_, err := Open(t.Context(), offline)
	if !errors.Is(err, ErrOffline) {
		t.Fatalf("empty cache: got %v", err)
	}
	archive := a.open(cfg)
	want, err := archive.Fetch(t.Context(), resolveAll(t, archive, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	a.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		t.Errorf("offline, and yet asked for %s", r.URL)
		return false
	})
	archive = a.open(offline)
	got, err := archive.Fetch(t.Context(), resolveAll(t, archive, "hello"))
	if err != nil || got[0] != want[0] {
		t.Fatalf("got %v, %v", got, err)
	}
	if err := os.Remove(got[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Fetch(t.Context(), resolveAll(t, archive, "hello")); !errors.Is(err, ErrOffline) {
		t.Errorf("lost .deb: got %v", err)
	}
}

func TestOpenReadsUnpackedIndexFromCache(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	cfg := a.config()
	a.open(cfg)
	before := len(a.requests())
	a.open(cfg)
	if got := a.requests()[before:]; len(got) != 1 || got[0] != "dists/test/InRelease" {
		t.Errorf("second Open asked for %v", got)
	}
}

func TestOpenRefusesConfig(t *testing.T) {
	good := Config{Mirror: "http://127.0.0.1/debian", Suite: "test", Arch: "amd64", CacheDir: t.TempDir()}
	for says, spoil := range map[string]func(*Config){
		"no mirror":             func(c *Config) { c.Mirror = "" },
		"not a suite name":      func(c *Config) { c.Suite = "../test" },
		"not an architecture":   func(c *Config) { c.Arch = "" },
		"not a component":       func(c *Config) { c.Components = []string{"main/../x"} },
		"no cache":              func(c *Config) { c.CacheDir = "" },
		"read keyring":          func(c *Config) { c.Keyrings = []string{"/nonexistent"} },
		"not http, https or fi": func(c *Config) { c.Mirror = "ftp://127.0.0.1/"; c.Keyrings = []string{writeKeyring(t, newKey(t, "x"))} },
	} {
		cfg := good
		spoil(&cfg)
		_, err := Open(t.Context(), cfg)
		wantError(t, err, says)
	}
}

func TestOpenFileMirror(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	dir := t.TempDir()
	for name, b := range a.files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	cfg := a.config()
	cfg.Mirror = "file://" + dir
	archive := a.open(cfg)
	if _, err := archive.Fetch(t.Context(), resolveAll(t, archive, "hello")); err != nil {
		t.Fatal(err)
	}
}

func TestErrorsHideThePassword(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	cfg := a.config()
	cfg.Mirror = strings.Replace(cfg.Mirror, "http://", "http://user:hunter2@", 1) + "/nowhere"
	_, err := Open(t.Context(), cfg)
	wantError(t, err, "404")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error has the password: %v", err)
	}
}
