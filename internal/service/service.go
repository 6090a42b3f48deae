// Package service is what the services of an appliance are, and what is to be
// done about them: a graph of programs that need each other, and of what they
// find out.
//
//	dhcp ── address ──> firewall ──> lan ── subnet ──> dnsmasq
//	 outputs: files that others read      needs: ready, with this value
//
// A service runs while everything that it needs is there. When one of its needs
// goes away, or is another one than it was started with (the service was started
// again, the value of an output changed), the service is stopped, what needs it
// first, and runs again when all is there. One that ends by itself is started
// again, later each time.
//
// The package is pure: Machine takes what happened and the time, and returns what
// to do. Package supervisor does it.
package service

import (
	"encoding/json"
	"fmt"
	"time"
)

// Version is that of Graph.
const Version = 1

// Graph is the document /etc/vic/services.json.
type Graph struct {
	Version  int       `json:"version"`
	Services []Service `json:"services"`
}

// Service is one program, and how it is run.
type Service struct {
	Name string `json:"name"`
	// Command is the program and its arguments. Builtin is, instead of it, a step
	// of the supervising program itself and its arguments. In both, and in Env,
	// ${SERVICE/KEY} stands for an output that Needs lists.
	Command []string `json:"command,omitempty"`
	Builtin []string `json:"builtin,omitempty"`
	// Env is added to the environment.
	Env map[string]string `json:"env,omitempty"`
	// Needs are services ("lan") that have to be ready, and outputs ("lan/subnet")
	// that have to be there as well.
	Needs []string `json:"needs,omitempty"`
	// After are services that are waited for until they are ready, or have failed
	// once, or will not run. It does not stop with them.
	After []string `json:"after,omitempty"`
	// Outputs are the keys that the service may write.
	Outputs []string `json:"outputs,omitempty"`
	// Ready is the condition; none: it is ready when it is started.
	Ready *Ready `json:"ready,omitempty"`
	// Restart is RestartAlways or RestartNever. Empty: always. One-shots that
	// succeeded are done in any case.
	Restart string `json:"restart,omitempty"`
	// Backoff is the time before a service that ended is started again: First,
	// then twice as long each time, at most Longest. It begins anew for one that
	// was ready for as long as Longest.
	Backoff Backoff `json:"backoff,omitzero"`
	// Stop is how long it may take to end after SIGTERM; then it is killed.
	Stop Duration `json:"stop,omitzero"`
	// Processes is the largest number of processes that it may have at a time.
	Processes int `json:"processes,omitempty"`
}

// The values of Service.Restart.
const (
	RestartAlways = "always"
	RestartNever  = "never"
)

// Ready is when a service is ready: exactly one of the conditions.
type Ready struct {
	Output string `json:"output,omitempty"` // the output with this key is there
	File   string `json:"file,omitempty"`   // this file is there
	TCP    string `json:"tcp,omitempty"`    // ADDRESS:PORT accepts connections
	UDP    string `json:"udp,omitempty"`    // a socket has ADDRESS:PORT
	Notify bool   `json:"notify,omitempty"` // it sent READY=1, see sd_notify(3)
	Exit   bool   `json:"exit,omitempty"`   // it ended with 0: a one-shot
	// Within is how long that may take before it counts as failed. 0: for ever.
	Within Duration `json:"within,omitzero"`
}

// Backoff is how long restarts wait.
type Backoff struct {
	First   Duration `json:"first,omitzero"`
	Longest Duration `json:"longest,omitzero"`
}

// What is meant where a graph says nothing.
const (
	DefaultFirst     = time.Second
	DefaultLongest   = 30 * time.Second
	DefaultStop      = 5 * time.Second
	DefaultProcesses = 64
)

// Spacing is the least time between two starts of one service, whatever the
// reason: an output that changes all the time keeps nobody busy.
const Spacing = time.Second

// Oneshot says whether a service does something and ends.
func (s Service) Oneshot() bool { return s.Ready != nil && s.Ready.Exit }

// filled is the service with what it left out.
func (s Service) filled() Service {
	fill := func(d *Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = Duration(otherwise)
		}
	}
	fill(&s.Backoff.First, DefaultFirst)
	fill(&s.Backoff.Longest, max(DefaultLongest, time.Duration(s.Backoff.First)))
	fill(&s.Stop, DefaultStop)
	if s.Processes == 0 {
		s.Processes = DefaultProcesses
	}
	if s.Restart == "" {
		s.Restart = RestartAlways
	}
	return s
}

// Duration is a time.Duration that is written as a text: "1m30s".
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("a duration is a text such as \"5s\", not %s", b)
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("a duration is a text such as \"5s\", not %q", text)
	}
	*d = Duration(v)
	return nil
}
