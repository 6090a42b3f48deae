package deb

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ulixz "github.com/ulikunitz/xz"
)

// testNow is when the test archive is read.
var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testArchive is a Debian archive made on the fly: a pool, one suite "test"
// (code name "tests"), signed with a key of its own.
type testArchive struct {
	t   testing.TB
	key *openpgp.Entity
	// release are extra or replaced fields of InRelease.
	release map[string]string
	signers []*openpgp.Entity

	mu    sync.Mutex
	files map[string][]byte
	gets  []string // "PATH RANGE"
	// hook may answer a request itself; it returns whether it did.
	hook func(w http.ResponseWriter, r *http.Request, content []byte) bool
}

func newKey(t testing.TB, name string) *openpgp.Entity {
	t.Helper()
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return testNow.AddDate(-1, 0, 0) }}
	key, err := openpgp.NewEntity(name, "", "test@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writeKeyring(t testing.TB, keys ...*openpgp.Entity) string {
	t.Helper()
	var b bytes.Buffer
	for _, k := range keys {
		if err := k.Serialize(&b); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "keyring.gpg")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// newTestArchive serves the paragraphs (without hashes) as packages. A
// paragraph may leave out Version (1.0) and Architecture (amd64).
func newTestArchive(t testing.TB, paragraphs ...string) *testArchive {
	a := &testArchive{t: t, key: newKey(t, "Archive"), files: map[string][]byte{}, release: map[string]string{}}
	a.signers = []*openpgp.Entity{a.key}
	var index strings.Builder
	for _, p := range paragraphs {
		control := completeControl(p)
		s := stanza(control)
		content := makeDeb(t, control, []tarFile{{name: "./"}, {name: "./usr/"}, {name: "./usr/share/"},
			{name: "./usr/share/" + s.get("Package"), data: strings.Repeat("content of "+s.get("Package")+"\n", 4000)}}, "gz")
		file := "pool/" + s.get("Package") + "_" + s.get("Version") + ".deb"
		a.files[file] = content
		fmt.Fprintf(&index, "%s\nFilename: %s\nSize: %d\nMD5sum: none\nSHA256: %x\n\n", control, file, len(content), sha256.Sum256(content))
	}
	a.setPackages(index.String())
	return a
}

func completeControl(p string) string {
	p = strings.TrimSpace(p)
	if !strings.Contains(p, "Version:") {
		p += "\nVersion: 1.0"
	}
	if !strings.Contains(p, "Architecture:") {
		p += "\nArchitecture: amd64"
	}
	return p
}

// setPackages replaces the index, and signs.
func (a *testArchive) setPackages(text string) {
	a.files["dists/test/main/binary-amd64/Packages"] = []byte(text)
	a.files["dists/test/main/binary-amd64/Packages.xz"] = compress(a.t, []byte(text), "xz")
	a.sign()
}

// sign writes InRelease for the files as they are.
func (a *testArchive) sign() {
	a.t.Helper()
	fields := [][2]string{
		{"Origin", "Test"}, {"Suite", "test"}, {"Codename", "tests"}, {"Date", testNow.AddDate(0, 0, -1).Format(time.RFC1123)},
		{"Acquire-By-Hash", "no"}, {"No-Support-for-Architecture-all", "Packages"}, {"Architectures", "all amd64 arm64"}, {"Components", "main contrib"},
		{"Valid-Until", testNow.AddDate(0, 0, 7).Format(time.RFC1123)},
	}
	var text strings.Builder
	for _, f := range fields {
		if v, ok := a.release[f[0]]; ok {
			f[1] = v
		}
		if f[1] != "" {
			fmt.Fprintf(&text, "%s: %s\n", f[0], f[1])
		}
	}
	text.WriteString("SHA256:\n")
	for _, name := range []string{"Packages", "Packages.xz"} {
		b, ok := a.files["dists/test/main/binary-amd64/"+name]
		if ok {
			fmt.Fprintf(&text, " %x %d main/binary-amd64/%s\n", sha256.Sum256(b), len(b), name)
		}
	}
	a.files["dists/test/InRelease"] = clearsigned(a.t, text.String(), a.signers...)
}

func clearsigned(t testing.TB, text string, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var private []*packet.PrivateKey
	for _, k := range keys {
		private = append(private, k.PrivateKey)
	}
	var b bytes.Buffer
	w, err := clearsign.EncodeMulti(&b, private, &packet.Config{Time: func() time.Time { return testNow.Add(-time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

// ServeHTTP implements http.Handler.
func (a *testArchive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/debian/")
	a.mu.Lock()
	content, ok := a.files[name]
	a.gets = append(a.gets, strings.TrimSpace(name+" "+r.Header.Get("Range")))
	hook := a.hook
	a.mu.Unlock()
	if hook != nil && hook(w, r, content) {
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func (a *testArchive) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.gets...)
}

func (a *testArchive) setHook(h func(w http.ResponseWriter, r *http.Request, content []byte) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hook = h
}

// config is what it takes to open the archive over HTTP, with an empty cache.
func (a *testArchive) config() Config {
	a.t.Helper()
	server := httptest.NewServer(a)
	a.t.Cleanup(server.Close)
	return Config{
		Mirror: server.URL + "/debian", Suite: "test", Arch: "amd64", CacheDir: a.t.TempDir(),
		Keyrings: []string{writeKeyring(a.t, a.key)}, Now: func() time.Time { return testNow },
		// A busy machine may be slow to answer itself: only what stalls on
		// purpose is given less.
		Retry: Retry{Stall: 20 * time.Second, Attempts: 3, Backoff: time.Millisecond},
	}
}

func (a *testArchive) open(cfg Config) *Archive {
	a.t.Helper()
	archive, err := Open(a.t.Context(), cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	return archive
}

func resolveAll(t testing.TB, a *Archive, names ...string) []Package {
	t.Helper()
	pkgs, err := a.Resolve(t.Context(), Request{Packages: names})
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}

// tarFile is an entry of a .deb. A name that ends in / is a directory.
type tarFile struct {
	name, data, link string
	kind             byte
	mode             int64
	uid, gid         int
	size             int64 // claimed, when not that of data
	pax              map[string]string
	major, minor     int64
}

func (f tarFile) header() *tar.Header {
	h := &tar.Header{
		Name: f.name, Typeflag: f.kind, Mode: f.mode, Uid: f.uid, Gid: f.gid, Size: int64(len(f.data)),
		Linkname: f.link, ModTime: time.Unix(1700000000, 0), PAXRecords: f.pax, Devmajor: f.major, Devminor: f.minor,
	}
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
	}
	if h.Mode == 0 {
		h.Mode = 0o644
		if h.Typeflag == tar.TypeDir {
			h.Mode = 0o755
		}
	}
	if f.size != 0 {
		h.Size = f.size
	}
	return h
}

// makeTar does not complain about entries that claim more than they have.
func makeTar(t testing.TB, files []tarFile) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, f := range files {
		var one bytes.Buffer
		w := tar.NewWriter(&one)
		if err := w.WriteHeader(f.header()); err != nil {
			t.Fatal(err)
		}
		b.Write(one.Bytes())
		b.WriteString(f.data)
		b.Write(make([]byte, -len(f.data)&511))
	}
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

func makeDeb(t testing.TB, control string, files []tarFile, compression string) []byte {
	t.Helper()
	ext := map[string]string{"gz": ".gz", "xz": ".xz", "zst": ".zst", "bz2": ".bz2", "": ""}[compression]
	return makeAr(
		arFile{"debian-binary", []byte("2.0\n")},
		arFile{"control.tar.gz", compress(t, makeTar(t, []tarFile{{name: "./"}, {name: "./control", data: control + "\n"}}), "gz")},
		arFile{"data.tar" + ext, compress(t, makeTar(t, files), compression)},
	)
}

type arFile struct {
	name string
	data []byte
}

func makeAr(files ...arFile) []byte {
	b := bytes.NewBufferString(arMagic)
	for _, f := range files {
		fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", f.name, 0, 0, 0, "100644", len(f.data))
		b.Write(f.data)
		if len(f.data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func compress(t testing.TB, b []byte, how string) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch how {
	case "":
		return b
	case "gz":
		w = gzip.NewWriter(&out)
	case "xz":
		w, err = ulixz.NewWriter(&out)
	case "zst":
		w, err = zstd.NewWriter(&out)
	default:
		t.Fatalf("no compressor for %s", how)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}
