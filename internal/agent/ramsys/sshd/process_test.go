package sshd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// A client that goes takes its processes along: those that heed SIGHUP, those
// that do not, those in the background of the group, with and without a
// terminal. Nothing is left, not even a zombie.
func TestClientVanishes(t *testing.T) {
	for _, tt := range []struct {
		name, command string
		pty, orphan   bool
	}{
		{name: "heeds SIGHUP", command: "echo $$; exec sleep 100"},
		{name: "ignores SIGHUP", command: "trap '' HUP; echo $$; while :; do sleep 1; done"},
		{name: "is stopped", command: "echo $$; kill -STOP $$"},
		{name: "the leader has ended", command: "trap '' HUP; sleep 100 & echo $!", orphan: true},
		{name: "writes without end", command: "echo $$; exec cat /dev/zero"},
		{name: "on a terminal", command: "echo $$; exec sleep 100", pty: true},
		{name: "ignores SIGHUP on a terminal", command: "trap '' HUP; echo $$; while :; do sleep 1; done", pty: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := newSite(t, "", nil)
			c := x.mustDial()
			s, err := c.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			if tt.pty {
				if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
					t.Fatal(err)
				}
			}
			pid := firstLine(t, s, tt.command)
			if !alive(pid) {
				t.Fatalf("process %s does not run", pid)
			}
			c.Close()
			eventually(t, "process "+pid+" ends", func() bool { return !alive(pid) })
			x.stop()
			<-x.gone
			if _, err := os.Stat("/proc/" + pid); err == nil && !tt.orphan { // PID 1 takes orphans
				t.Errorf("process %s is a zombie", pid)
			}
		})
	}
}

// A client whose network has gone says nothing at all.
func TestClientFallsSilent(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", func(_ *Config, l *limits) { l.silence, l.misses = 100*time.Millisecond, 5 })
	hole, client := x.dialThroughHole()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	pid := firstLine(t, s, "echo $$; exec sleep 100")
	time.Sleep(700 * time.Millisecond) // it answers, so it stays
	if !alive(pid) {
		t.Fatal("a client that answers was dropped")
	}
	hole.on.Store(true)
	eventually(t, "the process ends", func() bool { return !alive(pid) })
	if !strings.Contains(x.log.String(), "silent for") {
		t.Error("the reason is not in the log")
	}
}

// hole is a connection that loses everything once it is on.
type hole struct {
	net.Conn
	on atomic.Bool
}

func (h *hole) Write(p []byte) (int, error) {
	if h.on.Load() {
		return len(p), nil
	}
	return h.Conn.Write(p)
}

func (x *site) dialThroughHole() (*hole, *ssh.Client) {
	x.t.Helper()
	wire, err := net.Dial("tcp", x.addr)
	if err != nil {
		x.t.Fatal(err)
	}
	h := &hole{Conn: wire}
	sc, chans, reqs, err := ssh.NewClientConn(h, x.addr, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(x.client)}, HostKeyCallback: ssh.FixedHostKey(x.host.PublicKey()),
	})
	if err != nil {
		x.t.Fatal(err)
	}
	c := ssh.NewClient(sc, chans, reqs)
	x.t.Cleanup(func() { c.Close() })
	return h, c
}

// What a command leaves running on purpose goes on after a clean end.
func TestDaemonGoesOn(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	out := x.run("", "ssh", "host", "nohup sleep 60 >/dev/null 2>&1 </dev/null & echo $!")
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * 200 * time.Millisecond) // as long as it takes to kill it
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the daemon has ended: %v", err)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	t.Run("caught", func(t *testing.T) {
		s := x.mustSession()
		if line := firstLine(t, s, "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"); line != "ready" {
			t.Fatal(line)
		}
		if err := s.Signal(ssh.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		var exit *ssh.ExitError
		if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 9 {
			t.Errorf("%v, want exit status 9", err)
		}
	})
	t.Run("deadly", func(t *testing.T) {
		s := x.mustSession()
		if line := firstLine(t, s, "echo ready; exec sleep 100"); line != "ready" {
			t.Fatal(line)
		}
		if err := s.Signal(ssh.SIGTERM); err != nil {
			t.Fatal(err)
		}
		var exit *ssh.ExitError
		if err := s.Wait(); !errors.As(err, &exit) || exit.Signal() != "TERM" {
			t.Errorf("%v, want signal TERM", err)
		}
	})
	t.Run("without a name in SSH", func(t *testing.T) {
		var exit *ssh.ExitError
		if err := x.mustSession().Run("kill -BUS $$"); !errors.As(err, &exit) || exit.ExitStatus() != 128+7 {
			t.Errorf("%v, want exit status 135", err)
		}
	})
}

