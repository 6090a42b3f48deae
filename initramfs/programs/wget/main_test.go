package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestFetch(t *testing.T) {
	t.Chdir(t.TempDir())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/", "/dir/file":
			_, _ = w.Write([]byte("content of " + r.URL.Path))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()

	for _, test := range []struct{ path, out, file, want string }{
		{"/", "", "index.html", "content of /"},
		{"/dir/file?a=b", "", "file", "content of /dir/file"},
		{"/dir/file", "other", "other", "content of /dir/file"},
	} {
		if err := fetch(t.Context(), server.URL+test.path, test.out, nil); err != nil {
			t.Errorf("fetch %s: %v", test.path, err)
		}
		if got, err := os.ReadFile(test.file); string(got) != test.want {
			t.Errorf("%s after fetch %s: %q, %v; want %q", test.file, test.path, got, err, test.want)
		}
	}

	var stdout bytes.Buffer
	if err := fetch(t.Context(), server.URL+"/dir/file", "-", &stdout); err != nil || stdout.String() != "content of /dir/file" {
		t.Errorf("fetch to standard output: %q, %v", stdout.String(), err)
	}
}

func TestFetchFails(t *testing.T) {
	t.Chdir(t.TempDir())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/short" {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("ends early"))
			return
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	if err := os.WriteFile("kept", []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{server.URL + "/none", server.URL + "/short", "no-such://x/y", "http://[::1"} {
		if err := fetch(t.Context(), address, "kept", nil); err == nil {
			t.Errorf("fetch %s: no error", address)
		}
	}
	if files, _ := filepath.Glob("*"); len(files) != 1 {
		t.Errorf("files left: %v", files)
	}
	if b, _ := os.ReadFile("kept"); string(b) != "as it was" {
		t.Errorf("the file that was there: %q", b)
	}
}
