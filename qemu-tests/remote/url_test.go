package remote

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
)

// TestFromURL has a machine fetch its payload by itself, from a server that breaks the
// connection in the middle. Nothing is sent over SSH but the RAM system; a server
// that has another file is refused before anything is written.
func TestFromURL(t *testing.T) {
	if !matrix() {
		t.Skip("installs a machine: VIC_TEST_MATRIX=1")
	}
	lab.Need(t)
	ctx, cancel := context.WithTimeout(t.Context(), installLimit)
	defer cancel()
	image := builtPayload(ctx, t)
	port, broken := payloadServer(t, image)
	old := oldsystem.Start(t, oldsystem.Config{MemoryMiB: 256})
	if _, err := old.Answered(ctx); err != nil {
		t.Fatal(err)
	}
	install := func(path string) (int, []event.Event, string) {
		url := fmt.Sprintf("http://10.0.2.2:%d/%s", port, path) // the host, as QEMU's network has it
		c := vic(ctx, t, old, "install", "debian", "-o", "kernel=cloud", "-o", "hostname=newone", "--on", old.Name,
			"--disk", "match:serial="+old.Serial, "--payload-url", url, "--prove-timeout", "15m", "--yes", "--json")
		exit, events := c.end(t)
		return exit, events, c.stderr.String()
	}
	if exit, events, said := install("short"); exit != 4 || !strings.Contains(said, "expected") {
		t.Errorf("another file: exit code %d\n%s\n%s", exit, last(events, 5), said)
	}
	exit, events, said := install("payload.erofs")
	if exit != 0 {
		t.Fatalf("exit code %d\n%s\n%s\nconsole ends:\n%s", exit, last(events, 30), said, old.ConsoleTail(30))
	}
	if !broken.Load() {
		t.Error("the connection was not broken")
	}
	out, err := old.SSH(ctx, "root", "hostname; cat /etc/machine-id; ls -A / | grep vic-payload; :", "")
	if err != nil || out != "newone\n"+old.MachineID+"\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// builtPayload builds what is installed, and returns its image.
func builtPayload(ctx context.Context, t *testing.T) string {
	t.Helper()
	cache, err := lab.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "payload")
	out, err := exec.CommandContext(ctx, lab.Program(t), "build", "debian", "-o", "kernel=cloud", "--cache", cache, "--out", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, builder.ImageFile)
}

// payloadServer serves an image as /payload.erofs, and its beginning as /short. The
// first connection that fetches the image as a whole breaks after half of it.
func payloadServer(t *testing.T, image string) (port int, broken *atomic.Bool) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken = new(atomic.Bool)
	mux := http.NewServeMux()
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("another file"))
	})
	mux.HandleFunc("/payload.erofs", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" && broken.CompareAndSwap(false, true) {
			half(w, image)
			panic(http.ErrAbortHandler)
		}
		http.ServeFile(w, r, image)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until it is closed
	t.Cleanup(func() { server.Close() })
	return listener.Addr().(*net.TCPAddr).Port, broken
}

// half sends half of a file that was announced as whole.
func half(w http.ResponseWriter, path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil {
		w.Header().Set("Content-Length", fmt.Sprint(st.Size()))
		_, _ = io.CopyN(w, f, st.Size()/2)
	}
}
