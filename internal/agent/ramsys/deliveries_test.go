package ramsys

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// deliverable is what a client delivers.
func deliverable(t *testing.T, item string) []byte {
	t.Helper()
	doc, err := json.Marshal(map[string]any{"request": request.Request{
		Version: request.Version, Item: item,
		Payload: request.Payload{
			Format: "erofs", Size: 1, TreeSize: 1, Arch: "amd64", Kernel: "6.12.1-amd64",
			SHA256: strings.Repeat("0", 64), Source: request.Source{Path: "/payload.erofs"},
		},
		Disks:  map[string]request.DiskSelector{"main": {Serial: "S1"}},
		System: request.System{Hostname: "h", Network: request.Network{Mode: request.NetworkDHCP}},
		Finish: request.FinishReboot,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// served are requests that are being served in a temporary folder.
type served struct {
	client   control.Client
	events   *told
	released chan struct{} // receives when a run ends that wrote nothing
	began    chan string   // receives the items that are run
	settled  chan struct{} // to be closed
	over     chan outcome
}

func serve(ctx context.Context, t *testing.T) served {
	t.Helper()
	dir := t.TempDir()
	log, err := createEventLog(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	s := served{
		client: control.Client{Socket: filepath.Join(dir, "control.sock")}, events: &told{},
		released: make(chan struct{}, 4), began: make(chan string, 4), settled: make(chan struct{}), over: make(chan outcome, 1),
	}
	sink := event.Tee(event.NewEncoder(log), s.events)
	calls := control.Config{Socket: s.client.Socket, Events: filepath.Join(dir, "events.jsonl"), Sink: sink,
		Hooks: control.Hooks{
			Acknowledged: func() error { return nil }, Leave: func() {}, Left: func() time.Duration { return time.Minute },
			Released: func() { s.released <- struct{}{} },
		}}
	go func() {
		o, err := serveRequests(ctx, Config{Run: s.run}, Env{Sink: sink}, calls, s.settled)
		if err != nil {
			o.Error = err.Error()
		}
		s.over <- o
	}()
	return s
}

// run fails for some items, and tells about it for one of them.
func (s served) run(_ context.Context, env Env) (string, error) {
	s.began <- env.Delivery.Request.Item
	switch env.Delivery.Request.Item {
	case "silent":
		return "", coded{exitUntouched}
	case "loud":
		env.Sink.Emit(event.Event{Phase: event.Verify, State: event.Failed, Message: "loud", Exit: exitUntouched})
		return "", coded{exitUntouched}
	}
	return request.FinishReboot, nil
}

// deliver delivers a request, as soon as somebody listens.
func (s served) deliver(ctx context.Context, t *testing.T, item string) {
	t.Helper()
	for {
		_, err := s.client.Deliver(ctx, deliverable(t, item))
		var refused *control.Refused
		if err == nil {
			return
		}
		if ctx.Err() != nil || errors.As(err, &refused) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A run that fails does not end the agent; its client may deliver again. What it
// did not say itself is said for it.
func TestServeRequests(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := serve(ctx, t)
	s.deliver(ctx, t, "silent")
	select {
	case item := <-s.began:
		t.Fatalf("%s was run before all disks were there", item)
	case <-time.After(20 * time.Millisecond):
	}
	close(s.settled)
	<-s.began
	for _, item := range []string{"loud", "good"} {
		<-s.released // by the one before
		s.deliver(ctx, t, item)
		if got := <-s.began; got != item {
			t.Errorf("run %s, want %s", got, item)
		}
	}
	if o := <-s.over; o != (outcome{Finish: request.FinishReboot}) {
		t.Errorf("got %+v", o)
	}
	failures := slices.DeleteFunc(s.events.lines, func(l string) bool { return !strings.Contains(l, "error") })
	if want := []string{"finish  error coded", "verify  error loud"}; !slices.Equal(failures, want) {
		t.Errorf("failures: %q, want %q", failures, want)
	}
}

func TestServeRequestsEndsWithTheAgent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	calls := control.Config{Socket: filepath.Join(t.TempDir(), "control.sock"), Sink: event.Discard}
	cfg := Config{Run: func(context.Context, Env) (string, error) { return "", nil }}
	if _, err := serveRequests(ctx, cfg, Env{Sink: event.Discard}, calls, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := serveRequests(ctx, Config{}, Env{}, calls, nil); !errors.Is(err, errNoInstaller) {
		t.Errorf("without an installer: %v", err)
	}
}
