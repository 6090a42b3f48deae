// Package remote runs commands on other machines by the user's own ssh(1): what
// its configuration says of the host, keys, agents, known hosts and jump hosts
// holds here too, and it asks on the terminal what it has to ask.
//
// One connection serves all commands of a Session.
package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is another machine, as ssh(1) knows it: Name may be an alias of the
// user's configuration.
type Host struct {
	User string // empty: as the configuration says
	Name string
	Port int // 0: as the configuration says
}

// Parse reads [USER@]HOST[:PORT]. An IPv6 address with a port is in brackets.
func Parse(text string) (Host, error) {
	h := Host{Name: text}
	if user, name, ok := strings.Cut(text, "@"); ok {
		h.User, h.Name = user, name
		if user == "" {
			return h, fmt.Errorf("%q names no user before @", text)
		}
	}
	if name, port, err := net.SplitHostPort(h.Name); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return h, fmt.Errorf("%q: expected a port from 1 to 65535, got %q", text, port)
		}
		h.Name, h.Port = name, int(n)
	}
	h.Name = strings.TrimSuffix(strings.TrimPrefix(h.Name, "["), "]")
	// ssh takes what begins with - for an option, and runs some of them.
	for _, part := range []string{h.User, h.Name} {
		if strings.HasPrefix(part, "-") || strings.ContainsAny(part, " \t\n\r\"'`$\\;|&<>()") {
			return h, fmt.Errorf("%q is no [USER@]HOST[:PORT]", text)
		}
	}
	if h.Name == "" {
		return h, fmt.Errorf("%q names no host", text)
	}
	return h, nil
}

// String is the host as Parse reads it.
func (h Host) String() string {
	s := h.Name
	if h.Port != 0 {
		s = net.JoinHostPort(s, strconv.Itoa(h.Port))
	}
	if h.User != "" {
		s = h.User + "@" + s
	}
	return s
}

// Session is a connection to a host. It is opened by the first Run.
type Session struct {
	host Host
	args []string // of ssh, up to the host
	dir  string
}

// Open prepares a session. config is a file in place of the user's own
// configuration; empty: that.
func Open(h Host, config string) (*Session, error) {
	dir, err := os.MkdirTemp("", "vic-ssh-") // 0700: the connection is open to who can enter it
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", h, err)
	}
	s := &Session{host: h, dir: dir}
	s.args = []string{
		"-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", "ControlPath=" + filepath.Join(dir, "c"),
		"-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6", "-C", "-T",
	}
	if config != "" {
		s.args = append(s.args, "-F", config)
	}
	if h.User != "" {
		s.args = append(s.args, "-l", h.User)
	}
	if h.Port != 0 {
		s.args = append(s.args, "-p", strconv.Itoa(h.Port))
	}
	return s, nil
}

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
	if e.Exit == 255 {
		what = "connect to " + e.Host.String()
	}
	if e.Stderr != "" {
		what += ": " + e.Stderr
	}
	return what
}

func (e *Error) Unwrap() error { return e.Err }

// Run has a POSIX shell on the host run a script, which gets stdin (nil: nothing)
// and whose standard output is returned.
func (s *Session) Run(ctx context.Context, script string, stdin io.Reader) ([]byte, error) {
	// Who logs in may have another shell.
	words := append(append([]string{}, s.args...), "--", s.host.Name, "exec /bin/sh -c "+quote(script))
	cmd := exec.CommandContext(ctx, "ssh", words...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var stdout bytes.Buffer
	stderr := &tail{limit: 4 << 10}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, stderr
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	failed := &Error{Host: s.host, Exit: -1, Stderr: strings.TrimSpace(string(stderr.text)), Err: err}
	if ctx.Err() != nil {
		failed.Err = context.Cause(ctx)
	} else if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		failed.Exit = exit.ExitCode()
	}
	return stdout.Bytes(), failed
}

// Close ends the connection.
func (s *Session) Close() error {
	var err error
	if _, statErr := os.Stat(filepath.Join(s.dir, "c")); statErr == nil {
		end := exec.Command("ssh", append(append([]string{}, s.args...), "-O", "exit", "--", s.host.Name)...)
		if out, exitErr := end.CombinedOutput(); exitErr != nil {
			err = fmt.Errorf("disconnect from %s: %w: %s", s.host, exitErr, bytes.TrimSpace(out))
		}
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// quote makes one word of a text for a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

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
