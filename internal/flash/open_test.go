package flash

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// readAll reads an image as the stream does.
func readAll(t *testing.T, i Image) ([]byte, error) {
	t.Helper()
	defer i.Close()
	var all []byte
	for off := int64(0); ; {
		next, err := i.NextData(off)
		if err != nil {
			return all, err
		}
		all = append(all, make([]byte, next-off)...)
		off = next
		b := make([]byte, 1<<20)
		n, err := i.Read(b, off)
		all, off = append(all, b[:n]...), off+int64(n)
		if errors.Is(err, io.EOF) {
			return all, i.Check()
		}
		if err != nil {
			return all, err
		}
	}
}

// packed makes files of the same image in every format, with the real programs.
func packed(t *testing.T, image []byte) map[string]string {
	t.Helper()
	run := tooltest.Need(t, "gzip", "xz", "zstd", "qemu-img")
	raw := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(raw, image, 0o600); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"raw": raw}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"gzip", []string{"-k", "-1", raw}}, {"xz", []string{"-k", "-0", raw}}, {"zstd", []string{"-q", raw}},
		{"qemu-img", []string{"convert", "-f", "raw", "-O", "qcow2", raw, raw + ".qcow2"}},
		{"qemu-img", []string{"convert", "-c", "-f", "raw", "-O", "qcow2", raw, raw + ".packed"}},
	} {
		if _, err := run.Run(t.Context(), tool.Cmd{Name: c.name, Args: c.args}); err != nil {
			t.Fatal(err)
		}
	}
	for _, ext := range []string{"gz", "xz", "zst", "qcow2", "packed"} {
		files[ext] = raw + "." + ext
	}
	return files
}

func hashOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("#sha256=%x", sha256.Sum256(b))
}

