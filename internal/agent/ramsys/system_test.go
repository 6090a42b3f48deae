package ramsys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func nothing(int64, int64) {}

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func hashOf(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func TestVerify(t *testing.T) {
	good := content(1 << 20)
	m := manifest{SHA256: hashOf(good), Size: int64(len(good))}
	chunked := m
	chunked.ChunkSize = 300_000
	for start := 0; start < len(good); start += 300_000 {
		chunked.Chunks = append(chunked.Chunks, hashOf(good[start:min(len(good), start+300_000)]))
	}
	if err := chunked.check(); err != nil {
		t.Fatal(err)
	}
	altered := bytes.Clone(good)
	altered[len(altered)/2] ^= 1
	for _, tt := range []struct {
		name string
		data []byte
		want manifest
		err  string
	}{
		{"good", good, m, ""},
		{"one bit", altered, m, "it is damaged or was altered"},
		{"first byte", append([]byte{good[0] + 1}, good[1:]...), m, "damaged or was altered"},
		{"last byte", append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]+1), m, "damaged or was altered"},
		{"short", good[:len(good)-1], m, "it has 1048575 bytes, /vic/system.json says 1048576"},
		{"long", append(bytes.Clone(good), 0), m, "it has 1048577 bytes"},
		{"good, by chunks", good, chunked, ""},
		{"one bit, by chunks", altered, chunked, "(bytes 300000 to 599999): it is damaged or was altered"},
		{"short, by chunks", good[:len(good)-1], chunked, "it has 1048575 bytes"},
		{"no manifest", good, manifest{}, "does not say which size and hash"},
	} {
		path := filepath.Join(t.TempDir(), "system.erofs")
		if err := os.WriteFile(path, tt.data, 0o644); err != nil {
			t.Fatal(err)
		}
		err := verify(t.Context(), path, tt.want, nothing)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.err)
		}
	}
}

func TestReadManifest(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "system.json")
	if m, err := readManifest(path); err != nil || m.SHA256 != "" {
		t.Errorf("absent: %+v, %v", m, err)
	}
	for text, want := range map[string]string{
		"{": "decode",
		`{"size":5,"sha256":"` + someHash + `","chunkSize":2,"chunks":["` + someHash + `"]}`: "1 chunks of 2 bytes are not 5 bytes",
		`{"size":5,"sha256":"` + someHash + `","chunkSize":0,"chunks":["` + someHash + `"]}`: "are not 5 bytes",
		`{"size":5,"sha256":"` + someHash + `","chunkSize":5,"chunks":["x"]}`:                "chunk 0 has the sha256",
		`{"size":1}`:                             "do not describe a file",
		`{"size":0,"sha256":"` + someHash + `"}`: "do not describe a file",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if m, err := readManifest(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v", text, m, err)
		}
	}
}

// server serves b, and breaks off after each part bytes; honest about ranges
// or not.
func server(t *testing.T, b []byte, part int, ranges bool) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	requests := new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		from := 0
		if ranges {
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
				w.Header().Set("Content-Length", fmt.Sprint(len(b)-from))
				w.WriteHeader(http.StatusPartialContent)
			}
		}
		if from == 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		}
		if part == 0 || from+part >= len(b) {
			_, _ = w.Write(b[from:])
			return
		}
		_, _ = w.Write(b[from : from+part])
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	return s, requests
}

func TestFetch(t *testing.T) {
	b := content(300 << 10)
	for _, tt := range []struct {
		name     string
		part     int
		ranges   bool
		hash     string
		requests int32
		err      string
	}{
		{"whole", 0, true, hashOf(b), 1, ""},
		{"resumed", 200 << 10, true, hashOf(b), 2, ""},
		{"altered", 0, true, someHash, 1, "damaged or was altered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, requests := server(t, b, tt.part, tt.ranges)
			path := filepath.Join(t.TempDir(), "x")
			err := fetch(t.Context(), s.URL, tt.hash, path, nothing)
			if requests.Load() != tt.requests {
				t.Errorf("%d requests, want %d", requests.Load(), tt.requests)
			}
			got, readErr := os.ReadFile(path)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !os.IsNotExist(readErr) {
					t.Errorf("got %v, want %q; the file: %v", err, tt.err, readErr)
				}
			} else if err != nil || !bytes.Equal(got, b) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
}

// A server that ignores ranges sends everything again: what is there already
// is passed over.
func TestFetchResumesWithoutRanges(t *testing.T) {
	b := content(100 << 10)
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		if n.Add(1) == 1 {
			_, _ = w.Write(b[:60<<10])
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(b)
	}))
	defer s.Close()
	path := filepath.Join(t.TempDir(), "x")
	if err := fetch(t.Context(), s.URL, hashOf(b), path, nothing); err != nil || n.Load() != 2 {
		t.Errorf("%v after %d requests", err, n.Load())
	}
}

func TestFetchGivesUp(t *testing.T) {
	missing := httptest.NewServer(http.NotFoundHandler())
	defer missing.Close()
	start := time.Now()
	err := fetch(t.Context(), missing.URL, someHash, filepath.Join(t.TempDir(), "x"), nothing)
	if err == nil || !strings.Contains(err.Error(), "404 Not Found") || time.Since(start) > 5*time.Second {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer stuck.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, fmt.Errorf("enough"))
	defer cancel()
	if err := fetch(ctx, stuck.URL, someHash, filepath.Join(t.TempDir(), "x"), nothing); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("got %v", err)
	}
}

func TestPartitions(t *testing.T) {
	sys := t.TempDir()
	for name, label := range map[string]string{"vda1": "ESP", "vda2": "vic-system", "vdb1": "twice", "vdc1": "twice"} {
		dir := filepath.Join(sys, "class/block", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "uevent"), []byte("DEVTYPE=partition\nPARTN=1\nPARTNAME="+label+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := waitPartition(t.Context(), sys, "vic-system"); got != "/dev/vda2" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := waitPartition(t.Context(), sys, "twice"); err == nil || !strings.Contains(err.Error(), "/dev/vdb1, /dev/vdc1 all have this label") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("enough"))
	if _, err := waitPartition(ctx, sys, "vic-sys"); err == nil || err.Error() != "enough" {
		t.Errorf("got %v", err)
	}
}
