package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// monitor is a client of the QEMU Machine Protocol
// (docs/interop/qmp-spec.rst) on one connection.
type monitor struct {
	conn    io.ReadWriteCloser
	onEvent func(qmpEvent)
	done    chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	next    int
	waiting map[int]chan qmpMessage
}

// qmpMessage is anything that QEMU sends.
type qmpMessage struct {
	ID     *int            `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	qmpEvent
}

// qmpEvent is an event with the members that this package reads.
type qmpEvent struct {
	Event string `json:"event"`
	Data  struct {
		Reason string `json:"reason"` // SHUTDOWN, RESET
		Action string `json:"action"` // WATCHDOG, GUEST_PANICKED
		Device string `json:"device"` // DEVICE_DELETED
	} `json:"data"`
}

// newMonitor starts to read conn. Events are delivered in order, from one
// goroutine.
func newMonitor(conn io.ReadWriteCloser, onEvent func(qmpEvent)) *monitor {
	m := &monitor{conn: conn, onEvent: onEvent, done: make(chan struct{}), waiting: map[int]chan qmpMessage{}}
	go m.read()
	return m
}

func (m *monitor) read() {
	defer close(m.done)
	lines := bufio.NewScanner(m.conn)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var msg qmpMessage
		if json.Unmarshal(lines.Bytes(), &msg) != nil {
			continue // QEMU's last line may be cut where it is killed
		}
		switch {
		case msg.Event != "":
			m.onEvent(msg.qmpEvent)
		case msg.ID != nil:
			m.mu.Lock()
			reply := m.waiting[*msg.ID]
			delete(m.waiting, *msg.ID)
			m.mu.Unlock()
			if reply != nil {
				reply <- msg
			}
		}
	}
}

// errMonitorClosed says that QEMU has gone; the reason is the machine's end.
var errMonitorClosed = errors.New("the machine has ended")

// run executes a command; args may be nil.
func (m *monitor) run(ctx context.Context, command string, args any) (json.RawMessage, error) {
	reply := make(chan qmpMessage, 1)
	m.mu.Lock()
	m.next++
	id := m.next
	m.waiting[id] = reply
	m.mu.Unlock()
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        int    `json:"id"`
	}{command, args, id})
	if err != nil {
		return nil, fmt.Errorf("QMP %s: %w", command, err)
	}
	if _, err := m.conn.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("QMP %s: %w", command, errMonitorClosed)
	}
	select {
	case msg := <-reply:
		return msg.result(command)
	case <-m.done:
		select {
		case msg := <-reply: // the last thing that it said
			return msg.result(command)
		default:
			return nil, fmt.Errorf("QMP %s: %w", command, errMonitorClosed)
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("QMP %s: %w", command, context.Cause(ctx))
	}
}

// result is what a reply to a command says.
func (m qmpMessage) result(command string) (json.RawMessage, error) {
	if m.Error != nil {
		return nil, fmt.Errorf("QMP %s: %s", command, m.Error.Desc)
	}
	return m.Return, nil
}
