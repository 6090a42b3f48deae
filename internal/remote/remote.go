// Package remote runs commands on other machines by the user's own ssh(1): what
// its configuration says of the host, keys, agents, known hosts and jump hosts
// holds here too, and it asks on the terminal what it has to ask.
//
//	Open ── Look, Sudo ── Install, VicEnv ── UploadBundle, Enter   the system before
//	                      InstallStart
//	                                                    │ kexec
//	OpenPinned ── Wait ── Stream, Shell   <─────────────┘          the RAM system
//
// One connection serves all commands of a Session, and is made again when it broke.
// A pinned session accepts no other host keys than those it was given.
package remote

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
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

// Session is a connection to a host. It is opened by the first command. Commands
// may run at the same time, after Look, Sudo and Install.
type Session struct {
	host   Host
	args   []string // of ssh, up to the host
	dir    string   // 0700: the connection is open to who can enter it
	pinned bool
	pause  time.Duration // before what failed is tried again, the first time

	machine  Machine // what Look saw
	password []byte  // of sudo, when it asks for one
	folder   string  // on the host, where Install made it
	inRAM    bool    // the folder is
	program  string  // the file of vic-env there
	as       string  // what that is called to be vic-env; empty: it is nothing else
	start    file    // of the initrd, which came with it
	sent     atomic.Int64
}

// Open prepares a session. config is a file in place of the user's own
// configuration; empty: that.
func Open(h Host, config string) (*Session, error) {
	s, err := open(h, config)
	if err != nil {
		return nil, err
	}
	s.option("ServerAliveCountMax", "6")
	return s, nil
}

func open(h Host, config string) (*Session, error) {
	dir, err := os.MkdirTemp(socketFolder(os.TempDir()), "vic-ssh-")
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", h, err)
	}
	s := &Session{host: h, dir: dir, pause: firstWait}
	for _, o := range [][2]string{
		{"ControlMaster", "auto"}, {"ControlPersist", "60"}, {"ControlPath", literal(filepath.Join(dir, "c"))},
		{"ConnectTimeout", "20"}, {"ServerAliveInterval", "5"},
		// Of use to people who log in, and in the way of commands.
		{"RemoteCommand", "none"}, {"ClearAllForwardings", "yes"},
	} {
		s.option(o[0], o[1])
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

// socketFolder is temp, or another folder where the name of a socket would be too
// long: unix(7) takes 107 bytes, of which ssh adds 17 while it makes it.
func socketFolder(temp string) string {
	if len(temp) > 60 {
		return "/tmp"
	}
	return temp
}

// option sets one of ssh_config(5). The first value that ssh sees for one counts:
// it is before that of the user's configuration.
func (s *Session) option(name, value string) { s.args = append(s.args, "-o", name+"="+value) }

// literal is a path as the value of an option, in which ssh replaces no %.
func literal(path string) string {
	return `"` + strings.ReplaceAll(path, "%", "%%") + `"`
}

// Sent is how many bytes were given to ssh to send; what it adds to encrypt them
// is not counted.
func (s *Session) Sent() int64 { return s.sent.Load() }

// Close ends the connection. It leaves what is on the host: see Discard.
func (s *Session) Close() error {
	var err error
	if _, statErr := os.Stat(filepath.Join(s.dir, "c")); statErr == nil {
		end := exec.Command("ssh", append(append([]string{}, s.args...), "-O", "exit", "--", s.host.Name)...)
		if out, exitErr := end.CombinedOutput(); exitErr != nil {
			err = fmt.Errorf("disconnect from %s: %w: %s", s.host, exitErr, bytes.TrimSpace(out))
		}
	}
	clear(s.password)
	return errors.Join(err, os.RemoveAll(s.dir))
}

// quote makes one word of a text for a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