// A server that is killed leaves no process to itself either.
func TestServerDies(t *testing.T) {
	t.Parallel()
	x, server := startChild(t)
	pid := firstLine(t, x.mustSession(), "echo $$; exec sleep 100")
	time.Sleep(100 * time.Millisecond) // longer than a thread that would end by itself
	if !alive(pid) {
		t.Fatal("the process has ended before the server")
	}
	if err := syscall.Kill(server, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process ends", func() bool { return !alive(pid) })
}

// When the server is told to end, everything ends.
func TestServerEnds(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	pid := firstLine(t, x.mustSession(), "trap '' HUP; echo $$; while :; do sleep 1; done")
	x.stop()
	<-x.gone
	eventually(t, "the process ends", func() bool { return !alive(pid) })
	if c, err := net.Dial("tcp", x.addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestConcurrency(t *testing.T) {
	x := newSite(t, "", nil)
	var wg sync.WaitGroup
	for range 8 { // below what may log in at a time
		wg.Go(func() {
			c, err := x.dial(nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for i := range 10 {
				wg.Go(func() {
					s, err := c.NewSession()
					if err != nil {
						return // the connection has been closed meanwhile
					}
					defer s.Close()
					s.Stdin = strings.NewReader(strings.Repeat("x", 100000))
					_ = s.Run("cat") // may be cut off, too
				})
				if i == 5 {
					s, err := c.NewSession()
					if err != nil {
						t.Error(err)
						return
					}
					if out, err := s.Output("echo $((6*7))"); err != nil || string(out) != "42\n" {
						t.Errorf("%q, %v", out, err)
					}
				}
			}
		})
	}
	wg.Wait()
	x.stop()
	<-x.gone
	if left := children(t, os.Getpid()); len(left) > 0 {
		t.Errorf("children are left: %s", left)
	}
}

func TestTooManySessions(t *testing.T) {
	x := newSite(t, "", func(_ *Config, l *limits) { l.sessions = 2 })
	c := x.mustDial()
	for i := range 3 {
		s, err := c.NewSession()
		if (err == nil) != (i < 2) {
			t.Fatalf("session %d: %v", i, err)
		}
		if i == 1 {
			s.Close()
			eventually(t, "another session is allowed after one ended", func() bool {
				s, err = c.NewSession()
				return err == nil
			})
		}
	}
	if _, _, err := c.SendRequest("no-more-sessions@openssh.com", false, nil); err != nil {
		t.Fatal(err)
	}
	var refused *ssh.OpenChannelError
	if _, err := c.NewSession(); !errors.As(err, &refused) {
		t.Errorf("%v, want a refusal", err)
	}
}

// 100 MB in each direction, and what a client does not read, may not stay in
// the server's memory.
func TestMemory(t *testing.T) {
	t.Parallel()
	x, pid := startChild(t)
	idle := rss(t, pid, "VmRSS")
	const size = 100 << 20
	sparse, err := os.Create(filepath.Join(x.dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	if err := sparse.Truncate(size); err != nil {
		t.Fatal(err)
	}
	up := x.tool("ssh", "host", "wc -c")
	up.Stdin = sparse
	if out, err := up.Output(); err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(size) {
		t.Errorf("%q, %v", out, err)
	}
	down := x.tool("ssh", "host", fmt.Sprintf("head -c %d /dev/zero", size))
	counted := &counter{}
	down.Stdout = counted
	if err := down.Run(); err != nil || counted.n != size {
		t.Errorf("%d bytes of %d, %v", counted.n, size, err)
	}
	c := x.mustDial()
	for range 4 {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
		if err := s.Start("cat /dev/zero"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
	peak := rss(t, pid, "VmHWM")
	t.Logf("idle %d KiB, peak %d KiB", idle, peak)
	if grown := peak - idle; grown > 24<<10 {
		t.Errorf("grew by %d KiB", grown)
	}
}

type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}
