package deb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

const helloPath = "pool/hello_1.0.deb"

func TestFetchReturnsPathsInOrder(t *testing.T) {
	a := newTestArchive(t, "Package: aa", "Package: bb", "Package: cc")
	cfg := a.config()
	var last Progress
	cfg.Progress = func(p Progress) { last = p }
	archive := a.open(cfg)
	pkgs := resolveAll(t, archive, "aa", "bb", "cc")
	slices.Reverse(pkgs)
	paths, err := archive.Fetch(t.Context(), pkgs)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for i, p := range pkgs {
		b, err := os.ReadFile(paths[i])
		if err != nil || hexSum(b) != p.SHA256 {
			t.Errorf("%s: %v", p.Name, err)
		}
		total += p.Size
	}
	if last.Done != total || last.Total != total || last.Files != 3 || last.FilesTotal != 3 {
		t.Errorf("progress ends with %+v, want %d bytes", last, total)
	}
}

func TestFetchRefusesAlteredDeb(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	for _, at := range []int{0, 100, len(a.files[helloPath]) - 1} {
		a.files[helloPath][at] ^= 1
		cfg := a.config()
		archive := a.open(cfg)
		_, err := archive.Fetch(t.Context(), resolveAll(t, archive, "hello"))
		wantError(t, err, "hello", "hash")
		if !errors.Is(err, ErrHash) {
			t.Errorf("%v is not ErrHash", err)
		}
		if fileExists(archive.store.path(resolveAll(t, archive, "hello")[0].SHA256)) {
			t.Error("the altered file got its final name")
		}
		a.files[helloPath][at] ^= 1
	}
}

func TestFetchMendsDamagedCache(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	archive := a.open(a.config())
	pkgs := resolveAll(t, archive, "hello")
	paths, err := archive.Fetch(t.Context(), pkgs)
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.Clone(a.files[helloPath])
	b[len(b)/2] ^= 4
	if err := os.WriteFile(paths[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
	if paths, err = archive.Fetch(t.Context(), pkgs); err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(paths[0]); err != nil || hexSum(b) != pkgs[0].SHA256 {
		t.Errorf("still damaged: %v", err)
	}
}

// dieAfter sends n bytes of what was asked for, then breaks the connection.
func dieAfter(n int) func(http.ResponseWriter, *http.Request, []byte) bool {
	return func(w http.ResponseWriter, r *http.Request, content []byte) bool {
		if !strings.HasSuffix(r.URL.Path, ".deb") {
			return false
		}
		from := 0
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		rest := content[from:]
		w.Header().Set("Content-Length", fmt.Sprint(len(rest)))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(rest[:min(n, len(rest))])
		w.(http.Flusher).Flush()
		if n < len(rest) {
			panic(http.ErrAbortHandler)
		}
		return true
	}
}

func TestFetchResumesWhenTheMirrorDies(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	size := len(a.files[helloPath])
	cut := size/4 + 1 // more deaths than Attempts: each brings something
	a.setHook(dieAfter(cut))
	cfg := a.config()
	archive := a.open(cfg)
	if _, err := archive.Fetch(t.Context(), resolveAll(t, archive, "hello")); err != nil {
		t.Fatal(err)
	}
	want := []string{helloPath}
	for at := cut; at < size; at += cut {
		want = append(want, fmt.Sprintf("%s bytes=%d-", helloPath, at))
	}
	got := slices.DeleteFunc(a.requests(), func(s string) bool { return !strings.HasPrefix(s, helloPath) })
	if !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

func TestFetchResumesWhatAnEarlierRunLeft(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	half := len(a.files[helloPath]) / 2
	for name, left := range map[string][]byte{
		"good start": a.files[helloPath][:half],
		"bad start":  bytes.Repeat([]byte{'x'}, half),
		"too long":   bytes.Repeat([]byte{'x'}, 4*half),
		"bad end":    bytes.Repeat([]byte{'x'}, len(a.files[helloPath])),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := a.config()
			archive := a.open(cfg)
			pkgs := resolveAll(t, archive, "hello")
			partial := filepath.Join(cfg.CacheDir, "partial", pkgs[0].SHA256)
			if err := os.WriteFile(partial, left, 0o644); err != nil {
				t.Fatal(err)
			}
			before := len(a.requests())
			if _, err := archive.Fetch(t.Context(), pkgs); err != nil {
				t.Fatal(err)
			}
			first := a.requests()[before]
			if ranged := strings.Contains(first, fmt.Sprintf("bytes=%d-", half)); ranged != (len(left) == half) {
				t.Errorf("first request: %q", first)
			}
			if fileExists(partial) {
				t.Error("the partial file is still there")
			}
		})
	}
}

func TestFetchFromMirrorWithoutRanges(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	var requests atomic.Int32
	a.setHook(func(w http.ResponseWriter, r *http.Request, content []byte) bool {
		r.Header.Del("Range")
		if requests.Add(1) == 3 { // after InRelease and Packages
			return dieAfter(100)(w, r, content)
		}
		w.Write(content)
		return true
	})
	archive := a.open(a.config())
	if _, err := archive.Fetch(t.Context(), resolveAll(t, archive, "hello")); err != nil {
		t.Fatal(err)
	}
	if n := requests.Load(); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
}

func TestFetchGivesUpOnStallingMirror(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	cfg := a.config()
	archive := a.open(cfg)
	pkgs := resolveAll(t, archive, "hello")
	a.setHook(func(w http.ResponseWriter, r *http.Request, content []byte) bool {
		if r.Header.Get("Range") == "" { // some bytes first, then nothing
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:50])
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		return true
	})
	archive.fetcher.retry.Stall = 200 * time.Millisecond
	_, err := archive.Fetch(t.Context(), pkgs)
	wantError(t, err, "hello", "sent nothing for 200ms", "gave up after 3 tries")
	archive.fetcher.retry.Stall = 20 * time.Second
	a.setHook(nil)
	if _, err := archive.Fetch(t.Context(), pkgs); err != nil {
		t.Fatalf("after the stall: %v", err)
	}
	if got := a.requests(); !strings.HasSuffix(got[len(got)-1], "bytes=50-") {
		t.Errorf("did not resume: %q", got)
	}
}

