package control_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/event"
)

// eventFile is a file of events that grows.
func eventFile(t *testing.T) (string, *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.jsonl")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return path, f
}

func TestFollow(t *testing.T) {
	path, f := eventFile(t)
	enc := event.NewEncoder(f)
	for range 5 {
		enc.Emit(event.Event{Phase: event.Scan, State: event.Done})
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- control.Follow(t.Context(), path, 4, w) }()
	dec := event.NewDecoder(r)
	require := func(seq int64) {
		t.Helper()
		if e, err := dec.Next(); err != nil || e.Seq != seq {
			t.Fatalf("got %d, %v, want %d", e.Seq, err, seq)
		}
	}
	require(4)
	require(5)
	enc.Emit(event.Event{Phase: event.Scan, State: event.Done, Message: strings.Repeat("x", 200_000)}) // more than a read
	require(6)
	if _, err := fmt.Fprint(f, `{"v":1,`); err != nil { // half a line is none yet
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	if _, err := fmt.Fprintln(f, `"seq":7}`); err != nil {
		t.Fatal(err)
	}
	require(7)
	// Nobody reads any more, and nothing happens: it ends.
	r.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it goes on though nobody reads")
	}
	w.Close()
}

func TestFollowEndsWithItsContext(t *testing.T) {
	path, _ := eventFile(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := control.Follow(ctx, path, 1, io.Discard); err != nil {
		t.Error(err)
	}
	if err := control.Follow(t.Context(), path+"x", 1, io.Discard); err == nil {
		t.Error("no error for a file that is not there")
	}
}

func TestNumberOfTheLastEvent(t *testing.T) {
	s := newSystem(t, nil)
	for _, n := range []int{0, 1, 4000, 4096, 5000, 100_000} {
		s.sink.Emit(event.Event{Message: strings.Repeat("m", n)})
		st := s.await(t, control.Waiting)
		if b, err := os.ReadFile(s.events); err != nil || st.Events != int64(strings.Count(string(b), "\n")) {
			t.Errorf("after a message of %d bytes: got %d, %v", n, st.Events, err)
		}
	}
}
