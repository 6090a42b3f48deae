package event_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/event"
)

func TestRoundTripNumbersEvents(t *testing.T) {
	var buf bytes.Buffer
	enc := event.NewEncoder(&buf)
	enc.Emit(event.Event{Phase: event.Copy, Step: "payload", State: event.Progress, Done: 5, Total: 9})
	enc.Emit(event.Event{Phase: event.Finish, State: event.Done, Result: &event.Result{Hostname: "h"}})
	dec := event.NewDecoder(&buf)
	for want := int64(1); want <= 2; want++ {
		ev, err := dec.Next()
		if err != nil || ev.Seq != want || ev.V != event.Version {
			t.Fatalf("got %+v, %v", ev, err)
		}
	}
	if _, err := dec.Next(); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
}

func TestForwardedEventsKeepTheirNumber(t *testing.T) {
	var buf bytes.Buffer
	event.NewEncoder(&buf).Emit(event.Event{V: 1, Seq: 77})
	if ev, err := event.NewDecoder(&buf).Next(); err != nil || ev.Seq != 77 {
		t.Errorf("got %+v, %v", ev, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"kernel panic\n":             "kernel panic",
		`{"v":2,"seq":1}` + "\n":     "version 2, this vic reads 1",
		strings.Repeat("x", 2<<20):   "token too long",
		`{"v":1,"seq":"one"}` + "\n": "cannot unmarshal",
	} {
		if _, err := event.NewDecoder(strings.NewReader(in)).Next(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %q", in, err, want)
		}
	}
}

func TestEncoderKeepsFirstError(t *testing.T) {
	boom := errors.New("gone")
	enc := event.NewEncoder(writerFunc(func([]byte) (int, error) { return 0, boom }))
	enc.Emit(event.Event{})
	enc.Emit(event.Event{})
	if enc.Err() != boom {
		t.Errorf("got %v", enc.Err())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func FuzzDecoder(f *testing.F) {
	f.Add([]byte(`{"v":1,"seq":1,"phase":"copy","state":"done"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dec := event.NewDecoder(bytes.NewReader(b))
		for i := 0; i < 100; i++ {
			if _, err := dec.Next(); err != nil {
				return
			}
		}
	})
}
