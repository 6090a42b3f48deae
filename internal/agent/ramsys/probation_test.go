package ramsys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/ramsys/watchdog"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/request"
)

// told collects events as lines: "phase step state message".
type told struct {
	mu    sync.Mutex
	lines []string
	last  event.Event
}

func (c *told) Emit(e event.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines, c.last = append(c.lines, fmt.Sprintf("%s %s %s %s", e.Phase, e.Step, e.State, e.Message)), e
}

func (c *told) has(part string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.lines, func(l string) bool { return strings.Contains(l, part) })
}

// fakeDog is a watchdog.
type fakeDog struct {
	name     string
	every    time.Duration
	pings    chan struct{}
	disarmed int
	err      error // of disarming
}

func newDog(name string) *fakeDog {
	return &fakeDog{name: name, every: time.Hour, pings: make(chan struct{}, 100)}
}

func (d *fakeDog) Ping() error             { d.pings <- struct{}{}; return nil }
func (d *fakeDog) Interval() time.Duration { return d.every }
func (d *fakeDog) Disarm() error           { d.disarmed++; return d.err }
func (d *fakeDog) String() string          { return d.name }

// trial is a life on probation, without processes: what it answers the agent is
// in answers, and how it ends in how.
type trial struct {
	life
	events  *told
	signals chan os.Signal
	answers *bytes.Buffer
	how     chan string
}

func newTrial(t *testing.T, limit time.Duration) *trial {
	t.Helper()
	tr := &trial{events: &told{}, signals: make(chan os.Signal, 1), answers: &bytes.Buffer{}, how: make(chan string, 1)}
	ending := make(chan struct{})
	tr.life = life{
		system:    system{signals: tr.signals, ending: ending, onProbation: true, handover: &handover.Handover{Probation: 1}, written: t.TempDir() + "/written"},
		agent:     &agentProcess{outcome: make(chan outcome, 1), notices: make(chan notice), answers: json.NewEncoder(tr.answers), ending: ending},
		sink:      newWitness(tr.events),
		flush:     func() {},
		probation: startProbation(limit, 0),
		sentry: &sentry{sink: tr.events, choose: func(dog, func(string) error) (dog, error) {
			return nil, errors.New("no watchdog")
		}},
	}
	return tr
}

func (tr *trial) start() { go func() { tr.how <- tr.run() }() }

func (tr *trial) ends(t *testing.T) string {
	t.Helper()
	select {
	case how := <-tr.how:
		return how
	case <-time.After(5 * time.Second):
		t.Fatal("init goes on")
		return ""
	}
}

func TestNobodyComes(t *testing.T) {
	tr := newTrial(t, 30*time.Millisecond)
	tr.start()
	if how := tr.ends(t); how != request.FinishReboot {
		t.Errorf("ended by %s", how)
	}
	if e := tr.events.last; e.State != event.Failed || e.Exit != exitUntouched || !strings.Contains(e.Message, "within 30ms") {
		t.Errorf("the last event is %+v", e)
	}
}

// The end of the agent is not the end of the probation: neither shortens nor
// lengthens it.
func TestAgentDiesOnProbation(t *testing.T) {
	tr := newTrial(t, 60*time.Millisecond)
	began := time.Now()
	tr.start()
	tr.agent.outcome <- outcome{Error: "the agent ended unexpectedly", Exit: exitUntouched}
	how := tr.ends(t)
	if took := time.Since(began); how != request.FinishReboot || took < 50*time.Millisecond {
		t.Errorf("ended by %s after %v", how, took)
	}
}

