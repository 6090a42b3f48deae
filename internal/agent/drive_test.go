package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/agent/ramsys"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// TestMain makes this program `vic` of the RAM system for its own tests: verbs
// are called as the SSH server does, by a process each.
func TestMain(m *testing.M) {
	socket := os.Getenv("VIC_TEST_SOCKET")
	if socket == "" {
		os.Exit(m.Run())
	}
	c := command{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	c.client.Socket, c.driving.events = socket, filepath.Join(filepath.Dir(socket), "events.jsonl")
	if err := c.run(context.Background(), os.Args[1:]); err != nil && !errors.Is(err, errHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(ExitCode(err))
	}
	os.Exit(0)
}

// driver calls verbs.
type driver struct {
	socket, events string
	server         *control.Server
	sink           event.Sink
}

func newDriver(t *testing.T) *driver {
	t.Helper()
	dir := t.TempDir()
	d := &driver{socket: filepath.Join(dir, "control.sock"), events: filepath.Join(dir, "events.jsonl")}
	f, err := os.OpenFile(d.events, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	d.sink = event.NewEncoder(f)
	d.server, err = control.Listen(t.Context(), control.Config{
		Socket: d.socket, Events: d.events, Sink: d.sink, Version: "v1",
		Hooks: control.Hooks{Acknowledged: func() error { return nil }, Released: func() {}, Leave: func() {}, Left: func() time.Duration { return time.Minute }},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *driver) command(t *testing.T, stdin io.Reader, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = []string{"VIC_TEST_SOCKET=" + d.socket}
	cmd.Stdin = stdin
	return cmd
}

// vic calls a verb, and wants an exit code.
func (d *driver) vic(t *testing.T, exit int, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := d.command(t, strings.NewReader(stdin), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exit {
		t.Fatalf("vic %s: %v, want exit code %d: %s", strings.Join(args, " "), err, exit, &errs)
	}
	return out.String(), errs.String()
}

func delivery(t *testing.T) string {
	t.Helper()
	req := testRequest(t)
	req.Payload.Source = request.Source{Stream: true}
	req.Payload.Size = 10
	var doc bytes.Buffer
	if err := req.Encode(&doc); err != nil {
		t.Fatal(err)
	}
	return `{"request":` + doc.String() + `,"secrets":{"version":1,"secrets":{"password":"Y2FuYXJ5"}}}`
}

func TestVerbs(t *testing.T) {
	d := newDriver(t)
	path := filepath.Join(t.TempDir(), "payload")
	ended := make(chan error, 1)
	next := make(chan struct{})
	go func() {
		run, err := d.server.Next(t.Context())
		if err != nil {
			ended <- err
			return
		}
		<-next
		err = receive(t.Context(), run, path)
		run.Done(request.FinishReboot, err)
		ended <- err
	}()
	if out, _ := d.vic(t, 0, "", "status", "--json"); out != `{"state":"waiting","written":false,"probation":60,"events":0,"payload":0,"version":"v1"}`+"\n" {
		t.Errorf("status: %s", out)
	}
	if out, _ := d.vic(t, 0, "", "status"); !strings.HasPrefix(out, "waiting (vic v1)\nback to the system before in 60 s") {
		t.Errorf("status: %s", out)
	}
	if _, errs := d.vic(t, 3, "", "proceed"); !strings.Contains(errs, "nothing to acknowledge") {
		t.Errorf("proceed: %s", errs)
	}
	if out, _ := d.vic(t, 0, delivery(t), "deliver", "--prompt-free"); out != `{"events":1}`+"\n" {
		t.Errorf("deliver: %s", out)
	}
	if _, errs := d.vic(t, 3, strings.Replace(delivery(t), "web1", "web2", 1), "deliver"); !strings.Contains(errs, "another request is being run") || strings.Contains(errs, "Y2Fu") {
		t.Errorf("deliver: %s", errs)
	}
	close(next)
	d.awaitStatus(t, `"state":"verified"`)
	if _, errs := d.vic(t, 3, "", "proceed", "--run", "77"); !strings.Contains(errs, "after number 1, not 77") {
		t.Errorf("proceed: %s", errs)
	}
	if out, errs := d.vic(t, 0, "", "proceed", "--run", "1"); out+errs != "" {
		t.Errorf("proceed: %s%s", out, errs)
	}
	for out := ""; out != `{"offset":0,"size":10,"ready":true}`+"\n"; {
		out, _ = d.vic(t, 0, "", "payload")
	}
	if out, _ := d.vic(t, 0, "01234", "payload", "--offset", "0"); out != `{"offset":5,"size":10,"ready":true}`+"\n" {
		t.Errorf("payload: %s", out)
	}
	if _, errs := d.vic(t, 3, "01234", "payload", "--offset", "0"); !strings.Contains(errs, "goes on at byte 5, not at 0") {
		t.Errorf("payload: %s", errs)
	}
	if _, errs := d.vic(t, 3, "", "leave"); !strings.Contains(errs, "a disk was written to") {
		t.Errorf("leave: %s", errs)
	}
	d.vic(t, 0, "56789", "payload", "--offset=5")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "0123456789" {
		t.Errorf("got %q, %v", b, err)
	}
	d.awaitStatus(t, `"state":"done"`)
	d.vic(t, 0, "", "leave", "--force")
	d.requireNoSecret(t)
}

func receive(ctx context.Context, d *control.Delivery, path string) error {
	if err := d.Proceed(ctx); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Receive(ctx, f, d.Request.Payload.Size, func(int64) {}), f.Close())
}

func (d *driver) awaitStatus(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		out, _ := d.vic(t, 0, "", "status", "--json")
		if strings.Contains(out, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %s, want %s", out, want)
		}
	}
}

func (d *driver) requireNoSecret(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(d.events)
	status, _ := d.vic(t, 0, "", "status", "--json")
	if err != nil || strings.Contains(string(b)+status, "canary") || strings.Contains(string(b)+status, "Y2Fu") {
		t.Errorf("the secret is in %s or %s (%v)", b, status, err)
	}
}

// While deliver waits for the run to begin, nobody sees the secrets among its
// arguments or in its environment.
func TestSecretsAreNotSeenFromOutside(t *testing.T) {
	d := newDriver(t)
	cmd := d.command(t, strings.NewReader(delivery(t)), "deliver")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(string(must(os.ReadFile(d.events))), "was delivered"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was delivered")
		}
	}
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", cmd.Process.Pid, name))
		if err != nil || len(b) == 0 || bytes.Contains(b, []byte("canary")) || bytes.Contains(b, []byte("Y2Fu")) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	run, err := d.server.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	run.Done("", errors.New("over"))
	d.requireNoSecret(t)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The stream of events goes on after its standard input has ended, and ends
// when nobody reads.
func TestEventsVerb(t *testing.T) {
	d := newDriver(t)
	for range 3 {
		d.sink.Emit(event.Event{Phase: event.Scan, State: event.Done})
	}
	cmd := d.command(t, nil, "events", "--from", "2")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dec := event.NewDecoder(out)
	for seq := int64(2); seq <= 4; seq++ {
		if e, err := dec.Next(); err != nil || e.Seq != seq {
			t.Fatalf("got %d, %v, want %d", e.Seq, err, seq)
		}
		if seq == 3 {
			d.sink.Emit(event.Event{Phase: event.Scan, State: event.Done})
		}
	}
	out.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on though nobody reads")
	}
}

func TestVerbsRefuse(t *testing.T) {
	d := newDriver(t)
	for args, tt := range map[string]struct {
		exit int
		want string
	}{
		"status --jsno":       {2, "did you mean --json?"},
		"status now":          {2, `unexpected "now"`},
		"payload --offset -":  {2, "expected a number of bytes"},
		"payload --offset -1": {2, "expected a number of bytes"},
		"payload --offset 1x": {2, "expected a number of bytes"},
		"events --from x":     {2, "invalid value"},
		"payload --offset 0":  {3, "no payload is awaited: the state is waiting"},
		"deliver":             {3, "expected {"},
		"stau":                {2, `did you mean "stay"?`},
	} {
		if _, errs := d.vic(t, tt.exit, "", strings.Fields(args)...); !strings.Contains(errs, tt.want) {
			t.Errorf("%s: %s", args, errs)
		}
	}
	if out, _ := d.vic(t, 0, "", "leave", "--help"); out != usageText {
		t.Errorf("got %s", out)
	}
	d.socket += "x"
	if _, errs := d.vic(t, 1, "", "status"); !strings.Contains(errs, "call the agent: dial unix") {
		t.Errorf("got %s", errs)
	}
}

func TestFinishOfADelivery(t *testing.T) {
	for _, tt := range []struct {
		delivered bool
		phases    []event.Phase
		want      string
	}{
		{true, nil, "reboot"}, {true, []event.Phase{event.Verify}, "stay"}, {true, []event.Phase{event.Verify, event.Partition}, "stay"},
		{true, event.Phases(), "reboot"}, {false, []event.Phase{event.Verify}, "reboot"},
	} {
		var env ramsys.Env
		if tt.delivered {
			env.Delivery = &control.Delivery{}
		}
		if got := finishOf(env, "reboot", tt.phases); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}

// A request that was delivered is run as one that came with the system is.
func TestRunOfADelivery(t *testing.T) {
	d := newDriver(t)
	type result struct {
		finish string
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		run, err := d.server.Next(t.Context())
		if err != nil {
			ended <- result{err: err}
			return
		}
		finish, err := Run(t.Context(), ramsys.Env{RequestPath: "/no/such/file", Delivery: run, Sink: d.sink})
		run.Done(finish, err)
		ended <- result{finish, err}
	}()
	var started control.Started
	out, _ := d.vic(t, 0, delivery(t), "deliver")
	if err := json.Unmarshal([]byte(out), &started); err != nil || started.Events == 0 {
		t.Fatalf("got %s, %v", out, err)
	}
	r := <-ended
	if r.err == nil || ExitCode(r.err) != exitRefused || !strings.Contains(r.err.Error(), "no single disk matches serial no-such-disk") {
		t.Errorf("got %v", r.err)
	}
	d.awaitStatus(t, `"state":"failed","written":false`)
	d.requireNoSecret(t)
}
