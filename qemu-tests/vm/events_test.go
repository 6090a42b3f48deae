package vm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
)

const (
	first  = `{"v":1,"seq":1,"phase":"copy","state":"start"}` + "\n"
	second = `{"v":1,"seq":2,"phase":"copy","state":"done"}` + "\n"
	failed = `{"v":1,"seq":3,"phase":"format","step":"mkfs.ext4 root","state":"error","message":"no space"}` + "\n"
)

// speaking is a machine whose event port says text and then ends, or stays
// open. It has no QEMU behind it.
func speaking(t *testing.T, text string, end error) *Machine {
	t.Helper()
	r, w := io.Pipe()
	m := &Machine{setup: setup{Config: Config{Name: "speaking", Dir: t.TempDir()}}, events: newStream(r), done: make(chan struct{})}
	go func() {
		_, _ = io.WriteString(w, text)
		if end != nil {
			w.Close()
			m.end = end
			close(m.done)
		}
	}()
	t.Cleanup(func() { w.Close() })
	return m
}

func is(state event.State) func(event.Event) bool {
	return func(e event.Event) bool { return e.State == state }
}

func TestEventsReplayForEveryReader(t *testing.T) {
	m := speaking(t, first+second, ErrReset)
	for range 2 {
		var seqs []int64
		for ev := range m.Events() {
			seqs = append(seqs, ev.Seq)
		}
		if len(seqs) != 2 || seqs[0] != 1 || seqs[1] != 2 {
			t.Errorf("got %v", seqs)
		}
	}
}

func TestWaitEvent(t *testing.T) {
	m := speaking(t, first+second+failed, ErrReset)
	if ev, err := m.WaitEvent(t.Context(), is(event.Done)); err != nil || ev.Seq != 2 {
		t.Errorf("got %+v, %v", ev, err)
	}
	var step *StepError
	_, err := m.WaitEvent(t.Context(), is(event.Done))
	if !errors.As(err, &step) || !strings.Contains(err.Error(), "format: mkfs.ext4 root: no space") {
		t.Errorf("failed step: %v", err)
	}
	if _, err = m.WaitEvent(t.Context(), is(event.Done)); !errors.Is(err, ErrReset) {
		t.Errorf("after the end: %v", err)
	}
}

func TestWaitEventCanWaitForAFailure(t *testing.T) {
	m := speaking(t, first+failed, nil)
	if ev, err := m.WaitEvent(t.Context(), is(event.Failed)); err != nil || ev.Seq != 3 {
		t.Errorf("got %+v, %v", ev, err)
	}
}

func TestWaitEventEndsWithContextAndShowsConsole(t *testing.T) {
	m := speaking(t, first, nil)
	if err := os.WriteFile(m.ConsolePath(), []byte("stuck here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := m.WaitEvent(ctx, is(event.Done))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"stuck here", `last event: copy "" start`} {
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestEventPortLines(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		seqs     int
		err      string
	}{
		{"cut by a kill", first + `{"v":1,"seq":2,"pha`, 1, ""},
		{"cut by a reset", first + `{"v":1,"seq":2,"pha` + first, 2, ""},
		{"not an event", first + "login:\n" + second, 2, "login:"},
		{"newer version", `{"v":9,"seq":1}` + "\n" + second, 1, "version 9"},
		{"too long", strings.Repeat("x", 3*maxLine) + "\n" + second, 1, "longer than"},
		{"empty lines", "\n\r\n" + second, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := speaking(t, tt.in, ErrReset)
			n := 0
			for range m.Events() {
				n++
			}
			if n != tt.seqs {
				t.Errorf("%d events, want %d", n, tt.seqs)
			}
			err := m.Err()
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
}

func TestNonsenseIsBounded(t *testing.T) {
	m := speaking(t, strings.Repeat("x\n", 10000)+second, ErrReset)
	n := 0
	for range m.Events() {
		n++
	}
	if lines := strings.Count(m.Err().Error(), "\n") + 1; n != 1 || lines != maxBadLines {
		t.Errorf("%d events, %d errors", n, lines)
	}
}

func FuzzEventPort(f *testing.F) {
	f.Add([]byte(first + "x" + second))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newStream(io.NopCloser(bytes.NewReader(b)))
		<-s.done
		if n := bytes.Count(b, []byte("\n")); len(s.all) > n {
			t.Errorf("%d events of %d lines", len(s.all), n)
		}
	})
}
