// Package event is the contract for what a run tells about itself: a stream of
// newline-delimited JSON objects. internal/request goes from the host to the
// target; events come back.
//
//	{"v":1,"seq":12,"time":"...","phase":"format","step":"mkfs.ext4 root","state":"progress","done":5,"total":9,"message":"..."}
//
// The agent writes them to the virtio-serial port org.vic.events and to the
// console; the host reads them with Decoder. The package does not render them.
package event

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Version is the value of Event.V that this package writes.
const Version = 1

// Port is the name of the virtio-serial port that carries events.
const Port = "org.vic.events"

// Phase is a part of a run. Phases come in the order of Phases.
type Phase string

// The phases of an install.
const (
	Scan      Phase = "scan"
	Build     Phase = "build"
	Enter     Phase = "enter"
	Verify    Phase = "verify"
	Partition Phase = "partition"
	Format    Phase = "format"
	Copy      Phase = "copy"
	Inject    Phase = "inject"
	Boot      Phase = "boot"
	Finish    Phase = "finish"
	Prove     Phase = "prove"
)

// Phases lists all phases in order.
func Phases() []Phase {
	return []Phase{Scan, Build, Enter, Verify, Partition, Format, Copy, Inject, Boot, Finish, Prove}
}

// State says where a step stands.
type State string

// The states of a step. Failed has the reason in Event.Message.
const (
	Start    State = "start"
	Progress State = "progress"
	Done     State = "done"
	Failed   State = "error"
)

// Event is one line of the stream.
type Event struct {
	V    int       `json:"v"`
	Seq  int64     `json:"seq"` // counts from 1, without gaps, per writer
	Time time.Time `json:"time"`
	// Host is the machine that it is about, where one run works on several.
	Host  string `json:"host,omitempty"`
	Phase Phase  `json:"phase"`
	// Step names the step within the phase; empty for the phase itself. The
	// phase "finish" with an empty step and state "done" ends an install: the
	// target is about to power off or reboot.
	Step    string `json:"step,omitempty"`
	State   State  `json:"state"`
	Done    int64  `json:"done"`  // bytes, or whatever Total counts
	Total   int64  `json:"total"` // 0 when unknown
	Message string `json:"message,omitempty"`
	// Exit is the exit code (see the design: 3 to 5) on the event that ends a
	// failed run; 0 otherwise.
	Exit int `json:"exit,omitempty"`
	// Result is on the event that ends a successful install.
	Result *Result `json:"result,omitempty"`
}

// Result is what the host has to know about the system that was installed, to
// recognise it when it answers.
type Result struct {
	Hostname string `json:"hostname"`
	// HostKeys are the public SSH host keys, in authorized_keys format
	// without comment ("ssh-ed25519 AAAA...").
	HostKeys []string `json:"hostKeys"`
	// Kernel is the release of the newest installed kernel (uname -r).
	Kernel string `json:"kernel"`
	// Disk is what was installed onto, for people.
	Disk string `json:"disk"`
	// RootUUID is the UUID of the root file system.
	RootUUID string `json:"rootUUID"`
	// NICs are the network interfaces whose names are known.
	NICs []NIC `json:"nics,omitempty"`
}

// NIC is what a network interface will be called.
type NIC struct {
	Name string `json:"name"`
	// Wished: the name was asked for, and stays wherever the card goes. One that
	// was not is udev's, and right as long as the card is where it was.
	Wished bool   `json:"wished,omitempty"`
	HWAddr string `json:"hwaddr,omitempty"` // permanent MAC
	Path   string `json:"path"`             // bus path as udev's ID_PATH
}

// Sink takes events. Seq, V and Time are filled in by the sink that encodes.
// Emit does not block for long and cannot fail: a listener that went away must
// not stop an install.
type Sink interface {
	Emit(Event)
}

// Discard is the Sink that drops everything.
var Discard Sink = SinkFunc(func(Event) {})

// SinkFunc makes a Sink of a function.
type SinkFunc func(Event)

// Emit implements Sink.
func (f SinkFunc) Emit(e Event) { f(e) }

// Tee sends each event to all sinks, in order.
func Tee(sinks ...Sink) Sink {
	return SinkFunc(func(e Event) {
		for _, s := range sinks {
			s.Emit(e)
		}
	})
}

// Encoder is a Sink that writes one JSON line per event. Safe for concurrent
// use. The first write error is kept and further events are dropped.
type Encoder struct {
	mu  sync.Mutex
	w   io.Writer
	now func() time.Time
	seq int64
	err error
}

// NewEncoder writes to w.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w, now: time.Now} }

// Emit implements Sink. An event that already has a sequence number (because
// it was decoded from another stream) keeps its number and time.
func (e *Encoder) Emit(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return
	}
	if ev.Seq == 0 {
		e.seq++
		ev.V, ev.Seq, ev.Time = Version, e.seq, e.now().UTC()
	}
	line, err := json.Marshal(ev)
	if err == nil {
		_, err = e.w.Write(append(line, '\n'))
	}
	e.err = err
}

// Err is the first error met while writing.
func (e *Encoder) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Decoder reads a stream of events.
type Decoder struct{ s *bufio.Scanner }

// NewDecoder reads from r. A line may have up to 1 MiB.
func NewDecoder(r io.Reader) *Decoder {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), 1<<20)
	return &Decoder{s}
}

// Next returns the next event, or io.EOF. A line that is no event, or one of a
// newer version, is an error that quotes the line.
func (d *Decoder) Next() (Event, error) {
	for d.s.Scan() {
		line := d.s.Bytes()
		if len(line) == 0 {
			continue
		}
		var ev Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return Event{}, fmt.Errorf("decode event %.80q: %w", line, err)
		}
		if ev.V != Version {
			return Event{}, fmt.Errorf("decode event %.80q: version %d, this vic reads %d", line, ev.V, Version)
		}
		return ev, nil
	}
	if err := d.s.Err(); err != nil {
		return Event{}, fmt.Errorf("read events: %w", err)
	}
	return Event{}, io.EOF
}
