package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/event"
)

const (
	halfOfImage = 16 << 20
	headOfImage = 1 << 20
)

// halfServed is the URL of an image, with its hash, of which the second half
// never comes.
func halfServed(t *testing.T) string {
	t.Helper()
	image := make([]byte, 2*halfOfImage)
	if _, err := rand.NewChaCha8([32]byte{}).Read(image); err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(image)))
		if _, err := w.Write(image[:halfOfImage]); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(end); s.Close() })
	return fmt.Sprintf("%s/a.img#sha256=%x", s.URL, sha256.Sum256(image))
}

// untilWritten reads events until some blocks are on the device.
func untilWritten(t *testing.T, r io.Reader) {
	t.Helper()
	d := event.NewDecoder(r)
	for {
		e, err := d.Next()
		if err != nil {
			t.Fatalf("no block was written: %v", err)
		}
		if e.State == event.Progress && e.Done > 2*headOfImage {
			return
		}
	}
}

// startsNothing says that a half-written file has data, and no first sectors.
func startsNothing(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 2*headOfImage || !bytes.Equal(b[:headOfImage], make([]byte, headOfImage)) || bytes.Equal(b[headOfImage:2*headOfImage], make([]byte, headOfImage)) {
		t.Errorf("%d bytes, and the first sectors are there", len(b))
	}
}

// Ctrl-C in the middle: exit code 5, and a statement of what is left.
func TestFlashInterrupted(t *testing.T) {
	card := filepath.Join(t.TempDir(), "card.img")
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, []string{"flash", halfServed(t), card, "--json"}, strings.NewReader(""), in, &stderr)
		in.Close()
	}()
	untilWritten(t, out)
	cancel()
	rest, err := io.ReadAll(out)
	if got := <-code; got != exitResumable || err != nil || !strings.Contains(string(rest), `"exit":5`) {
		t.Errorf("exit code %d, %v\n%s", got, err, rest)
	}
	if !strings.Contains(stderr.String(), card+": stopped; it is half-written: its first sectors are empty") {
		t.Error(stderr.String())
	}
	startsNothing(t, card)
}

// Killed, it can say nothing, and leaves the same.
func TestFlashKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	card := filepath.Join(t.TempDir(), "card.img")
	c := exec.Command(self)
	c.Args = []string{"vic", "flash", halfServed(t), card, "--json"} // see TestMain
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	untilWritten(t, out)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var ended *exec.ExitError
	if err := c.Wait(); !errors.As(err, &ended) || ended.Exited() {
		t.Errorf("it was not killed: %v", err)
	}
	startsNothing(t, card)
}