func TestAcknowledged(t *testing.T) {
	tr := newTrial(t, 50*time.Millisecond)
	tr.start()
	tr.agent.notice(noticeAcknowledged)
	time.Sleep(80 * time.Millisecond)
	select {
	case how := <-tr.how:
		t.Fatalf("%s after the acknowledgement: %v", how, tr.events.lines)
	default:
	}
	tr.agent.notice(noticeLeave)
	if how := tr.ends(t); how != request.FinishReboot {
		t.Errorf("ended by %s", how)
	}
	if got := tr.answers.String(); got != `{"left":0}`+"\n"+`{"left":0}`+"\n" {
		t.Errorf("answers: %s", got)
	}
	if !tr.events.has("enter probation done acknowledged") || tr.events.has("error") {
		t.Errorf("events: %v", tr.events.lines)
	}
}

func TestReleased(t *testing.T) {
	tr := newTrial(t, time.Hour)
	for _, n := range []notice{noticeLeft, noticeAcknowledged, noticeLeft, noticeReleased, noticeLeft} {
		if tr.heed(n) {
			t.Errorf("%s: leaves", n)
		}
	}
	var left []bool
	for dec := json.NewDecoder(tr.answers); dec.More(); {
		var a answer
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		left = append(left, a.Left > 59*time.Minute && a.Left <= time.Hour)
	}
	if want := []bool{true, false, false, true, true}; !slices.Equal(left, want) {
		t.Errorf("the probation has all its time: %v, want %v", left, want)
	}
}

// Once a disk was written to, no release brings the probation back, and the
// watchdog is stopped.
func TestNoReturn(t *testing.T) {
	tr := newTrial(t, time.Hour)
	d := newDog("i6300esb, 60 s")
	tr.sentry.choose = func(dog, func(string) error) (dog, error) { return d, nil }
	tr.start()
	tr.agent.notice(noticeDevices)
	tr.agent.notice(noticeAcknowledged)
	tr.sink.Emit(event.Event{Phase: event.Partition, State: event.Start})
	for !tr.events.has("disarmed") {
		time.Sleep(time.Millisecond)
	}
	tr.agent.notice(noticeReleased)
	tr.agent.notice(noticeDevices) // a driver that comes late
	tr.agent.outcome <- outcome{Finish: request.FinishReboot}
	if how := tr.ends(t); how != request.FinishReboot || d.disarmed != 1 || len(d.pings) != 0 {
		t.Errorf("ended by %s, disarmed %d times, %d pings", how, d.disarmed, len(d.pings))
	}
	if absent(tr.written) {
		t.Error("a new life of init would not know")
	}
	if strings.Contains(tr.answers.String(), `"left":1`) || tr.probation.left() != 0 {
		t.Errorf("the probation goes on: %s", tr.answers)
	}
	if !tr.events.has("enter watchdog done i6300esb, 60 s") {
		t.Errorf("events: %v", tr.events.lines)
	}
}

// A reinstall was entered for one boot: when its agent dies before anything was
// changed, the system before comes back by itself.
func TestReinstallWhoseAgentDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := life{system: system{reinstall: true, cmdline: ParseCmdline(""), written: t.TempDir() + "/written"}, sink: newWitness(&told{}), flush: func() {}}
		how := l.follow(outcome{Error: "the agent ended unexpectedly", Exit: exitUntouched})
		if took := time.Since(began); how != request.FinishReboot || took != reinstallPatience {
			t.Errorf("ended by %q after %v", how, took)
		}
		l.noReturn()
		if l.goesBack() {
			t.Error("goes back to a system that is gone")
		}
	})
}

// The watchdog is pinged as long as init does its work, and once more when it
// begins to end the machine; then no more, unless the machine is switched off.
func TestPings(t *testing.T) {
	for sig, want := range map[os.Signal]struct {
		how      string
		disarmed int
	}{unix.SIGINT: {request.FinishReboot, 0}, unix.SIGTERM: {request.FinishPoweroff, 1}} {
		tr := newTrial(t, time.Hour)
		d := newDog("softdog, 60 s")
		d.every = 5 * time.Millisecond
		tr.sentry.choose = func(dog, func(string) error) (dog, error) { return d, nil }
		tr.start()
		tr.agent.notice(noticeDevices)
		for range 3 {
			<-d.pings
		}
		tr.signals <- sig
		if how := tr.ends(t); how != want.how || d.disarmed != want.disarmed {
			t.Errorf("%v: ended by %s, disarmed %d times", sig, how, d.disarmed)
		}
		for len(d.pings) > 0 {
			<-d.pings
		}
		time.Sleep(20 * time.Millisecond)
		if len(d.pings) > 0 {
			t.Errorf("%v: pinged after the end", sig)
		}
	}
}