func TestFetchSlowMirrorIsNoStall(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	a.setHook(func(w http.ResponseWriter, r *http.Request, content []byte) bool {
		if !strings.HasSuffix(r.URL.Path, ".deb") {
			return false
		}
		for chunk := range slices.Chunk(content, len(content)/5+1) {
			w.Write(chunk)
			w.(http.Flusher).Flush()
			time.Sleep(500 * time.Millisecond) // longer in all than Stall
		}
		return true
	})
	cfg := a.config()
	cfg.Retry.Stall = 2 * time.Second
	archive := a.open(cfg)
	if _, err := archive.Fetch(t.Context(), resolveAll(t, archive, "hello")); err != nil {
		t.Fatal(err)
	}
}

func TestFetchStatusCodes(t *testing.T) {
	for code, tries := range map[int]int{404: 1, 403: 1, 500: 3, 503: 3, 429: 3, 416: 1} {
		a := newTestArchive(t, "Package: hello")
		archive := a.open(a.config())
		before := len(a.requests())
		a.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool { w.WriteHeader(code); return true })
		_, err := archive.Fetch(t.Context(), resolveAll(t, archive, "hello"))
		wantError(t, err, fmt.Sprint(code), "hello")
		if got := len(a.requests()) - before; got != tries {
			t.Errorf("%d: %d tries, want %d", code, got, tries)
		}
	}
}

func TestFetchStopsMirrorThatSendsTooMuch(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	archive := a.open(a.config())
	var sent atomic.Int64
	a.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		for range 100000 {
			n, err := w.Write(make([]byte, 64<<10))
			if sent.Add(int64(n)); err != nil {
				break
			}
		}
		return true
	})
	_, err := archive.Fetch(t.Context(), resolveAll(t, archive, "hello"))
	wantError(t, err, "more than")
	if sent.Load() > 100<<20 {
		t.Errorf("took %d bytes", sent.Load())
	}
}

func TestFetchEndsWithContext(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	archive := a.open(a.config())
	pkgs := resolveAll(t, archive, "hello")
	a.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool { w.WriteHeader(503); return true })
	archive.fetcher.retry = Retry{Stall: time.Minute, Attempts: 1000, Backoff: time.Minute}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := archive.Fetch(ctx, pkgs); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestFetchSharesCacheBetweenProcesses(t *testing.T) {
	a := newTestArchive(t, "Package: hello")
	cfg := a.config()
	one, two := a.open(cfg), a.open(cfg)
	pkgs := resolveAll(t, one, "hello")
	results := make(chan error, 2)
	for _, archive := range []*Archive{one, two} {
		go func() {
			_, err := archive.Fetch(t.Context(), pkgs)
			results <- err
		}()
	}
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	got := slices.DeleteFunc(a.requests(), func(s string) bool { return s != helloPath })
	if len(got) != 1 {
		t.Errorf("%d downloads, want 1", len(got))
	}
}

func TestFetchOntoFullDisk(t *testing.T) {
	tooltest.Root(t)
	a := newTestArchive(t, "Package: hello", "Package: other")
	cfg := a.config()
	cfg.CacheDir = t.TempDir()
	if err := syscall.Mount("tmpfs", cfg.CacheDir, "tmpfs", 0, "size=64k"); err != nil {
		tooltest.Missing(t, fmt.Sprintf("cannot mount tmpfs: %v", err))
	}
	t.Cleanup(func() { syscall.Unmount(cfg.CacheDir, syscall.MNT_DETACH) })
	archive := a.open(cfg)
	pkgs := resolveAll(t, archive, "hello")
	fill := filepath.Join(cfg.CacheDir, "fill")
	if err := os.WriteFile(fill, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	_, err := archive.Fetch(t.Context(), pkgs)
	wantError(t, err, cfg.CacheDir, "no space left on device", "free")
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v is not ENOSPC", err)
	}
	// Full only while writing: what the check before could not know.
	file, err := os.OpenFile(filepath.Join(cfg.CacheDir, "late"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, err = (&offsetWriter{file: file, limit: 1 << 20, wrote: func(int64) {}}).Write(make([]byte, 1<<19))
	wantError(t, err, "disk of the cache is full")
	var final permanent
	if !errors.As(err, &final) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v would be tried again", err)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Fetch(t.Context(), pkgs); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// An empty file is a file: some suites have an empty index.
func TestFetchEmptyFile(t *testing.T) {
	a := newTestArchive(t)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "mirror"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mirror", "empty"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := a.config()
	cfg.Mirror, cfg.CacheDir = "file://"+filepath.Join(dir, "mirror"), filepath.Join(dir, "cache")
	f := newFetcher(cfg, store{dir: cfg.CacheDir})
	paths, err := f.all(t.Context(), []download{{rel: "empty", name: "empty", fileHash: fileHash{sha256: hexSum(nil)}}})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(paths[0]); err != nil || st.Size() != 0 {
		t.Errorf("got %v, %v", st, err)
	}
}