// Every format gives the image back; with a hash that is wrong, or cut off, it
// is an error.
func TestFormats(t *testing.T) {
	image := mbrImage(t, 10<<20+512)
	for name, path := range packed(t, image) {
		t.Run(name, func(t *testing.T) {
			for _, suffix := range []string{"", hashOf(t, path)} {
				i, err := Open(t.Context(), Source{Path: path + suffix})
				if err != nil {
					t.Fatal(err)
				}
				if got, err := readAll(t, i); err != nil || !bytes.Equal(got, image) {
					t.Errorf("%q: %d bytes, %v", suffix, len(got), err)
				}
			}
			wrong := path + "#sha256=" + strings.Repeat("0", 64)
			i, err := Open(t.Context(), Source{Path: wrong})
			if err == nil {
				_, err = readAll(t, i)
			}
			if !errors.Is(err, ErrWrongImage) {
				t.Errorf("a wrong hash: %v", err)
			}
			if name == "raw" {
				return
			}
			if err := os.Truncate(path, fileSize(t, path)/2); err != nil {
				t.Fatal(err)
			}
			if i, err = Open(t.Context(), Source{Path: path}); err == nil {
				_, err = readAll(t, i)
			}
			if err == nil {
				t.Error("a file that is cut off is taken")
			}
		})
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// Holes of files are seen, so that they need not be read.
func TestHolesOfFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("x"), 32<<20)
	if err := errors.Join(err, f.Truncate(64<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	run := tooltest.Need(t, "qemu-img")
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "qemu-img", Args: []string{"convert", "-f", "raw", "-O", "qcow2", path, path + ".qcow2"}}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + ".qcow2"} {
		i, err := Open(t.Context(), Source{Path: p})
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct{ off, least, most int64 }{{0, 31 << 20, 32 << 20}, {34 << 20, 64 << 20, 64 << 20}, {64 << 20, 64 << 20, 64 << 20}} {
			if got, err := i.NextData(tt.off); err != nil || got < tt.least || got > tt.most {
				t.Errorf("%s: after %d there are data at %d, %v", p, tt.off, got, err)
			}
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A qcow2 may name any file of this machine as what it is based on.
func TestBackedQcow2(t *testing.T) {
	run := tooltest.Need(t, "qemu-img")
	dir := t.TempDir()
	base := filepath.Join(dir, "base")
	if err := errors.Join(os.WriteFile(base, []byte("secret"), 0o600), os.Truncate(base, 1<<20)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "top.qcow2")
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "qemu-img", Args: []string{"create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", path}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Source{Path: path}); !errors.Is(err, ErrBacked) {
		t.Error(err)
	}
}

// server breaks the connection every so many bytes.
func server(t *testing.T, file string, every int64, ranges bool) (url string, requests *atomic.Int64) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("ETag", `"1"`)
		if !ranges {
			r.Header.Del("Range")
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			if _, err := io.Copy(w, io.LimitReader(bytes.NewReader(b), every*requests.Load())); err != nil {
				return
			}
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(&brittle{w, every}, r, "", time.Time{}, bytes.NewReader(b))
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

type brittle struct {
	http.ResponseWriter
	left int64
}

func (b *brittle) Write(p []byte) (int, error) {
	if b.left <= 0 {
		panic(http.ErrAbortHandler)
	}
	b.left -= int64(len(p))
	return b.ResponseWriter.Write(p)
}

// A download that breaks is taken up again where it was, and its hash is that of
// the whole.
func TestDownload(t *testing.T) {
	if testing.Short() {
		t.Skip("waits between tries")
	}
	image := mbrImage(t, 4<<20)
	files := packed(t, image)
	for _, tt := range []struct {
		name   string
		ranges bool
	}{{"zst", true}, {"qcow2", true}, {"gz", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, requests := server(t, files[tt.name], fileSize(t, files[tt.name])/3+1, tt.ranges)
			var warned atomic.Int64
			i, err := Open(t.Context(), Source{Path: url + hashOf(t, files[tt.name]), Warn: func(string) { warned.Add(1) }})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(t, i); err != nil || !bytes.Equal(got, image) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if requests.Load() < 3 || warned.Load() != requests.Load()-1 {
				t.Errorf("%d requests, %d warnings", requests.Load(), warned.Load())
			}
		})
	}
}

// What comes over the network is not believed by itself.
func TestDownloadRefused(t *testing.T) {
	files := packed(t, mbrImage(t, 2<<20))
	url, requests := server(t, files["raw"], 1<<30, true)
	if _, err := Open(t.Context(), Source{Path: url}); !errors.Is(err, ErrUnverified) || requests.Load() != 0 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
	for _, suffix := range []string{"#md5=00", "#sha256=00", "#sha256=" + strings.Repeat("x", 64)} {
		if _, err := Open(t.Context(), Source{Path: url + suffix}); err == nil || requests.Load() != 0 {
			t.Errorf("%s: %v", suffix, err)
		}
	}
	missing := httptest.NewServer(http.NotFoundHandler())
	defer missing.Close()
	if _, err := Open(t.Context(), Source{Path: missing.URL + hashOf(t, files["raw"])}); !errors.Is(err, ErrDownload) || !strings.Contains(err.Error(), "404") {
		t.Error(err)
	}
}

// Signatures: by a known key, by another, of another file.
func TestSignature(t *testing.T) {
	dir := t.TempDir()
	image := mbrImage(t, 3<<20)
	path := filepath.Join(dir, "image")
	good, other := entity(t), entity(t)
	var sig, ring bytes.Buffer
	err := errors.Join(os.WriteFile(path, image, 0o600), openpgp.ArmoredDetachSign(&sig, good, bytes.NewReader(image), nil), good.Serialize(&ring),
		os.WriteFile(path+".asc", sig.Bytes(), 0o600), os.WriteFile(path+".gpg", ring.Bytes(), 0o600))
	var otherRing bytes.Buffer
	err = errors.Join(err, other.Serialize(&otherRing), os.WriteFile(path+".other", otherRing.Bytes(), 0o600))
	changed := bytes.Clone(image)
	changed[2<<20] ^= 1
	if err := errors.Join(err, os.WriteFile(path+".changed", changed, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		image, keyring string
		err            error
	}{{path, path + ".gpg", nil}, {path, path + ".other", ErrWrongImage}, {path + ".changed", path + ".gpg", ErrWrongImage}} {
		i, err := Open(t.Context(), Source{Path: tt.image, Signature: path + ".asc", Keyring: tt.keyring})
		if err == nil {
			_, err = readAll(t, i)
		}
		if !errors.Is(err, tt.err) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func entity(t *testing.T) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("Test", "", "test@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
