package oldsystem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/victorinix/vic/qemu-tests/remote/network"
)

// Answered waits until an SSH server answers at the machine's address, whosever it
// is, and returns how long that was after the machine was switched on.
func (s *System) Answered(ctx context.Context) (time.Duration, error) {
	limit := 3 * time.Second
	for {
		err := s.greet(limit)
		if err == nil {
			return time.Since(s.Began), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for %s to answer: %w: %w\nconsole ends:\n%s", s.Name, context.Cause(ctx), err, s.ConsoleTail(30))
		case <-s.Done():
			return 0, fmt.Errorf("wait for %s to answer: the machine has ended: %w", s.Name, errors.Join(s.Wait(ctx), err))
		case <-time.After(200 * time.Millisecond):
		}
		limit = min(limit*3/2, 20*time.Second)
	}
}

// greet connects, and reads the server's first words (RFC 4253 §4.2).
func (s *System) greet(limit time.Duration) error {
	conn, err := s.Dial(limit)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(conn, b); err != nil {
		return fmt.Errorf("read the greeting of %s: %w", s.Name, err)
	}
	if string(b) != "SSH-" {
		return fmt.Errorf("read the greeting of %s: it begins with %q", s.Name, b)
	}
	return nil
}

// Dial connects to the machine's SSH port from where the client is.
func (s *System) Dial(limit time.Duration) (conn net.Conn, err error) {
	if s.Network.Kind == network.User {
		return net.DialTimeout("tcp", s.Addr(0, 22), limit)
	}
	to := net.JoinHostPort(s.Network.Place.Addresses[0].String(), "22")
	err = s.Network.Client.Do(func() error { conn, err = net.DialTimeout("tcp", to, limit); return err })
	return conn, err
}

// Through writes a configuration as SSHConfig, in which the machine is reached at
// another address (host:port): a network.Relay's, over Dial.
func (s *System) Through(addr string) (config string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	config = filepath.Join(filepath.Dir(s.SSHConfig), "ssh_config-"+port)
	return config, s.writeConfig(config, host, port, "")
}

// SSH runs a shell command as a user, by ssh(1), and returns what it printed.
func (s *System) SSH(ctx context.Context, user, command, stdin string) (string, error) {
	return s.SSHFrom(ctx, user, command, strings.NewReader(stdin))
}

// SSHFrom is SSH with a standard input that may be large.
func (s *System) SSHFrom(ctx context.Context, user, command string, stdin io.Reader) (string, error) {
	cmd := exec.CommandContext(ctx, "ssh", "-F", s.SSHConfig, "-l", user, "-T", s.Name, command)
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("run %q on %s as %s: %w: %s", command, s.Name, user, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
