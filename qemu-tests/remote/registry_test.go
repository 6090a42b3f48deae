package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/agent/download"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/qemu-tests/lab"
)

// A registry (the Distribution project's, of Debian) gives a blob by its hash.
func TestRegistry(t *testing.T) {
	lab.Need(t)
	url := registry(t)
	blob := make([]byte, 3<<20)
	if _, err := rand.Read(blob); err != nil {
		t.Fatal(err)
	}
	where := fmt.Sprintf("%s/v2/vic/debian/blobs/sha256:%x", url, sha256.Sum256(blob))
	if err := download.Check(t.Context(), where, int64(len(blob))); err == nil {
		t.Error("it is there before it was pushed")
	}
	push(t, url+"/v2/vic/debian/blobs/uploads/", blob)
	if err := download.Check(t.Context(), where, int64(len(blob))); err != nil {
		t.Error(err)
	}
	var got bytes.Buffer
	if err := download.To(t.Context(), where, &got, func(_, _ int64) {}); err != nil || !bytes.Equal(got.Bytes(), blob) {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
}

// push uploads a blob, as oras does.
func push(t *testing.T, uploads string, blob []byte) {
	t.Helper()
	resp, err := http.Post(uploads, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	place, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	query := place.Query()
	query.Set("digest", fmt.Sprintf("sha256:%x", sha256.Sum256(blob)))
	place.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, place.String(), bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		said, _ := io.ReadAll(resp.Body)
		t.Fatalf("push: %s: %s", resp.Status, said)
	}
}

// registry runs a registry out of its Debian package until the test ends.
func registry(t *testing.T) (url string) {
	t.Helper()
	tools, err := deb.OpenTools(t.Context(), lab.Archive(t.Context(), t, "trixie"), "docker-registry")
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := free.Addr().String(), t.TempDir()
	free.Close()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: \"%s\"}\n", dir, addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		out, err := tools.Run(ctx, tool.Cmd{Name: "docker-registry", Args: []string{"serve", config}})
		ended <- fmt.Errorf("%w: %s", err, out.Stderr)
	}()
	t.Cleanup(func() { stop(); <-ended })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return "http://" + addr
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatal(err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the registry does not answer: %v", err)
		}
	}
}
