package ramsys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// notice is what the agent tells init besides events. Init answers each one when
// it has done what follows from it: only then may the agent rely on it.
type notice string

const (
	// noticeEarly: what the initramfs has modules for has its drivers.
	noticeEarly notice = "early"
	// noticeDevices: all devices have the drivers that they will get.
	noticeDevices notice = "devices"
	// noticeLeft asks what remains of the probation.
	noticeLeft notice = "left"
	// noticeAcknowledged ends the probation for good.
	noticeAcknowledged notice = "acknowledged"
	// noticeReleased begins it anew: a run has ended, and nothing was written.
	noticeReleased notice = "released"
	// noticeLeave reboots the machine.
	noticeLeave notice = "leave"
)

// answer is init's to a notice.
type answer struct {
	Left  time.Duration `json:"left"` // of the probation; 0: there is none
	Error string        `json:"error,omitempty"`
}

// answerPatience is how long init may take: it may be writing to slow consoles.
const answerPatience = 15 * time.Second

// line is the agent's line to init: notices go along with events, so that those
// before a notice are before it at init, too.
type line struct {
	rep      *reporter
	answers  <-chan answer
	patience time.Duration

	mu   sync.Mutex
	dead error // an answer is missing: no later one could be told from it
}

// newLine reads the answers from r.
func newLine(rep *reporter, r io.Reader) *line {
	answers := make(chan answer)
	go func() {
		defer close(answers)
		dec := json.NewDecoder(r)
		for {
			var a answer
			if dec.Decode(&a) != nil { // init, and with it the machine, is gone
				return
			}
			answers <- a
		}
	}()
	return &line{rep: rep, answers: answers, patience: answerPatience}
}

// ask gives a notice to init and waits for its answer.
func (l *line) ask(n notice) (answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return answer{}, l.dead
	}
	if err := l.rep.send(report{Notice: n}); err != nil {
		return answer{}, fmt.Errorf("tell init %s: %w", n, err)
	}
	select {
	case a, ok := <-l.answers:
		if !ok {
			l.dead = errors.New("init is gone")
			return answer{}, l.dead
		}
		if a.Error != "" {
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-time.After(l.patience):
		l.dead = fmt.Errorf("init did not answer for %v", l.patience)
		return answer{}, l.dead
	}
}
