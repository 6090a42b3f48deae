package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
)

// Events reads what --json printed.
func Events(t *testing.T, stream string) []event.Event {
	t.Helper()
	var all []event.Event
	dec := event.NewDecoder(strings.NewReader(stream))
	for {
		e, err := dec.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// Phases are the phases of a stream, each once, in the order of their first
// event.
func Phases(events []event.Event) []event.Phase {
	var seen []event.Phase
	for _, e := range events {
		if !slices.Contains(seen, e.Phase) {
			seen = append(seen, e.Phase)
		}
	}
	return seen
}

// Result is what a stream says was installed.
func Result(t *testing.T, events []event.Event) event.Result {
	t.Helper()
	for _, e := range slices.Backward(events) {
		if e.Result != nil {
			return *e.Result
		}
	}
	t.Fatal("the event stream has no result")
	return event.Result{}
}

// keepConsoles links the consoles of vic's machines, which it removes with
// their folders, into dir, until ctx ends. It returns a function that ends it
// and returns what all consoles showed.
func keepConsoles(t *testing.T, dir string) (stop func() []byte) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			linkConsoles(t, dir)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	return func() []byte {
		cancel()
		<-done
		return readConsoles(t, dir)
	}
}

func linkConsoles(t *testing.T, dir string) {
	tmp, _ := lastTmp.Load().(string)
	logs, err := filepath.Glob(filepath.Join(tmp, "vic-vm-*", "*", "console.log"))
	if err != nil {
		t.Error(err)
	}
	for _, log := range logs {
		name := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(log, tmp), "/", "_"))
		if err := os.Link(log, name); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("keep console: %v", err)
		}
	}
}

func readConsoles(t *testing.T, dir string) []byte {
	t.Helper()
	var all bytes.Buffer
	kept, err := filepath.Glob(filepath.Join(dir, "*console.log"))
	if err != nil {
		t.Error(err)
	}
	for _, k := range kept {
		b, err := os.ReadFile(k)
		if err != nil {
			t.Error(err)
		}
		all.Write(b)
	}
	return all.Bytes()
}
