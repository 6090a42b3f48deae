// Package sshd is the SSH server of the RAM system: how a client goes on
// talking to a machine whose old system is gone.
//
// It serves root alone, by public keys alone, and it needs nothing of a system
// but /dev/ptmx and the shell that it is told: no /etc/passwd, no PAM, no
// configuration. Sessions have exec, shell, terminals and sftp; connections to
// elsewhere go through it (direct-tcpip); agents, X11, tunnels and listening
// for the client are refused. It is meant to be a process of its own, which
// PID 1 starts again when it ends, so that whatever a client does to it, the
// agent goes on.
//
//	Serve ─ listen ─ accept ─┬─ handshake, login (preauth.go, auth.go, authorized.go)
//	                         ├─ keep-alives (conn.go)
//	                         └─ channels ─┬─ session.go ─┬─ process.go, terminal.go
//	                                      │              └─ sftp
//	                                      └─ forward.go
//
// What a connection holds ends with it: its processes get SIGHUP and, a moment
// later, SIGKILL. A client that does not answer is dropped after a minute.
package sshd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"
)

// Config is what a server needs to know.
type Config struct {
	// Listen are TCP addresses. ":22" is every address of IPv4 and IPv6. An
	// address that the machine does not have yet is tried again until it has.
	Listen []string
	// HostKeys are those of LoadHostKeys. RSA keys sign with SHA-2 only,
	// whatever they offer.
	HostKeys []ssh.Signer
	// AuthorizedKeys are lines of authorized_keys(5). Empty lines and comments
	// are skipped; a line with an option that this server cannot honour is
	// refused as a whole, and logged.
	AuthorizedKeys []string
	// Shell is the shell and its arguments. Commands are run by appending "-c"
	// and the command.
	Shell []string
	// Env is the environment of all sessions. HOME, USER, LOGNAME and SHELL
	// are added when they are missing; a session starts in HOME.
	Env []string
	// Log gets one line for each login, each refusal and each problem. It may
	// be nil, and may be called by several goroutines at a time.
	Log func(format string, args ...any)
}

// limits bound what clients can hold, and for how long.
type limits struct {
	login     time.Duration // from the connection to the end of the login
	attempts  int           // keys and other attempts of a login
	refusal   time.Duration // what a refused key takes at least, whatever the reason
	pending   int           // connections that have not logged in
	tenure    time.Duration // how long such a connection keeps its place when others come
	silence   time.Duration // after this much silence a client is asked whether it is there
	misses    int           // after this many silences it is gone
	hangUp    time.Duration // between SIGHUP and SIGKILL
	sessions  int           // of a connection at a time
	forwards  int           // of a connection at a time
	retry     time.Duration // between attempts to listen
	lastWords time.Duration // how long a terminal is read after its session has ended
}

func defaultLimits() limits {
	return limits{
		login: time.Minute, attempts: 6, refusal: 50 * time.Millisecond,
		pending: 10, tenure: 5 * time.Second,
		silence: 15 * time.Second, misses: 4, hangUp: 2 * time.Second,
		sessions: 32, forwards: 64,
		retry: time.Second, lastWords: 100 * time.Millisecond,
	}
}

// server is a Config that was checked.
type server struct {
	Config
	limits    limits
	keys      authorizedKeys
	ssh       *ssh.ServerConfig
	waiting   *waitingRoom
	tasks     sync.WaitGroup
	listening func(net.Addr) // nil, or told of each listener
}

// Serve serves until ctx ends: then it ends all sessions, as if their clients
// had gone, and returns nil. An error means that it never served anybody,
// because cfg makes no sense.
func Serve(ctx context.Context, cfg Config) error {
	s, err := newServer(cfg, defaultLimits())
	if err != nil {
		return fmt.Errorf("serve ssh: %w", err)
	}
	s.serve(ctx)
	return nil
}

func newServer(cfg Config, lim limits) (*server, error) {
	cfg.Log = printable(cfg.Log)
	keys, refused := parseAuthorizedKeys(cfg.AuthorizedKeys)
	for _, err := range refused {
		cfg.Log("%v", err)
	}
	s := &server{Config: cfg, limits: lim, keys: keys, waiting: newWaitingRoom(lim.pending, lim.tenure)}
	if err := s.check(); err != nil {
		return nil, err
	}
	var err error
	s.ssh, err = s.sshConfig()
	return s, err
}

// maxLog bounds a line of the log: clients have a say in what is in it.
const maxLog = 500

// printable keeps what clients send from being more than text on a console.
func printable(log func(string, ...any)) func(string, ...any) {
	if log == nil {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) {
		line := strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, fmt.Sprintf(format, args...))
		if len(line) > maxLog {
			line = strings.ToValidUTF8(line[:maxLog], "") + "..."
		}
		log("%s", line)
	}
}

func (s *server) check() error {
	var errs []error
	if len(s.keys) == 0 {
		errs = append(errs, errors.New("no usable authorized key: nobody could log in"))
	}
	if len(s.HostKeys) == 0 {
		errs = append(errs, errors.New("no host key"))
	}
	if len(s.Shell) == 0 {
		errs = append(errs, errors.New("no shell"))
	}
	if len(s.Listen) == 0 {
		errs = append(errs, errors.New("no address to listen on"))
	}
	for _, addr := range s.Listen {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("address %q: %w", addr, err))
		}
	}
	return errors.Join(errs...)
}

// serve returns when ctx has ended and all clients are gone. A process that not
// even SIGKILL ends (it waits for a disk that does not answer) is not waited for.
func (s *server) serve(ctx context.Context) {
	for _, addr := range s.Listen {
		s.tasks.Go(func() { s.listen(ctx, addr) })
	}
	<-ctx.Done()
	gone := make(chan struct{})
	go func() {
		s.tasks.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(s.limits.hangUp + 2*time.Second):
		s.Log("some processes do not end")
	}
}

// listen keeps a listener on addr until ctx ends.
func (s *server) listen(ctx context.Context, addr string) {
	said := ""
	for ctx.Err() == nil {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", addr)
		if err == nil {
			said = ""
			s.Log("listening on %s", l.Addr())
			if s.listening != nil {
				s.listening(l.Addr())
			}
			err = s.accept(ctx, l)
		}
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			s.Log("cannot serve %s, trying again: %v", addr, err)
		}
		pause(ctx, s.limits.retry)
	}
}

// accept returns when ctx ends, or when the listener cannot accept: for want of
// file descriptors, say. A new one may.
func (s *server) accept(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		if !s.waiting.enter(nc) {
			s.Log("%s: refused: too many connections are logging in", nc.RemoteAddr())
			nc.Close()
			continue
		}
		s.tasks.Go(func() { s.handle(ctx, nc) })
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// environment is what sessions start with.
func (s *server) environment() []string {
	// Of a name that is there twice, the last counts.
	return append([]string{"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=" + s.Shell[0]}, s.Env...)
}

// home is where sessions start.
func (s *server) home() string {
	dir := "/root"
	for _, v := range s.Env {
		if home, ok := strings.CutPrefix(v, "HOME="); ok {
			dir = home
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "/"
	}
	return dir
}
