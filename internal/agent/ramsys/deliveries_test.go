package ramsys

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
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

// A run that fails does not end the agent; its client may deliver again. What it
// did not say itself is said for it.
func TestServeRequests(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dir := t.TempDir()
	log, err := createEventLog(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	events := &told{}
	sink := event.Tee(event.NewEncoder(log), events)
	released := make(chan struct{}, 4)
	calls := control.Config{Socket: filepath.Join(dir, "control.sock"), Events: filepath.Join(dir, "events.jsonl"), Sink: sink,
		Hooks: control.Hooks{
			Acknowledged: func() error { return nil }, Leave: func() {}, Left: func() time.Duration { return time.Minute },
			Released: func() { released <- struct{}{} },
		}}
	settled := make(chan struct{})
	began := make(chan string, 4)
	cfg := Config{Run: func(_ context.Context, env Env) (string, error) {
		began <- env.Delivery.Request.Item
		switch env.Delivery.Request.Item {
		case "silent":
			return "", coded{exitUntouched}
		case "loud":
			env.Sink.Emit(event.Event{Phase: event.Verify, State: event.Failed, Message: "loud", Exit: exitUntouched})
			return "", coded{exitUntouched}
		}
		return request.FinishReboot, nil
	}}
	type end struct {
		outcome
		error
	}
	over := make(chan end, 1)
	go func() {
		o, err := serveRequests(ctx, cfg, Env{Sink: sink}, calls, settled)
		over <- end{o, err}
	}()
	client := control.Client{Socket: calls.Socket}
	for i, item := range []string{"silent", "loud", "good"} {
		for {
			_, err := client.Deliver(ctx, deliverable(t, item))
			var refused *control.Refused
			if err == nil {
				break
			}
			if ctx.Err() != nil || errors.As(err, &refused) {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond) // it does not listen yet
		}
		if i == 0 {
			select {
			case item := <-began:
				t.Errorf("%s was run before all disks were there", item)
			case <-time.After(20 * time.Millisecond):
			}
			close(settled)
		}
		if got := <-began; got != item {
			t.Errorf("run %d is %s", i, got)
		}
		if item != "good" {
			<-released
		}
	}
	if e := <-over; e.error != nil || e.outcome != (outcome{Finish: request.FinishReboot}) {
		t.Errorf("got %+v", e)
	}
	failures := 0
	for _, l := range events.lines {
		if l == "finish  error coded" || l == "verify  error loud" {
			failures++
		}
	}
	if failures != 2 {
		t.Errorf("events: %q", events.lines)
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
