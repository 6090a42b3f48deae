package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/victorinix/vic/internal/agent/writeback"
)

// reception is a payload that is being received. Its fields are guarded by
// Server.mu, except those that do not change.
type reception struct {
	f        *os.File
	size     int64
	progress func(int64)
	ended    chan error // holds the end: nil when all is there

	over   bool
	last   time.Time // of the last bytes
	told   time.Time // of the last progress
	sender *sender
}

// sender is the connection that sends. A new one takes its place: a client
// comes again before the machine knows that its old connection is broken.
type sender struct {
	conn net.Conn
	done chan struct{} // closed when it writes no more
}

// receive is Delivery.Receive.
func (s *Server) receive(ctx context.Context, f *os.File, size int64, progress func(int64)) error {
	in := &reception{f: f, size: size, progress: progress, ended: make(chan error, 1), last: time.Now()}
	s.mu.Lock()
	s.incoming, s.received = in, 0
	s.mu.Unlock()
	err := s.await(ctx, in)
	s.close(in)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("receive payload: %w", err)
	}
	return nil
}

// await returns when everything is there, or nothing came for too long.
func (s *Server) await(ctx context.Context, in *reception) error {
	tick := time.NewTicker(max(s.cfg.Idle/20, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case err := <-in.ended:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			s.mu.Lock()
			silent, n := time.Since(in.last), s.received
			s.mu.Unlock()
			if silent > s.cfg.Idle {
				return fmt.Errorf("nothing came for %v, %d of %d bytes are there", s.cfg.Idle, n, in.size)
			}
		}
	}
}

// close lets nobody send any more, and waits until nobody does.
func (s *Server) close(in *reception) {
	s.mu.Lock()
	s.incoming, in.over = nil, true
	old := in.sender
	s.mu.Unlock()
	old.stop()
}

func (o *sender) stop() {
	if o != nil {
		_ = o.conn.SetReadDeadline(time.Unix(1, 0)) // ends its Read; it may still be answered
		<-o.done
	}
}

// payload is how far the payload is.
func (s *Server) payload() Payload {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Payload{Offset: s.received}
	if s.run != nil {
		p.Size = s.run.Request.Payload.Size
	}
	if s.incoming != nil {
		p.Size, p.Ready = s.incoming.size, s.received < s.incoming.size
	}
	return p
}

// take is the call send: bytes from offset on.
func (s *Server) take(offset int64, r *bufio.Reader, conn net.Conn) error {
	in, me, err := s.enter(offset, conn)
	if err != nil {
		return err
	}
	p := s.payload()
	err = writeLine(conn, answer{Payload: &p})
	if err == nil {
		_ = conn.SetDeadline(time.Time{})
		err = s.fill(in, me, r)
	}
	close(me.done)
	if err == nil && s.payload().Offset == in.size {
		return excess(in, r, conn)
	}
	return err
}

// enter makes conn the one that sends.
func (s *Server) enter(offset int64, conn net.Conn) (*reception, *sender, error) {
	me := &sender{conn, make(chan struct{})}
	s.mu.Lock()
	in := s.incoming
	if in == nil {
		defer s.mu.Unlock()
		return nil, nil, fmt.Errorf("no payload is awaited: the state is %s", s.state)
	}
	old := in.sender
	in.sender = me
	s.mu.Unlock()
	old.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch {
	case in.over || in.sender != me:
		err = errors.New("the payload is not awaited any more by this connection")
	case offset != s.received:
		err = fmt.Errorf("the payload goes on at byte %d, not at %d", s.received, offset)
	}
	if err != nil {
		close(me.done)
		return nil, nil, err
	}
	return in, me, nil
}

// piece is how much of the payload is read at a time.
const piece = 256 << 10

// fill writes what comes to the file, up to its size. It returns nil when the
// client has no more, or everything is there.
func (s *Server) fill(in *reception, me *sender, r io.Reader) error {
	buf := make([]byte, piece)
	for {
		s.mu.Lock()
		at, mine := s.received, in.sender == me && !in.over
		s.mu.Unlock()
		if !mine {
			return errors.New("another connection sends the payload")
		}
		if at == in.size {
			return nil
		}
		n, err := r.Read(buf[:min(piece, in.size-at)])
		if n > 0 {
			if err := s.write(in, buf[:n], at); err != nil {
				return err
			}
			if at += int64(n); at == in.size {
				in.end(nil)
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read payload at byte %d: %w", at, err)
		}
	}
}

// write puts bytes into the file. A disk that does not take them ends the
// reception: no client can help.
func (s *Server) write(in *reception, b []byte, at int64) error {
	if _, err := in.f.WriteAt(b, at); err != nil {
		err = fmt.Errorf("write payload at byte %d of %d: %w", at, in.size, err)
		in.end(err)
		return err
	}
	done := at + int64(len(b))
	writeback.Advance(in.f, at, done)
	s.mu.Lock()
	s.received, in.last = done, time.Now()
	tell := done == in.size || in.last.Sub(in.told) >= report
	if tell {
		in.told = in.last
	}
	s.mu.Unlock()
	if tell {
		in.progress(done)
	}
	return nil
}

// report is the time between two calls of progress: each is an event, on every
// console and to every client.
const report = 250 * time.Millisecond

// end ends the reception; the first end counts.
func (in *reception) end(err error) {
	select {
	case in.ended <- err:
	default:
	}
}

// excess tells a client that sends more than there should be. What was received
// is verified by its hash.
func excess(in *reception, r *bufio.Reader, conn net.Conn) error {
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	if n, _ := r.Read(make([]byte, 1)); n > 0 {
		return fmt.Errorf("the payload has %d bytes, and more were sent", in.size)
	}
	return nil
}
