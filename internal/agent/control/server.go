package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"github.com/victorinix/vic/internal/request"
)

// Server is the RAM system's end of the socket.
type Server struct {
	cfg      Config
	listener *net.UnixListener
	next     chan *Delivery
	leaving  context.Context
	left     context.CancelFunc // ends leaving

	// turn is held by whatever changes the state, and its hook: so that no
	// probation begins anew after the acknowledgement of the run after it.
	turn sync.Mutex
	mu   sync.Mutex // held briefly; within turn

	state    string
	run      *Delivery // going on; nil: none
	runs     int       // how many were delivered
	started  Started   // of run
	written  bool
	stayed   bool   // a client took the machine over: no probation any more
	gone     string // why no further run can begin; empty: it can
	incoming *reception
	received int64 // bytes of the payload
}

// idle is the default of Config.Idle.
const idle = 10 * time.Minute

// Listen makes the socket, readable by root alone, and serves it until ctx ends.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Socket == "" {
		cfg.Socket = Socket
	}
	if cfg.Events == "" {
		cfg.Events = Events
	}
	if cfg.Idle == 0 {
		cfg.Idle = idle
	}
	if err := os.Remove(cfg.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open control socket: %w", err) // left by an agent before
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: cfg.Socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	// It stays as a killed agent's does: removed whenever the listener closes, it
	// could be that of the next server.
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(cfg.Socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("open control socket: %w", err), l.Close())
	}
	s := &Server{cfg: cfg, listener: l, next: make(chan *Delivery), state: Waiting}
	s.leaving, s.left = context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		defer stop()
		s.accept(ctx)
	}()
	return s, nil
}

func (s *Server) accept(ctx context.Context) {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors: that passes
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-ctx.Done():
				return
			}
		}
		go func() {
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			defer conn.Close()
			s.serve(ctx, conn)
		}()
	}
}

// Next waits for a request. The one before has to be Done.
func (s *Server) Next(ctx context.Context) (*Delivery, error) {
	select {
	case d := <-s.next:
		return d, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// verified is Delivery.Verified.
func (s *Server) verified(d *Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == d && s.state == Verifying {
		s.state = Verified
	}
}

// awaitProceed is Delivery.Proceed.
func (s *Server) awaitProceed(ctx context.Context, d *Delivery) error {
	s.verified(d)
	select {
	case <-d.proceed:
		return nil
	case <-s.leaving.Done():
		return errors.New("the machine was told to leave")
	case <-ctx.Done():
		return fmt.Errorf("wait for the client: %w", context.Cause(ctx))
	}
}

// done is Delivery.Done.
func (s *Server) done(d *Delivery, finish string, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	if s.run != d {
		s.mu.Unlock()
		return
	}
	if s.state == Writing && !untouched(err) {
		s.written = true
	}
	s.state, s.run = Done, nil
	if err != nil {
		s.state = Failed
	} else if finish != request.FinishStay {
		s.gone = "the request was run, and the machine is about to " + finish
	}
	again := !s.written && !s.stayed && s.gone == ""
	s.mu.Unlock()
	if again {
		s.cfg.Hooks.Released()
	}
}

// untouched tells whether a run that ended so has written nothing (exit codes 3
// and 4 of the design).
func untouched(err error) bool {
	var coded interface{ ExitCode() int }
	return errors.As(err, &coded) && (coded.ExitCode() == 3 || coded.ExitCode() == 4)
}
