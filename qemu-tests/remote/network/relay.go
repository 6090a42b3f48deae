package network

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Relay stands between a client and a machine, on this process's loopback address: it
// breaks connections, or leads them elsewhere, when a test says so.
type Relay struct {
	listener net.Listener

	mu    sync.Mutex
	dial  func(limit time.Duration) (net.Conn, error)
	conns map[net.Conn]bool
	sent  int64 // bytes that went from clients to machines
	limit int64 // at so many, all connections break, once; 0: never
}

// dialLimit is how long the far end may take to answer.
const dialLimit = 20 * time.Second

// NewRelay starts one for a test; dial connects to the machine.
func NewRelay(t testing.TB, dial func(limit time.Duration) (net.Conn, error)) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{listener: l, dial: dial, conns: map[net.Conn]bool{}}
	t.Cleanup(func() {
		_ = l.Close() // it was only listening
		r.Break()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go r.carry(c)
		}
	}()
	return r
}

// Addr is where clients connect to (host:port).
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Divert leads the connections that come from now on elsewhere.
func (r *Relay) Divert(dial func(limit time.Duration) (net.Conn, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dial = dial
}

// Sent is how many bytes went from clients to machines.
func (r *Relay) Sent() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent
}

// Break breaks all connections that there are.
func (r *Relay) Break() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.breakAll()
}

func (r *Relay) breakAll() {
	for c := range r.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, and no orderly end
		}
		_ = c.Close() // who reads or writes sees it
		delete(r.conns, c)
	}
}

// BreakAfter breaks all connections once n more bytes went to machines.
func (r *Relay) BreakAfter(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limit = r.sent + n
}

// carry serves one client.
func (r *Relay) carry(client net.Conn) {
	r.mu.Lock()
	dial := r.dial
	r.conns[client] = true
	r.mu.Unlock()
	machine, err := dial(dialLimit)
	if err != nil {
		r.drop(client)
		return
	}
	r.mu.Lock()
	alive := r.conns[client]
	if alive {
		r.conns[machine] = true
	}
	r.mu.Unlock()
	if !alive { // broken meanwhile
		_ = machine.Close()
		return
	}
	go func() {
		_, _ = io.Copy(client, machine) // either end may go at any time
		r.drop(client, machine)
	}()
	_, _ = io.Copy(counter{machine, r}, client)
	r.drop(client, machine)
}

func (r *Relay) drop(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		if r.conns[c] {
			_ = c.Close() // as the other end did
			delete(r.conns, c)
		}
	}
}

// counter counts what goes to a machine. What reaches the limit does not arrive.
type counter struct {
	io.Writer
	r *Relay
}

func (c counter) Write(b []byte) (int, error) {
	c.r.mu.Lock()
	c.r.sent += int64(len(b))
	if c.r.limit > 0 && c.r.sent >= c.r.limit {
		c.r.limit = 0
		c.r.breakAll()
	}
	c.r.mu.Unlock()
	return c.Writer.Write(b)
}
