package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/secret"
)

var run = []event.Event{
	{Phase: event.Partition, Step: "write GPT", State: event.Start},
	{Phase: event.Partition, Step: "write GPT", State: event.Done},
	{Phase: event.Copy, Step: "payload", State: event.Start},
	{Phase: event.Copy, Step: "payload", State: event.Progress, Done: 5, Total: 10},
	{Phase: event.Copy, Step: "payload", State: event.Done, Message: "10 files"},
	{Phase: event.Inject, Step: "users", State: event.Progress, Done: 1, Total: 2},
	{Phase: event.Inject, Step: "users", State: event.Failed, Message: "no space left on device"},
	{Phase: event.Finish, State: event.Done, Message: "power off"},
}

func TestPlainProgress(t *testing.T) {
	var out bytes.Buffer
	r := newRenderer(&out, false)
	clock := time.Unix(0, 0)
	r.now = func() time.Time { clock = clock.Add(1500 * time.Millisecond); return clock }
	for _, e := range run {
		r.Emit(e)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	want := `partition  write GPT
partition  write GPT  1.5s
copy       payload
copy       payload: 10 files  1.5s
inject     users
inject     users: no space left on device
finish     power off
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

// On a terminal there are bars besides; close has to end even with steps that
// never did.
func TestBarsEnd(t *testing.T) {
	var out bytes.Buffer
	r := newRenderer(&out, true)
	for _, e := range run {
		r.Emit(e)
	}
	r.Emit(event.Event{Phase: event.Boot, Step: "hangs", State: event.Start})
	ended := make(chan error)
	go func() { ended <- r.close() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("close hangs")
	}
	for _, want := range []string{"partition  write GPT\n", "copy       payload: 10 files\n", "inject     users: no space left"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q in:\n%s", want, out.String())
		}
	}
}

func TestJSONEventsHideSecrets(t *testing.T) {
	a := testApp(t)
	a.secrets = secret.NewSet(map[string]string{"password": "hunter2"})
	sink, end := a.events(true)
	sink.Emit(event.Event{Phase: event.Inject, Step: "set hunter2", State: event.Failed, Message: "chpasswd: hunter2"})
	if err := end(); err != nil {
		t.Fatal(err)
	}
	text := a.stdout.(*bytes.Buffer).String()
	if strings.Contains(text, "hunter2") || !strings.Contains(text, `"message":"chpasswd: [secret]"`) {
		t.Errorf("got %s", text)
	}
	if e, err := event.NewDecoder(strings.NewReader(text)).Next(); err != nil || e.Step != "set [secret]" {
		t.Errorf("got %+v, %v", e, err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestProgressReportsWriteErrors(t *testing.T) {
	a := testApp(t)
	a.stdout, a.stderr = brokenWriter{}, brokenWriter{}
	for _, asJSON := range []bool{true, false} {
		sink, end := a.events(asJSON)
		sink.Emit(event.Event{Phase: event.Copy, Step: "payload", State: event.Start})
		if err := end(); err == nil {
			t.Errorf("json=%v: the error was swallowed", asJSON)
		}
	}
}

func TestReport(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		code int
		want string
	}{
		"none":        {nil, exitDone, ""},
		"internal":    {errors.New("boom"), exitInternal, "vic: boom\n"},
		"with a hint": {fail(exitRefused, errors.New("disk in use"), "unmount it"), exitRefused, "vic: disk in use\nhint: unmount it\n"},
		"wrapped":     {fmt.Errorf("install: %w", fail(exitResumable, errors.New("cut"), "")), exitResumable, "vic: install: cut\n"},
		"hinter":      {fail(exitUntouched, hinted{}, ""), exitUntouched, "vic: hinted\nhint: do this\n"},
		"several":     {fail(exitUsage, errors.Join(&config.Error{Source: "a", Msg: "x"}, errors.New("y")), ""), exitUsage, "vic: a: x\nvic: y\n"},
		"a secret":    {errors.New("chpasswd hunter2"), exitInternal, "vic: chpasswd [secret]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			a := testApp(t)
			a.secrets = secret.NewSet(map[string]string{"password": "hunter2"})
			if code := a.report(tt.err); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if got := a.stderr.(*bytes.Buffer).String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if fail(exitUsage, nil, "hint") != nil {
		t.Error("no error became one")
	}
}

type hinted struct{}

func (hinted) Error() string { return "hinted" }
func (hinted) Hint() string  { return "do this" }
