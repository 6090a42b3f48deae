package ramsys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
)

func newLog(t *testing.T) *eventLog {
	t.Helper()
	log, err := createEventLog(filepath.Join(t.TempDir(), "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestFollowersReadEverythingAtTheirOwnPace(t *testing.T) {
	log := newLog(t)
	enc := event.NewEncoder(log)
	early := make(chan []byte)
	go func() { b, _ := io.ReadAll(log.follow(t.Context())); early <- b }()
	const n = 500
	for range n {
		enc.Emit(event.Event{Phase: event.Copy, State: event.Progress})
	}
	late := log.follow(t.Context())
	log.end()
	a := <-early
	b, err := io.ReadAll(late)
	if err != nil || !bytes.Equal(a, b) || bytes.Count(a, []byte("\n")) != n {
		t.Errorf("%d and %d bytes, %d lines, %v", len(a), len(b), bytes.Count(a, []byte("\n")), err)
	}
}

func TestFollowerEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := io.ReadAll(newLog(t).follow(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFindPort(t *testing.T) {
	sys := t.TempDir()
	for port, name := range map[string]string{"vport1p1": "org.qemu.guest_agent.0\n", "vport2p3": event.Port + "\n"} {
		dir := filepath.Join(sys, "class/virtio-ports", port)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "name"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := findPort(sys, "/dev", event.Port); got != "/dev/vport2p3" {
		t.Errorf("got %q", got)
	}
	if got := findPort(sys, "/dev", "absent"); got != "" {
		t.Errorf("got %q", got)
	}
}

// A FIFO is the port: like one it is there before anybody listens, and takes
// only so much until somebody does.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vport0p1")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	keep, err := os.OpenFile(path, os.O_RDWR, 0) // so that opening it does not wait
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keep.Close() })
	return path
}

func TestPortThatComesLateGetsAllEvents(t *testing.T) {
	log, path := newLog(t), fifo(t)
	enc := event.NewEncoder(log)
	enc.Emit(event.Event{Phase: event.Scan})
	device := make(chan string, 1)
	fed := make(chan error, 1)
	there := ""
	go func() {
		fed <- feedPort(t.Context(), log, func() string {
			select {
			case there = <-device:
			default:
			}
			return there
		})
	}()
	device <- path
	enc.Emit(event.Event{Phase: event.Verify})
	log.end()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dec := event.NewDecoder(r)
	for seq, phase := range []event.Phase{event.Scan, event.Verify} {
		if ev, err := dec.Next(); err != nil || ev.Phase != phase || ev.Seq != int64(seq+1) {
			t.Errorf("got %+v, %v", ev, err)
		}
	}
	if err := <-fed; err != nil {
		t.Error(err)
	}
}

func TestPortWithoutListenerHoldsNothingUp(t *testing.T) {
	log, path := newLog(t), fifo(t)
	ctx, cancel := context.WithCancel(t.Context())
	fed := make(chan error, 1)
	go func() { fed <- feedPort(ctx, log, func() string { return path }) }()
	enc := event.NewEncoder(log)
	start := time.Now()
	for range 2000 { // more than the FIFO takes
		enc.Emit(event.Event{Phase: event.Copy, State: event.Progress, Message: strings.Repeat("x", 100)})
	}
	if took := time.Since(start); took > 5*time.Second || enc.Err() != nil {
		t.Errorf("emitting took %v, %v", took, enc.Err())
	}
	cancel()
	select {
	case err := <-fed:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the feeder hangs on a port that nobody reads")
	}
}

func TestNoPortEndsWithTheLog(t *testing.T) {
	log := newLog(t)
	time.AfterFunc(20*time.Millisecond, log.end)
	if err := feedPort(t.Context(), log, func() string { return "" }); err != nil {
		t.Error(err)
	}
}

func TestReportsCrossThePipeInOrder(t *testing.T) {
	var pipe bytes.Buffer
	r := newReporter(&pipe)
	r.Emit(event.Event{Phase: event.Copy})
	if err := r.send(report{Outcome: &outcome{Finish: "stay"}}); err != nil {
		t.Fatal(err)
	}
	r.Emit(event.Event{Phase: event.Enter, Step: "network"})
	var got []string
	sink := event.SinkFunc(func(e event.Event) { got = append(got, string(e.Phase)) })
	dec := json.NewDecoder(&pipe)
	if o, ok := receive(dec, sink, nil); !ok || o.Finish != "stay" || fmt.Sprint(got) != "[copy]" {
		t.Errorf("got %+v, %v, events %v", o, ok, got)
	}
	if _, ok := receive(dec, sink, nil); ok || fmt.Sprint(got) != "[copy enter]" {
		t.Errorf("after the outcome: %v, events %v", ok, got)
	}
}

type coded struct{ code int }

func (c coded) Error() string { return "coded" }
func (c coded) ExitCode() int { return c.code }

func TestOutcomes(t *testing.T) {
	for _, tt := range []struct {
		got, want outcome
	}{
		{outcomeOf("poweroff", nil), outcome{Finish: "poweroff"}},
		{outcomeOf("poweroff", fmt.Errorf("copy: %w", coded{5})), outcome{Error: "copy: coded", Exit: 5}},
		{outcomeOf("", coded{0}), outcome{Error: "coded", Exit: 1}},
		{outcomeOf("", errors.New("x")), outcome{Error: "x", Exit: 1}},
		{outcomeOf("explode", nil), outcome{Error: `the request ended with the unknown finish "explode"`, Exit: 1}},
		{crashed(2<<8, 1), outcome{Error: "the agent ended unexpectedly: exit status 2", Exit: 1}},
		{crashed(9, 1), outcome{Error: "the agent ended unexpectedly: killed, perhaps for want of memory", Exit: 1}},
		{crashed(11, 5), outcome{Error: "the agent ended unexpectedly: segmentation fault", Exit: 5}},
	} {
		if tt.got != tt.want {
			t.Errorf("got %+v, want %+v", tt.got, tt.want)
		}
	}
}

func TestWitness(t *testing.T) {
	for phase, want := range map[event.Phase]int{event.Enter: 4, event.Verify: 4, event.Partition: 5, event.Copy: 5, event.Finish: 5, "": 4, "new": 4} {
		w := newWitness(event.Discard)
		w.Emit(event.Event{Phase: phase})
		if got := w.exit(exitUntouched); got != want {
			t.Errorf("a failure after %q has the exit code %d, want %d", phase, got, want)
		}
	}
	var last event.Event
	w := newWitness(event.SinkFunc(func(ev event.Event) { last = ev }))
	w.fail("why", w.exit(exitInternal))
	if last.State != event.Failed || last.Exit != 1 || last.Message != "why" || w.exit(exitUntouched) != exitUntouched {
		t.Errorf("got %+v", last)
	}
}

func TestExcerptShowsThePanic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.log")
	if got := excerpt(path); got != "" {
		t.Errorf("no log: %q", got)
	}
	text := strings.Repeat("chatter\n", 500) + "panic: boom\n\ngoroutine 1:\n" + strings.Repeat("frame\n", 500)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := excerpt(path); !strings.HasPrefix(got, "\npanic: boom\n") || len(got) > excerptSize+1 {
		t.Errorf("got %d bytes: %.40q", len(got), got)
	}
}
