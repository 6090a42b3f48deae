package service

import (
	"maps"
	"slices"
	"time"
)

// Status is the document of `vic-init services --json`.
type Status struct {
	Version  int             `json:"version"`
	Services []ServiceStatus `json:"services"` // each after what it depends on
}

// ServiceStatus is where one service stands. Times are seconds since boot.
type ServiceStatus struct {
	Name     string            `json:"name"`
	State    State             `json:"state"`
	Since    float64           `json:"since"`
	PID      int               `json:"pid"`      // 0: none
	Runs     int               `json:"runs"`     // how often it was started
	Failures int               `json:"failures"` // in a row
	Reason   string            `json:"reason"`   // waiting: for what; backoff, failed: why
	Again    float64           `json:"again"`    // backoff: when it is started again; 0: it is not
	Needs    []string          `json:"needs"`
	Outputs  map[string]string `json:"outputs"`
}

// Status is where all services stand.
func (m *Machine) Status() Status {
	st := Status{Version: Version, Services: []ServiceStatus{}}
	for _, u := range m.units {
		s := ServiceStatus{
			Name: u.Name, State: u.state, Since: seconds(u.since), PID: u.pid, Runs: u.run, Failures: u.failures,
			Reason: u.reason, Needs: slices.Concat([]string{}, u.Needs), Outputs: maps.Clone(u.outputs),
		}
		if u.state == InBackoff {
			s.Again = seconds(u.earliest())
		}
		st.Services = append(st.Services, s)
	}
	return st
}

// Ready: everything is ready, or done.
func (s Status) Ready() bool {
	return !slices.ContainsFunc(s.Services, func(s ServiceStatus) bool { return s.State != Running && s.State != Done })
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
