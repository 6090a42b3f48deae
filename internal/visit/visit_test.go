package visit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

// errCut is a connection that broke.
var errCut = errors.New("cut")

// machine is a RAM system that does what a real one does, without disks. Each
// connection breaks after cut bytes (0: none does).
type machine struct {
	mu       sync.Mutex
	grown    chan struct{}
	events   []event.Event
	payload  []byte // received
	size     int
	ready    bool
	proceed  chan struct{}
	once     sync.Once
	cut      int
	calls    []string
	delivers int
	script   func(m *machine)
	told     string // request and secrets
}

func newMachine(size int, script func(*machine)) *machine {
	m := &machine{grown: make(chan struct{}), size: size, proceed: make(chan struct{}), script: script}
	m.emit(event.Event{Phase: event.Enter, State: event.Done})
	return m
}

func (m *machine) emit(e event.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.V, e.Seq = event.Version, int64(len(m.events)+1)
	m.events = append(m.events, e)
	close(m.grown)
	m.grown = make(chan struct{})
}

// Stream implements Session.
func (m *machine) Stream(ctx context.Context, command string, stdin io.Reader, stdout io.Writer) error {
	m.mu.Lock()
	m.calls = append(m.calls, command)
	m.mu.Unlock()
	if m.cut > 0 {
		stdout = &breaking{w: stdout, left: m.cut}
	}
	var n int64
	switch {
	case command == "vic deliver":
		return m.deliver(stdin, stdout)
	case command == "vic proceed":
		m.once.Do(func() { close(m.proceed) })
		return nil
	case command == "vic payload":
		m.mu.Lock()
		defer m.mu.Unlock()
		return json.NewEncoder(stdout).Encode(control.Payload{Offset: int64(len(m.payload)), Size: int64(m.size), Ready: m.ready})
	case scan(command, "vic payload --offset %d", &n):
		return m.receive(n, stdin)
	case scan(command, "vic events --from %d", &n):
		return m.tell(ctx, int(n), stdout)
	}
	return fmt.Errorf("unknown command %q", command)
}

func scan(command, format string, n *int64) bool {
	_, err := fmt.Sscanf(command, format, n)
	return err == nil
}

func (m *machine) deliver(stdin io.Reader, stdout io.Writer) error {
	doc, err := io.ReadAll(stdin)
	if err != nil {
		return err
	}
	m.mu.Lock()
	begin := len(m.events)
	if m.delivers++; m.delivers == 1 {
		m.told = string(doc)
		go m.script(m)
	} else {
		begin = 1
	}
	m.mu.Unlock()
	return json.NewEncoder(stdout).Encode(control.Started{Events: int64(begin)})
}

func (m *machine) receive(offset int64, stdin io.Reader) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset != int64(len(m.payload)) {
		return fmt.Errorf("offset %d, expected %d", offset, len(m.payload))
	}
	if m.cut > 0 {
		stdin = io.LimitReader(stdin, int64(m.cut))
	}
	b, err := io.ReadAll(stdin)
	if err != nil {
		return err
	}
	if m.payload = append(m.payload, b...); len(m.payload) < m.size {
		return errCut
	}
	return nil
}

func (m *machine) tell(ctx context.Context, from int, stdout io.Writer) error {
	for next := from; ; next++ {
		for {
			m.mu.Lock()
			grown, n := m.grown, len(m.events)
			m.mu.Unlock()
			if next <= n {
				break
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		m.mu.Lock()
		line, _ := json.Marshal(m.events[next-1])
		m.mu.Unlock()
		if _, err := stdout.Write(append(line, '\n')); err != nil {
			return err
		}
	}
}

// breaking passes on so many bytes, and breaks.
type breaking struct {
	w    io.Writer
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	if k, err := b.w.Write(p[:n]); err != nil {
		return k, err
	}
	if n < len(p) {
		return n, errCut
	}
	return n, nil
}

// good is a run that ends well.
func good(m *machine) {
	m.emit(event.Event{Phase: event.Verify, State: event.Done})
	<-m.proceed
	m.emit(event.Event{Phase: event.Partition, State: event.Start})
	m.emit(event.Event{Phase: event.Copy, State: event.Start})
	m.mu.Lock()
	m.ready = true
	m.mu.Unlock()
	for {
		m.mu.Lock()
		n := len(m.payload)
		m.mu.Unlock()
		if n == m.size {
			break
		}
		time.Sleep(time.Millisecond) // the file grows without telling
	}
	m.emit(event.Event{Phase: event.Copy, State: event.Done})
	m.emit(event.Event{Phase: event.Finish, State: event.Done, Result: &event.Result{Hostname: "web1"}})
}

const secretText = "only in RAM 4711"

func testRun(t *testing.T, payload []byte, sink event.Sink, phases ...string) Run {
	t.Helper()
	secrets, err := secret.Parse([]string{"password=" + secretText}, secret.Host{})
	if err != nil {
		t.Fatal(err)
	}
	return Run{
		Request: request.Request{
			Version: request.Version, Item: "debian", Finish: request.FinishReboot, Phases: phases, Layout: layout.Layout{},
			Payload: request.Payload{Format: "erofs", Size: max(int64(len(payload)), 1), TreeSize: 1, SHA256: strings.Repeat("0", 64),
				Arch: "amd64", Kernel: "6.12", Source: request.Source{Stream: true}},
			System: request.System{Hostname: "web1", Network: request.Network{Mode: request.NetworkDHCP}},
		},
		Secrets: secrets, Events: sink, From: 1,
		Payload: func() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(payload)}, nil },
	}
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func ram(m Session) RAM {
	return RAM{Session: m, Lost: func(err error) bool { return errors.Is(err, errCut) }, Patience: 5 * time.Second, Pause: time.Millisecond}
}

// However often the connection breaks, every event is passed on once and in
// order, and the payload arrives as it is.
func TestRun(t *testing.T) {
	payload := bytes.Repeat([]byte("payload "), 300)
	for _, cut := range []int{0, 300, 400, 1000} {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			m := newMachine(len(payload), good)
			m.cut = cut
			var seen []int64
			var last event.Phase
			result, err := ram(m).Run(t.Context(), testRun(t, payload, event.SinkFunc(func(e event.Event) { seen, last = append(seen, e.Seq), e.Phase })))
			if err != nil || result.Hostname != "web1" {
				t.Fatal(result, err)
			}
			for i, seq := range seen {
				if seq != int64(i+1) {
					t.Fatalf("events %v", seen)
				}
			}
			if last != event.Finish || !bytes.Equal(m.payload, payload) {
				t.Errorf("ended in %s with %d bytes", last, len(m.payload))
			}
			for _, c := range m.calls {
				if strings.Contains(c, secretText) {
					t.Errorf("the secret is in %q", c)
				}
			}
			if !strings.Contains(m.told, `"secrets":{`) {
				t.Error("no secrets were delivered")
			}
		})
	}
}