func TestSentryCannotStop(t *testing.T) {
	events, d := &told{}, newDog("x, 60 s")
	d.every, d.err = 2*time.Millisecond, fmt.Errorf("disarm watchdog0: %w", watchdog.ErrNoWayOut)
	s := &sentry{sink: events, choose: func(dog, func(string) error) (dog, error) { return d, nil }}
	s.arm(true)
	s.retire("why")
	for range 3 { // by itself
		<-d.pings
	}
	if !events.has("warning done disarm watchdog0: the watchdog cannot be stopped, and is pinged from here on: why") {
		t.Errorf("events: %v", events.lines)
	}
}

// Where there is no hardware, softdog is loaded once all devices have drivers.
func TestSentryLoadsSoftdog(t *testing.T) {
	events, d := &told{}, newDog("softdog, 60 s")
	loaded, probing := false, make(chan syscall.WaitStatus, 1)
	var asked []string
	s := &sentry{sink: events,
		choose: func(now dog, need func(string) error) (dog, error) {
			if loaded {
				return d, nil
			}
			return nil, fmt.Errorf("arm watchdog: %w", need("softdog"))
		},
		modprobe: func(module string) (<-chan syscall.WaitStatus, error) {
			asked = append(asked, module)
			return probing, nil
		},
	}
	s.arm(false)
	if len(asked) != 0 || s.module() != nil {
		t.Fatal("softdog is loaded before the hardware has had its turn")
	}
	s.arm(true)
	s.arm(true)
	if len(asked) != 1 || len(events.lines) != 0 {
		t.Fatalf("asked for %v, events %v", asked, events.lines)
	}
	loaded = true
	probing <- 0
	s.moduleLoaded(<-s.module())
	if s.dog != d || len(events.lines) != 1 || !events.has("watchdog done softdog, 60 s") {
		t.Errorf("armed %v, events %v", s.dog, events.lines)
	}
}

// Without any, the machine goes on, and says so once.
func TestSentryWithoutWatchdog(t *testing.T) {
	events := &told{}
	s := &sentry{sink: events,
		choose:   func(_ dog, need func(string) error) (dog, error) { return nil, need("softdog") },
		modprobe: func(string) (<-chan syscall.WaitStatus, error) { return nil, errors.New("no such module") },
	}
	s.arm(true)
	s.ping()
	s.retire("why")
	if len(events.lines) != 1 || !events.has("warning done no such module") || s.tick() != nil {
		t.Errorf("events: %v", events.lines)
	}
}

func TestReadHandover(t *testing.T) {
	dir := t.TempDir()
	if h, err := readHandover(dir + "/absent"); h != nil || err != nil || onProbation(h) {
		t.Errorf("without one: %v, %v", h, err)
	}
	var good bytes.Buffer
	in := handover.Handover{Version: handover.Version, Hostname: "web1", AuthorizedKeys: []string{"ssh-ed25519 AAAA"}, Probation: 42, Port: 2222}
	if err := in.Encode(&good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"good": good.Bytes(), "cut": good.Bytes()[:50], "newer": []byte(`{"version":99}`)} {
		if err := os.WriteFile(dir+"/"+name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := readHandover(dir + "/" + name)
		if h == nil || (err == nil) != (name == "good") {
			t.Fatalf("%s: %v, %v", name, h, err)
		}
		if want := map[bool]int64{true: 42, false: fallbackProbation}[name == "good"]; h.Probation != want {
			t.Errorf("%s: probation of %d s, want %d", name, h.Probation, want)
		}
	}
}
