package control_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

func TestWholeRun(t *testing.T) {
	s := newSystem(t, nil)
	content := []byte(strings.Repeat("payload.", 125))
	path := t.TempDir() + "/payload"
	s.work(t, func(ctx context.Context, d *control.Delivery) (string, error) {
		if v, ok := d.Secrets.Get("password"); !ok || v.Reveal() != "canary in the mine" {
			t.Error("the secret is not there")
		}
		if err := d.Proceed(ctx); err != nil {
			return "", err
		}
		f, err := os.Create(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		return d.Request.Finish, d.Receive(ctx, f, d.Request.Payload.Size, func(int64) {})
	})
	st, err := s.Status(t.Context())
	if want := (control.Status{State: "waiting", Probation: 91, Events: 1, Version: "v1"}); err != nil || st != want {
		t.Errorf("got %+v, %v", st, err)
	}
	if started := s.deliver(t, "debian"); started.Events != 2 || started.Resumed {
		t.Errorf("got %+v", started)
	}
	if st := s.await(t, control.Verified); st.Written || st.Events != 2 {
		t.Errorf("got %+v", st)
	}
	if p, err := s.Payload(t.Context()); err != nil || p != (control.Payload{Size: 1000}) {
		t.Errorf("got %+v, %v", p, err)
	}
	if err := s.Proceed(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if st := s.await(t, control.Writing); !st.Written {
		t.Errorf("got %+v", st)
	}
	if err := s.Proceed(t.Context(), 0); err != nil {
		t.Errorf("proceed once more: %v", err)
	}
	s.awaitReady(t)
	p, err := s.Send(t.Context(), 0, bytes.NewReader(content))
	if err != nil || p.Offset != 1000 {
		t.Fatalf("got %+v, %v", p, err)
	}
	if st := s.await(t, control.Done); !st.Written || st.Payload != 1000 {
		t.Errorf("got %+v", st)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if s.noted() != "acknowledged" {
		t.Errorf("hooks: %s", s.noted())
	}
	_, err = s.Deliver(t.Context(), document(t, "next", 1))
	requireRefused(t, err, "about to reboot")
	requireRefused(t, s.Stay(t.Context()), "about to reboot")
	s.requireNoSecret(t)
}

// requireNoSecret looks for the password where it must not be.
func (s *system) requireNoSecret(t *testing.T) {
	t.Helper()
	events, err := os.ReadFile(s.events)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"canary", "Y2FuYXJ5"} {
		if bytes.Contains(events, []byte(secret)) {
			t.Errorf("a secret is in the events: %s", events)
		}
	}
}

func TestSocketIsForRoot(t *testing.T) {
	s := newSystem(t, nil)
	st, err := os.Stat(s.Client.Socket)
	if err != nil || st.Mode().Perm() != 0o600 || st.Mode().Type() != os.ModeSocket {
		t.Errorf("got %v, %v", st.Mode(), err)
	}
}

// What the states allow, and what becomes of them.
func TestOneRunAtATime(t *testing.T) {
	s := newSystem(t, nil)
	verify, end := make(chan struct{}), make(chan error)
	s.work(t, func(ctx context.Context, d *control.Delivery) (string, error) {
		<-verify
		if err := d.Proceed(ctx); err != nil {
			return "", err
		}
		return request.FinishStay, <-end
	})
	requireRefused(t, s.Proceed(t.Context(), 0), "nothing to acknowledge: the state is waiting")
	first := s.deliver(t, "one")
	s.await(t, control.Verifying)
	requireRefused(t, s.Proceed(t.Context(), 0), "the state is verifying, not verified")
	_, err := s.Deliver(t.Context(), document(t, "two", 1000))
	requireRefused(t, err, "another request is being run: one is verifying")
	if again := s.deliver(t, "one"); again.Events != first.Events || !again.Resumed {
		t.Errorf("the same once more: got %+v, first %+v", again, first)
	}
	_, err = s.Send(t.Context(), 0, strings.NewReader("x"))
	requireRefused(t, err, "no payload is awaited: the state is verifying")
	close(verify)
	s.await(t, control.Verified)
	requireRefused(t, s.Proceed(t.Context(), first.Events+1), "another request was delivered since")
	if err := s.Proceed(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	requireRefused(t, s.Leave(t.Context(), false), "a disk was written to")
	end <- exits(5)
	if st := s.await(t, control.Failed); !st.Written {
		t.Errorf("got %+v", st)
	}
	requireRefused(t, s.Leave(t.Context(), false), "a disk was written to")
	// And once more, with the same request.
	if again := s.deliver(t, "one"); again.Resumed || again.Events <= first.Events {
		t.Errorf("got %+v after %+v", again, first)
	}
	s.await(t, control.Verified)
	if err := s.Proceed(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	end <- nil
	s.await(t, control.Done)
	s.deliver(t, "three") // the machine has stayed
	if err := s.Leave(t.Context(), true); err != nil {
		t.Error(err)
	}
	if s.noted() != "acknowledged acknowledged leave" {
		t.Errorf("hooks: %s", s.noted())
	}
	s.await(t, control.Failed) // nothing is written any more
}

// A run that fails with nothing written gives the probation its whole time
// again, whether it was acknowledged or not.
func TestReleased(t *testing.T) {
	for _, tt := range []struct {
		name    string
		proceed bool
		stay    bool
		finish  string
		err     error
		written bool
		hooks   string
	}{
		{"refused", false, false, "", exits(3), false, "released"},
		{"failed before", false, false, "", exits(4), false, "released"},
		{"no code", false, false, "", errors.New("x"), false, "released"},
		{"verified only", false, false, request.FinishStay, nil, false, "released"},
		{"verified and away", false, false, request.FinishReboot, nil, false, ""},
		{"acknowledged, then identity", true, false, "", exits(3), false, "acknowledged released"},
		{"acknowledged, then failed", true, false, "", exits(4), false, "acknowledged released"},
		{"written", true, false, "", exits(5), true, "acknowledged"},
		{"internal error", true, false, "", errors.New("x"), true, "acknowledged"},
		{"code of a wrapped error", true, false, "", errors.Join(errors.New("x"), exits(4)), false, "acknowledged released"},
		{"taken over", false, true, "", exits(4), false, "acknowledged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSystem(t, nil)
			s.work(t, func(ctx context.Context, d *control.Delivery) (string, error) {
				if tt.proceed {
					if err := d.Proceed(ctx); err != nil {
						return "", err
					}
				}
				return tt.finish, tt.err
			})
			if tt.stay {
				if err := s.Stay(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			s.deliver(t, "debian")
			if tt.proceed {
				s.await(t, control.Verified)
				if err := s.Proceed(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
			}
			state := control.Done
			if tt.err != nil {
				state = control.Failed
			}
			if st := s.await(t, state); st.Written != tt.written {
				t.Errorf("got %+v", st)
			}
			_, _ = s.Deliver(t.Context(), nil) // waits for the hook
			_ = s.Proceed(t.Context(), 0)
			if s.noted() != tt.hooks {
				t.Errorf("hooks: %q, want %q", s.noted(), tt.hooks)
			}
		})
	}
}

// When the probation is over at the moment of the acknowledgement, nothing is
// written.
func TestTooLate(t *testing.T) {
	s := newSystem(t, nil)
	s.late = errors.New("the probation is over")
	s.work(t, func(ctx context.Context, d *control.Delivery) (string, error) {
		if err := d.Proceed(ctx); err == nil {
			t.Error("it would write")
		}
		return "", exits(4)
	})
	requireRefused(t, s.Stay(t.Context()), "the probation is over")
	s.deliver(t, "debian")
	s.await(t, control.Verified)
	requireRefused(t, s.Proceed(t.Context(), 0), "the probation is over")
	if st := s.await(t, control.Verified); st.Written {
		t.Errorf("got %+v", st)
	}
}

// After leave, a run that waits for its acknowledgement gets none.
func TestLeaveWhileVerified(t *testing.T) {
	s := newSystem(t, nil)
	s.work(t, func(ctx context.Context, d *control.Delivery) (string, error) {
		err := d.Proceed(ctx)
		if err == nil {
			t.Error("it would write")
		}
		return "", errors.Join(err, exits(4))
	})
	s.deliver(t, "debian")
	s.await(t, control.Verified)
	if err := s.Leave(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := s.Proceed(t.Context(), 0); err == nil {
		t.Error("it was acknowledged after leave")
	}
	_, err := s.Deliver(t.Context(), document(t, "x", 1))
	requireRefused(t, err, "told to leave")
	if s.noted() != "leave" {
		t.Errorf("hooks: %s", s.noted())
	}
}

// The events of a run come after the number that deliver gives, and those of
// the run before do not, however late they are written.
func TestEventsOfARun(t *testing.T) {
	s := newSystem(t, nil)
	s.work(t, func(_ context.Context, d *control.Delivery) (string, error) {
		s.sink.Emit(event.Event{Phase: event.Verify, State: event.Failed, Message: d.Request.Item, Exit: 4})
		return "", exits(4)
	})
	for _, item := range []string{"a", "b", "c"} {
		started := s.deliver(t, item)
		s.await(t, control.Failed)
		b, err := os.ReadFile(s.events)
		if err != nil {
			t.Fatal(err)
		}
		dec := event.NewDecoder(bytes.NewReader(b))
		var got []string
		for e, err := dec.Next(); err == nil; e, err = dec.Next() {
			if e.Seq > started.Events {
				got = append(got, e.Message)
			}
		}
		if strings.Join(got, " ") != item {
			t.Errorf("got %q after event %d, want %s", got, started.Events, item)
		}
	}
}

// What is delivered and is no request begins nothing, and no error repeats it.
func TestDeliverRefuses(t *testing.T) {
	s := newSystem(t, nil)
	good := string(document(t, "debian", 1000))
	for name, tt := range map[string]struct{ doc, want string }{
		"nothing":       {"", "expected {"},
		"no JSON":       {"canary in the mine", "expected {"},
		"two":           {good + good, "expected {"},
		"other field":   {`{"request":{},"secrets":{},"canary":1}`, "expected {"},
		"no request":    {`{}`, "decode request"},
		"newer":         {strings.Replace(good, `"version":2`, `"version":3`, 1), "version 3"},
		"bad request":   {strings.Replace(good, `"erofs"`, `"zip"`, 1), "must be erofs or squashfs"},
		"bad secrets":   {strings.Replace(good, secrets, `"canary in the mine"`, 1), "decode secrets"},
		"bad secret":    {strings.Replace(good, `"Y2FuYXJ5IGluIHRoZSBtaW5l"`, `"canary in the mine"`, 1), "decode secrets: no base64"},
		"cut off":       {good[:len(good)/2], "expected {"},
		"too large":     {strings.Repeat(" ", 5<<20), "at most"},
		"newer secrets": {strings.Replace(good, `{"version":1,"secrets"`, `{"version":2,"secrets"`, 1), "version 2"},
	} {
		_, err := s.Deliver(t.Context(), []byte(tt.doc))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
	if st := s.await(t, control.Waiting); st.Events != 1 {
		t.Errorf("got %+v", st)
	}
}