func TestRunFails(t *testing.T) {
	m := newMachine(1, func(m *machine) {
		m.emit(event.Event{Phase: event.Verify, Step: "disk main", State: event.Failed, Message: "another disk", Exit: 4})
	})
	// An earlier run failed too: that is not the end of this one.
	m.emit(event.Event{Phase: event.Verify, State: event.Failed, Message: "before", Exit: 4})
	_, err := ram(m).Run(t.Context(), testRun(t, nil, event.Discard))
	var failed *FailedError
	if !errors.As(err, &failed) || failed.Event.Exit != 4 || err.Error() != "verify: disk main: another disk" {
		t.Errorf("%v", err)
	}
	select {
	case <-m.proceed:
		t.Error("it was told to go on")
	default:
	}
}

// A run that is to stop after verify is not acknowledged.
func TestRunStops(t *testing.T) {
	m := newMachine(1, func(m *machine) { m.emit(event.Event{Phase: event.Verify, State: event.Done}) })
	result, err := ram(m).Run(t.Context(), testRun(t, nil, event.Discard, "verify"))
	if err != nil || result.Hostname != "" {
		t.Error(result, err)
	}
	select {
	case <-m.proceed:
		t.Error("it was told to go on")
	default:
	}
}

// A machine that never answers again ends the run, in time.
func TestRunLost(t *testing.T) {
	r := ram(newMachine(1, func(*machine) {}))
	r.Patience, r.Pause = 50*time.Millisecond, 5*time.Millisecond
	r.Session = gone{r.Session}
	_, err := r.Run(t.Context(), testRun(t, nil, event.Discard))
	var lost *LostError
	if !errors.As(err, &lost) || !errors.Is(err, errCut) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("enough"))
	defer cancel()
	r.Patience = time.Hour
	if _, err := r.Run(ctx, testRun(t, nil, event.Discard)); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("%v", err)
	}
}

// gone takes a request and is not heard of again.
type gone struct{ Session }

func (g gone) Stream(ctx context.Context, command string, in io.Reader, out io.Writer) error {
	if command == "vic deliver" {
		return g.Session.Stream(ctx, command, in, out)
	}
	return errCut
}

// What is no event is told, and not taken for a connection that broke.
func TestRunGarbage(t *testing.T) {
	m := newMachine(1, func(*machine) {})
	_, err := ram(garbage{m}).Run(t.Context(), testRun(t, nil, event.Discard))
	if err == nil || !strings.Contains(err.Error(), "read the events") || !strings.Contains(err.Error(), "no event") {
		t.Errorf("%v", err)
	}
}

// garbage is a machine that tells something else.
type garbage struct{ Session }

func (g garbage) Stream(ctx context.Context, command string, in io.Reader, out io.Writer) error {
	if !strings.HasPrefix(command, "vic events") {
		return g.Session.Stream(ctx, command, in, out)
	}
	if _, err := io.WriteString(out, "no event\n"); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// What a command itself refuses is not asked again.
func TestCallRefused(t *testing.T) {
	m := newMachine(1, good)
	if err := ram(m).Leave(t.Context()); err == nil || len(m.calls) != 1 || !strings.HasPrefix(err.Error(), "vic leave: ") {
		t.Errorf("%v, %d calls", err, len(m.calls))
	}
}
