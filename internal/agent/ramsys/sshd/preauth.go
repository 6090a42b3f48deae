package sshd

import (
	"net"
	"slices"
	"sync"
	"time"
)

// waitingRoom bounds the connections that have not logged in. When it is full,
// the one that came first gives its place up, if it had time enough to log in:
// so connections that are only held open keep nobody out for long.
type waitingRoom struct {
	places int
	tenure time.Duration

	mu    sync.Mutex
	guest []guest // oldest first
}

type guest struct {
	conn net.Conn
	came time.Time
}

func newWaitingRoom(places int, tenure time.Duration) *waitingRoom {
	return &waitingRoom{places: places, tenure: tenure}
}

// enter reports whether there is a place for c.
func (w *waitingRoom) enter(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if len(w.guest) >= w.places {
		oldest := w.guest[0]
		if now.Sub(oldest.came) < w.tenure {
			return false
		}
		oldest.conn.Close()
		w.guest = w.guest[1:]
	}
	w.guest = append(w.guest, guest{c, now})
	return true
}

// leave gives up the place of c, if it still has one.
func (w *waitingRoom) leave(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guest = slices.DeleteFunc(w.guest, func(g guest) bool { return g.conn == c })
}
