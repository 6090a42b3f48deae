package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// system is the RAM system around a server: events in a file, and hooks that
// are noted.
type system struct {
	*control.Server
	control.Client
	events string
	sink   event.Sink

	mu    sync.Mutex
	hooks []string
	late  error // of Acknowledged
}

func newSystem(t *testing.T, change func(*control.Config)) *system {
	t.Helper()
	dir := t.TempDir()
	s := &system{events: filepath.Join(dir, "events.jsonl")}
	f, err := os.OpenFile(s.events, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s.sink = event.NewEncoder(f)
	s.sink.Emit(event.Event{Phase: event.Enter, State: event.Start})
	cfg := control.Config{
		Socket: filepath.Join(dir, "control.sock"), Events: s.events, Sink: s.sink, Version: "v1",
		Hooks: control.Hooks{
			Acknowledged: func() error { return errors.Join(s.did("acknowledged"), s.late) },
			Released:     func() { s.did("released") },
			Leave:        func() { s.did("leave") },
			Left:         func() time.Duration { return 90*time.Second + time.Millisecond },
		},
	}
	if change != nil {
		change(&cfg)
	}
	if s.Server, err = control.Listen(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	s.Client = control.Client{Socket: cfg.Socket}
	return s
}

func (s *system) did(hook string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, hook)
	return nil
}

func (s *system) noted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.hooks, " ")
}

// work takes the requests as the agent does, until the test ends.
func (s *system) work(t *testing.T, run func(ctx context.Context, d *control.Delivery) (string, error)) {
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		for {
			d, err := s.Next(ctx)
			if err != nil {
				return
			}
			finish, err := run(ctx, d)
			d.Done(finish, err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

// exits is an error with an exit code.
type exits int

func (e exits) Error() string { return "no luck" }
func (e exits) ExitCode() int { return int(e) }

// document is what deliver takes; mark tells several apart.
func document(t *testing.T, mark string, size int64) []byte {
	t.Helper()
	doc, err := images.Layout(images.DefaultLayout, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	l, err := layout.Parse("default.yaml", doc)
	if err != nil {
		t.Fatal(err)
	}
	req := request.Request{
		Version: request.Version, Item: mark, Layout: l, Finish: request.FinishReboot,
		Payload: request.Payload{Format: "erofs", Size: size, SHA256: strings.Repeat("a", 64), TreeSize: 1, Arch: "amd64", Kernel: "6.12", Source: request.Source{Stream: true}},
		System:  request.System{Hostname: "web1", Network: request.Network{Mode: request.NetworkDHCP}},
	}
	var out bytes.Buffer
	if err := req.Encode(&out); err != nil {
		t.Fatal(err)
	}
	all, err := json.Marshal(map[string]json.RawMessage{"request": out.Bytes(), "secrets": json.RawMessage(secrets)})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// secrets has the password "canary in the mine".
const secrets = `{"version":1,"secrets":{"password":"Y2FuYXJ5IGluIHRoZSBtaW5l"}}`

func (s *system) deliver(t *testing.T, mark string) control.Started {
	t.Helper()
	started, err := s.Deliver(t.Context(), document(t, mark, 1000))
	if err != nil {
		t.Fatal(err)
	}
	return started
}

// await waits for a state.
func (s *system) await(t *testing.T, state string) control.Status {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		st, err := s.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.State == state {
			return st
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s, not %s", st.State, state)
		}
	}
}

// requireRefused wants a refusal that says so.
func requireRefused(t *testing.T, err error, want string) {
	t.Helper()
	var no *control.Refused
	if !errors.As(err, &no) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a refusal with %q", err, want)
	}
}
