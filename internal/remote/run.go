package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Error says how a command on a host failed.
type Error struct {
	Host Host
	// Exit is the command's exit status; 255 is ssh's own: it could not connect,
	// or lost the connection. -1: it was killed, or there is no ssh.
	Exit   int
	Stderr string // its last lines
	Err    error
}

func (e *Error) Error() string {
	what := fmt.Sprintf("run on %s: %v", e.Host, e.Err)
	switch {
	case errors.Is(e, ErrHostKey):
		return fmt.Sprintf("connect to %s: %v; nothing was sent: %s", e.Host, ErrHostKey, e.shown())
	case e.Exit == 255:
		what = "connect to " + e.Host.String()
	}
	if e.Stderr != "" {
		what += ": " + e.Stderr
	}
	return what
}

// shown is the fingerprint of the host key that was refused, out of half a page, and
// why it was.
func (e *Error) shown() string {
	lines := strings.Split(e.Stderr, "\n")
	why := lines[len(lines)-1]
	for _, l := range lines {
		if words := strings.Fields(l); len(words) > 0 && strings.HasPrefix(words[len(words)-1], "SHA256:") {
			return "it shows " + strings.TrimSuffix(words[len(words)-1], ".") + ": " + why
		}
	}
	return why
}

func (e *Error) Unwrap() error { return e.Err }

// Why ssh itself has failed, for errors.Is.
var (
	// ErrHostKey: the host key is not one that is known, or pinned.
	ErrHostKey = errors.New("another machine answers, or somebody is in between: its host key is not the one that is expected")
	// ErrDenied: the host did not let the user in.
	ErrDenied = errors.New("login denied")
)

// Is tells the errors of ssh apart. It has one exit status for all of them, and
// says them in English, whatever the locale.
func (e *Error) Is(target error) bool {
	if e.Exit != 255 {
		return false
	}
	switch target {
	case ErrHostKey:
		return strings.Contains(e.Stderr, "Host key verification failed")
	case ErrDenied:
		return strings.Contains(e.Stderr, "Permission denied (") || strings.Contains(e.Stderr, "Too many authentication failures")
	}
	return false
}

// IsLost tells whether the connection failed in a way that may pass: it broke, or
// nobody answered.
func IsLost(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Exit == 255 && !errors.Is(err, ErrHostKey) && !errors.Is(err, ErrDenied)
}

// Run has a POSIX shell on the host run a script, which gets stdin (nil: nothing)
// and whose standard output is returned.
func (s *Session) Run(ctx context.Context, script string, stdin io.Reader) ([]byte, error) {
	var stdout bytes.Buffer
	err := s.Stream(ctx, shell(script), stdin, &stdout)
	return stdout.Bytes(), err
}

// shell is the command for a script: who logs in may have another shell.
func shell(script string) string { return "exec /bin/sh -c " + quote(script) }

// Stream runs a command, as the login shell of the host reads it, with these as its
// standard input and output.
func (s *Session) Stream(ctx context.Context, command string, stdin io.Reader, stdout io.Writer) error {
	cmd := s.command(ctx, append(append([]string{}, s.args...), "-T", "--", s.host.Name, command))
	if s.pinned {
		// It asks nothing, and where a jump host would, it fails instead of waiting
		// for a terminal that it is not in the foreground of.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	}
	stderr := &tail{limit: 4 << 10}
	if stdin != nil {
		stdin = counted{stdin, &s.sent}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	return s.failed(ctx, cmd.Run(), stderr)
}

// Shell is the user's login shell there, on this terminal, until it ends. With what
// status it ends is the user's.
func (s *Session) Shell(ctx context.Context) error {
	cmd := s.command(ctx, append(append([]string{}, s.args...), "-t", "--", s.host.Name))
	stderr := &tail{limit: 4 << 10}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, io.MultiWriter(os.Stderr, stderr)
	err := s.failed(ctx, cmd.Run(), stderr)
	if e := (*Error)(nil); errors.As(err, &e) && e.Exit >= 0 && e.Exit != 255 {
		return nil
	}
	return err
}

// command is an ssh that ends with the context. It stays in this program's process
// group: in another one it could not ask for a passphrase.
func (s *Session) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ssh", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (s *Session) failed(ctx context.Context, err error, stderr *tail) error {
	if err == nil {
		return nil
	}
	failed := &Error{Host: s.host, Exit: -1, Stderr: strings.TrimSpace(string(stderr.text)), Err: err}
	if ctx.Err() != nil {
		failed.Err = context.Cause(ctx)
	} else if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		failed.Exit = exit.ExitCode()
	}
	return failed
}

// counted adds up what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// tail keeps the end of what is written.
type tail struct {
	text  []byte
	limit int
}

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	if over := len(t.text) - t.limit; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(b), nil
}
