package install_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
)

// delivered runs a plan as the RAM system does: with a request that a client
// delivers, acknowledges, and gives its payload.
func delivered(t *testing.T, c install.Config, p request.Payload) (control.Client, <-chan error) {
	t.Helper()
	dir := t.TempDir()
	log, err := os.OpenFile(filepath.Join(dir, "events"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	t.Cleanup(func() { log.Close() })
	cfg := control.Config{Socket: filepath.Join(dir, "socket"), Events: log.Name(), Sink: event.NewEncoder(log), Hooks: control.Hooks{
		Acknowledged: func() error { return nil }, Released: func() {}, Leave: func() {}, Left: func() time.Duration { return 0 }}}
	server, err := control.Listen(t.Context(), cfg)
	must(t, err)
	ended := make(chan error, 1)
	go func() {
		d, err := server.Next(t.Context())
		if err == nil {
			c.Verified, c.Proceed, c.Receive, c.Sink = d.Verified, d.Proceed, d.Receive, cfg.Sink
			_, err = install.Run(t.Context(), c)
			d.Done(request.FinishStay, err)
		}
		ended <- err
	}()
	client := control.Client{Socket: cfg.Socket}
	var doc bytes.Buffer
	p.Source, p.TreeSize, p.Arch, p.Kernel = request.Source{Stream: true}, 1, "amd64", "6.12"
	must(t, request.Request{Version: request.Version, Item: "test", Finish: request.FinishStay, Payload: p,
		System: request.System{Hostname: "h", Network: request.Network{Mode: request.NetworkDHCP}}}.Encode(&doc))
	both, err := json.Marshal(map[string]json.RawMessage{"request": doc.Bytes()})
	must(t, err)
	_, err = client.Deliver(t.Context(), both)
	must(t, err)
	return client, ended
}

// until calls f until it is true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func streamedLoop(t *testing.T) (m loopMachine, img string, c install.Config, p request.Payload, content []byte) {
	m, img, c = loopSetup(t)
	p = c.Plan.Steps[1].Action.(plan.CheckPayload).Payload
	content, err := os.ReadFile(p.Source.Path)
	must(t, err)
	s := &setup{Config: c}
	streamed(s, "")
	for i, step := range s.Plan.Steps {
		if _, ok := step.Action.(plan.ReceivePayload); ok {
			s.Plan.Steps[i].Action = plan.ReceivePayload{Path: "/.vic-payload", Size: p.Size}
		}
	}
	return m, img, s.Config, p, content
}

// A payload comes in pieces, a connection each, onto a real disk: it
// is installed, and nothing of it stays.
func TestStreamOntoLoopDevice(t *testing.T) {
	m, img, c, p, content := streamedLoop(t)
	before := sum(t, img)
	client, ended := delivered(t, c, p)
	until(t, "verified", func() bool { st, _ := client.Status(t.Context()); return st.State == control.Verified })
	if sum(t, img) != before {
		t.Error("the disk was written to before the acknowledgement")
	}
	must(t, client.Proceed(t.Context(), 0))
	until(t, "ready", func() bool { p, _ := client.Payload(t.Context()); return p.Ready })
	for _, end := range []int{1, len(content) / 2, len(content)} {
		at, err := client.Payload(t.Context())
		must(t, err)
		if _, err := client.Send(t.Context(), at.Offset, bytes.NewReader(content[at.Offset:end])); err != nil {
			t.Error(err)
		}
	}
	must(t, <-ended)
	root, dir := m.Partition(m.disk.Device, 2), t.TempDir()
	sh(t, "fsck.ext4", "-fn", root)
	must(t, m.Mount(t.Context(), root, dir, "ext4", []string{"ro"}))
	defer func() { must(t, m.Unmount(context.WithoutCancel(t.Context()), dir)) }()
	if b, err := os.ReadFile(filepath.Join(dir, "usr/bin/7")); err != nil || string(b) != strings.Repeat("7", 5000) {
		t.Errorf("%.20q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".vic-payload")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the payload is still there: %v", err)
	}
	if used := sh(t, "losetup", "--associated", filepath.Join(c.Root, ".vic-payload")); used != "" {
		t.Errorf("still there: %s", used)
	}
}

// A byte that was altered on its way is noticed on the disk, and once more is
// enough.
func TestStreamedPayloadIsAltered(t *testing.T) {
	_, _, c, p, content := streamedLoop(t)
	for _, altered := range []bool{true, false} {
		b := bytes.Clone(content)
		if altered {
			b[len(b)/3] ^= 1
		}
		client, ended := delivered(t, c, p)
		until(t, "verified", func() bool { st, _ := client.Status(t.Context()); return st.State == control.Verified })
		must(t, client.Proceed(t.Context(), 0))
		until(t, "ready", func() bool { p, _ := client.Payload(t.Context()); return p.Ready })
		_, err := client.Send(t.Context(), 0, bytes.NewReader(b))
		must(t, err)
		err = <-ended
		var e *install.Error
		if altered && (!errors.As(err, &e) || e.Exit != storage.ExitPartial || !strings.Contains(err.Error(), "it was altered or damaged")) || !altered && err != nil {
			t.Errorf("altered %v: got %v", altered, err)
		}
	}
}
