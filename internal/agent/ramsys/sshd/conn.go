package sshd

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// conn is a client that has logged in.
type conn struct {
	*ssh.ServerConn
	server   *server
	key      *authorizedKey
	wire     *wire
	sessions chan struct{} // holds one for each
	forwards chan struct{}
	last     atomic.Bool // the client wants no more sessions
}

// wire knows when something last came from the client.
type wire struct {
	net.Conn
	start time.Time
	heard atomic.Int64 // time.Duration since start
}

func newWire(c net.Conn) *wire { return &wire{Conn: c, start: time.Now()} }

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(int64(time.Since(w.start)))
	}
	return n, err
}

func (w *wire) silence() time.Duration {
	return time.Since(w.start) - time.Duration(w.heard.Load())
}

// drop closes the connection without waiting for what cannot be delivered.
func (w *wire) drop() {
	if tcp, ok := w.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the connection is lost either way
	}
	w.Conn.Close()
}

// handle serves a connection from its first byte to its last process. It has
// entered the waiting room.
func (s *server) handle(ctx context.Context, nc net.Conn) {
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	w := newWire(nc)
	_ = nc.SetDeadline(time.Now().Add(s.limits.login)) // on a closed connection: the handshake says so
	sc, channels, requests, err := ssh.NewServerConn(w, s.ssh)
	s.waiting.leave(nc)
	if err != nil {
		s.Log("%s: no login: %v", nc.RemoteAddr(), err)
		return
	}
	_ = nc.SetDeadline(time.Time{})
	key, _ := sc.Permissions.ExtraData[loginKey{}].(*authorizedKey)
	c := &conn{
		ServerConn: sc, server: s, key: key, wire: w,
		sessions: make(chan struct{}, s.limits.sessions),
		forwards: make(chan struct{}, s.limits.forwards),
	}
	s.Log("%s: login with %s %s %s", nc.RemoteAddr(), key.key.Type(), ssh.FingerprintSHA256(key.key), key.comment)
	c.serve(ctx, channels, requests)
	s.Log("%s: gone", nc.RemoteAddr())
}

// serve returns when the connection has ended, and all that it held.
func (c *conn) serve(ctx context.Context, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks.Go(func() { c.answer(requests) })
	tasks.Go(func() { c.keepAlive(ctx) })
	for nch := range channels {
		switch nch.ChannelType() {
		case "session":
			c.open(nch, c.sessions, &tasks, c.session)
		case "direct-tcpip":
			c.open(nch, c.forwards, &tasks, func(nch ssh.NewChannel) { c.forward(ctx, nch) })
		default:
			_ = nch.Reject(ssh.UnknownChannelType, "this server has sessions and direct-tcpip")
		}
	}
}

// open runs serve for a channel, if one more of its kind is allowed. That a
// rejection cannot be sent ends the connection, which others see.
func (c *conn) open(nch ssh.NewChannel, places chan struct{}, tasks *sync.WaitGroup, serve func(ssh.NewChannel)) {
	if c.last.Load() && nch.ChannelType() == "session" {
		_ = nch.Reject(ssh.Prohibited, "the client said that it needs no more sessions")
		return
	}
	select {
	case places <- struct{}{}:
	default:
		_ = nch.Reject(ssh.ResourceShortage, "too many channels of this type")
		return
	}
	tasks.Go(func() {
		defer func() { <-places }()
		serve(nch)
	})
}

// answer answers global requests: to listen for the client (tcpip-forward) is
// refused, keepalive@openssh.com is answered by a refusal, and so is whatever
// is not known here, as RFC 4254 §4 has it.
func (c *conn) answer(requests <-chan *ssh.Request) {
	for req := range requests {
		known := req.Type == "no-more-sessions@openssh.com"
		if known {
			c.last.Store(true)
		}
		_ = req.Reply(known, nil) // a broken connection ends the loop
	}
}

// keepAlive drops the client when it is silent for too long though it was asked
// whether it is there. Whatever comes from it counts: on a slow line the answer
// may be behind megabytes of data.
func (c *conn) keepAlive(ctx context.Context) {
	tick := time.NewTicker(c.server.limits.silence)
	defer tick.Stop()
	var asking atomic.Bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		silence := c.wire.silence()
		if silence >= c.server.limits.silence*time.Duration(c.server.limits.misses) {
			c.server.Log("%s: silent for %s, dropped", c.RemoteAddr(), silence.Round(time.Millisecond))
			c.wire.drop()
			return
		}
		if silence < c.server.limits.silence || asking.Swap(true) {
			continue
		}
		go func() { // until it is answered, or the connection ends
			_, _, _ = c.SendRequest("keepalive@openssh.com", true, nil)
			asking.Store(false)
		}()
	}
}
