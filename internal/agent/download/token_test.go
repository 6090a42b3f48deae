package download

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// registry wants a token of its own service, as public registries do; it forwards to
// another server, which must not get it.
func registry(t *testing.T, content string) string {
	t.Helper()
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token went to another server")
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}))
	t.Cleanup(files.Close)
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.URL.Path == "/token" && q.Get("service") == "reg" && q.Get("scope") == "repository:vic/debian:pull":
			fmt.Fprint(w, `{"token":"abc"}`)
		case r.URL.Path == "/token":
			http.Error(w, "no", http.StatusForbidden)
		case r.Header.Get("Authorization") == "Bearer abc":
			// localhost is another server than 127.0.0.1, by the rules of net/http.
			http.Redirect(w, r, strings.Replace(files.URL, "127.0.0.1", "localhost", 1), http.StatusTemporaryRedirect)
		case r.URL.Path == "/closed":
			w.Header().Set("WWW-Authenticate", `Basic realm="closed"`)
			http.Error(w, "who are you", http.StatusUnauthorized)
		case r.URL.Path == "/foreign":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.URL+`/token",service="other"`)
			http.Error(w, "who are you", http.StatusUnauthorized)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.URL+`/token",service="reg",scope="repository:vic/debian:pull"`)
			http.Error(w, "who are you", http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestRegistryWithTokens(t *testing.T) {
	url := registry(t, "hello")
	var got bytes.Buffer
	if err := To(t.Context(), url+"/v2/vic/debian/blobs/sha256:0", &got, func(_, _ int64) {}); err != nil || got.String() != "hello" {
		t.Errorf("%q, %v", got.String(), err)
	}
	if err := Check(t.Context(), url+"/v2/vic/debian/blobs/sha256:0", 5); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]string{"/closed": "401 Unauthorized", "/foreign": "403 Forbidden"} {
		if err := Check(t.Context(), url+path, 5); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}
