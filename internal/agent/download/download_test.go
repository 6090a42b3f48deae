package download

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// file serves content; with ranges, as http.ServeContent does.
func file(t *testing.T, content []byte, ranges bool) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/file" {
			http.NotFound(w, r)
			return
		}
		if ranges {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestCheck(t *testing.T) {
	content := []byte("hello, world")
	for _, ranges := range []bool{true, false} {
		url := file(t, content, ranges)
		if err := Check(t.Context(), url+"/file", int64(len(content))); err != nil {
			t.Errorf("ranges %v: %v", ranges, err)
		}
		for _, tt := range []struct {
			path string
			size int64
			want string
		}{
			{"/file", 11, "it has 12 bytes, expected 11"},
			{"/other", 12, "404 Not Found"},
		} {
			if err := Check(t.Context(), url+tt.path, tt.size); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ranges %v, %s: got %v, want %q", ranges, tt.path, err, tt.want)
			}
		}
	}
}

// A server that is busy is asked again.
func TestCheckAgain(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("x"))
	}))
	defer s.Close()
	if err := Check(t.Context(), s.URL, 1); err != nil || asked.Load() != 2 {
		t.Errorf("%v after %d requests", err, asked.Load())
	}
}

func TestTo(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	for _, ranges := range []bool{true, false} {
		var got bytes.Buffer
		var last, total int64
		err := To(t.Context(), file(t, content, ranges)+"/file", &got, func(d, n int64) { last, total = d, n })
		if err != nil || !bytes.Equal(got.Bytes(), content) || last != int64(len(content)) || total != last {
			t.Errorf("ranges %v: %d bytes, %d of %d, %v", ranges, got.Len(), last, total, err)
		}
	}
}
