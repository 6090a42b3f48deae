package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// callPatience is how long a client may take to say what it wants. Bytes of a
// payload may take longer.
const callPatience = 30 * time.Second

// serve answers the one call of a connection. A client that is gone is told
// nothing.
func (s *Server) serve(ctx context.Context, conn *net.UnixConn) {
	_ = conn.SetDeadline(time.Now().Add(callPatience))
	r := bufio.NewReaderSize(conn, maxLine)
	c, err := readCall(r)
	var a answer
	if err == nil {
		a, err = s.do(ctx, c, r, conn)
	}
	if err != nil {
		a = answer{Error: fmt.Sprintf("%.*s", maxAnswer/8, err)}
	}
	_ = conn.SetWriteDeadline(time.Now().Add(callPatience))
	_ = writeLine(conn, a)
}

func (s *Server) do(ctx context.Context, c call, r *bufio.Reader, conn *net.UnixConn) (answer, error) {
	switch c.Verb {
	case verbStatus:
		st, err := s.status()
		return answer{Status: &st}, err
	case verbDeliver:
		doc := make([]byte, c.Length)
		defer clear(doc)
		if _, err := io.ReadFull(r, doc); err != nil {
			return answer{}, fmt.Errorf("read what is delivered: %w", err)
		}
		started, err := s.deliver(ctx, doc)
		return answer{Started: &started}, err
	case verbProceed:
		return answer{}, s.proceed(c.Run)
	case verbPayload:
		p := s.payload()
		return answer{Payload: &p}, nil
	case verbSend:
		err := s.take(c.Offset, r, conn)
		p := s.payload()
		return answer{Payload: &p}, err
	case verbStay:
		return answer{}, s.stay()
	case verbLeave:
		return answer{}, s.leave(c.Force)
	}
	return answer{}, fmt.Errorf("unknown call %.20q", c.Verb)
}

func (s *Server) status() (Status, error) {
	n, err := lastEvent(s.cfg.Events)
	left := s.cfg.Hooks.Left()
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{
		State: s.state, Written: s.written || s.state == Writing, Events: n, Payload: s.received, Version: s.cfg.Version,
		Probation: int64((left + time.Second - 1) / time.Second),
	}, err
}

// proceed acknowledges what was verified, by any run if it is 0. Saying so twice
// is no mistake: the first answer may have been lost.
func (s *Server) proceed(run int64) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	state, d, gone, started := s.state, s.run, s.gone, s.started
	s.mu.Unlock()
	switch {
	case gone != "":
		return errors.New(gone)
	case run != 0 && run != started.Events:
		return fmt.Errorf("another request was delivered since: its events come after number %d, not %d", started.Events, run)
	case state == Writing:
		return nil
	case state != Verified:
		return fmt.Errorf("there is nothing to acknowledge: the state is %s, not %s", state, Verified)
	}
	if err := s.cfg.Hooks.Acknowledged(); err != nil {
		return err
	}
	s.mu.Lock()
	s.state = Writing
	s.mu.Unlock()
	close(d.proceed)
	return nil
}

// stay ends the probation for good.
func (s *Server) stay() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	gone := s.gone
	s.mu.Unlock()
	if gone != "" {
		return errors.New(gone)
	}
	if err := s.cfg.Hooks.Acknowledged(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stayed = true
	return nil
}

// leave goes back to the system before, as long as it is all there.
func (s *Server) leave(force bool) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	refused := !force && (s.written || s.state == Writing)
	if !refused {
		s.gone = "the machine is about to reboot: it was told to leave"
	}
	s.mu.Unlock()
	if refused {
		return errors.New("a disk was written to: the system before may not start any more")
	}
	s.left()
	s.cfg.Hooks.Leave()
	return nil
}
