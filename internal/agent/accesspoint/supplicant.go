package accesspoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// supplicant is a connection to wpa_supplicant's control interface: datagrams with a
// command each, and its answer; and, on a socket of their own, events
// (https://w1.fi/wpa_supplicant/devel/ctrl_iface_page.html).
type supplicant struct {
	mu   sync.Mutex
	conn *net.UnixConn
	own  string // the path of this end
}

// errDeaf: there is no answer.
var errDeaf = errors.New("wpa_supplicant does not answer")

// connect opens a connection whose own end is the file own.
func connect(own, control string) (*supplicant, error) {
	if err := os.Remove(own); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	conn, err := net.DialUnix("unixgram", &net.UnixAddr{Name: own, Net: "unixgram"}, &net.UnixAddr{Name: control, Net: "unixgram"})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to wpa_supplicant: %w", err), os.RemoveAll(own))
	}
	return &supplicant{conn: conn, own: own}, nil
}

// awaitSupplicant connects as soon as wpa_supplicant listens.
func awaitSupplicant(ctx context.Context, own, control string) (*supplicant, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errDeaf)
	defer cancel()
	for {
		if _, err := os.Stat(control); err == nil {
			if s, err := connect(own, control); err == nil {
				if answer, err := s.ask("PING"); err == nil && answer == "PONG" {
					return s, nil
				}
				s.close()
			}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *supplicant) close() {
	s.conn.Close()
	_ = os.Remove(s.own) // on a tmpfs, and removed before it is used again
}

// patience is how long an answer may take.
const patience = 5 * time.Second

// ask sends a command and returns the answer.
func (s *supplicant) ask(command string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := s.conn.Write([]byte(command)); err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	buf := make([]byte, 8<<10)
	n, err := s.conn.Read(buf)
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", command, errDeaf, err)
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

// attach has events come over the connection from now on.
func (s *supplicant) attach() error {
	answer, err := s.ask("ATTACH")
	if err == nil && answer != "OK" {
		err = fmt.Errorf("it answers %q", answer)
	}
	if err != nil {
		return fmt.Errorf("attach to wpa_supplicant: %w", err)
	}
	return s.conn.SetDeadline(time.Time{})
}

// follow passes on the events of an attached connection until ctx ends or
// wpa_supplicant does.
func (s *supplicant) follow(ctx context.Context, take func(line string)) error {
	defer context.AfterFunc(ctx, func() { s.conn.Close() })()
	buf := make([]byte, 8<<10)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			return fmt.Errorf("read events of wpa_supplicant: %w", err)
		}
		take(string(buf[:n]))
	}
}

// values reads answers of lines KEY=VALUE.
func values(answer string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(answer) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			all[k] = v
		}
	}
	return all
}

// socketIn is the control socket of a card.
func socketIn(dir, card string) string { return filepath.Join(dir, card) }
