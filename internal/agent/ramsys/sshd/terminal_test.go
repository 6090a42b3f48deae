package sshd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// person sits at a terminal where ssh(1) runs.
type person struct {
	t    *testing.T
	term *terminal
	cmd  *exec.Cmd

	mu   sync.Mutex
	seen string // what was not expected yet
	all  string
}

// sitDown starts a command on a terminal of 100 columns and 40 rows.
func sitDown(t *testing.T, cmd *exec.Cmd, prepare func(*terminal)) *person {
	t.Helper()
	term, err := openTerminal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.close)
	if err := term.setSize(100, 40, 0, 0); err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(term)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = term.tty, term.tty, term.tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, term: term, cmd: cmd}
	go p.look()
	return p
}

func (p *person) look() {
	buf := make([]byte, 4096)
	for {
		n, err := p.term.master.Read(buf)
		p.mu.Lock()
		p.seen += string(buf[:n])
		p.all += string(buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *person) enter(text string) {
	p.t.Helper()
	if _, err := p.term.master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// expect waits for a pattern, and forgets what came before it.
func (p *person) expect(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		at := re.FindStringSubmatchIndex(p.seen)
		if at != nil {
			match := re.FindStringSubmatch(p.seen)
			p.seen = p.seen[at[1]:]
			p.mu.Unlock()
			return match
		}
		p.mu.Unlock()
	}
	p.t.Fatalf("no %q in %q", pattern, p.all)
	return nil
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	cmd := x.tool("ssh", "-tt", "host")
	cmd.Env = append(os.Environ(), "TERM=vt220")
	p := sitDown(t, cmd, func(term *terminal) {
		setInterrupt(t, term, 7)
	})
	p.enter("PS1='> '; unset HISTFILE\n")
	p.expect(`> $`)
	p.enter("stty size; echo $TERM $SSH_TTY $(tty)\n")
	p.expect(`40 100\r\nvt220 (/dev/pts/\d+) /dev/pts/\d+\r\n`)
	if err := p.term.setSize(132, 50, 0, 0); err != nil { // ssh gets SIGWINCH
		t.Fatal(err)
	}
	p.enter("while [ \"$(stty size)\" != '50 132' ]; do sleep 0.05; done; echo re''sized\n")
	p.expect(`resized`)
	p.enter("stty -a\n")
	p.expect(`intr = \^G`)
	// What says so is what the terminal interrupts; the shell would start the next
	// command of a line all the same.
	p.enter("sh -c 'echo run''ning; exec sleep 100'\n")
	p.expect(`running`)
	p.enter("\x07") // is the interrupt here
	p.enter("echo in''terrupted $?\n")
	p.expect(`interrupted 130`)
	p.enter("exit 3\n")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("ssh: %v, want exit status 3", err)
	}
}

// setInterrupt changes the character that interrupts: the other side has to
// follow.
func setInterrupt(t *testing.T, term *terminal, char byte) {
	t.Helper()
	err := control(term.tty, func(fd int) error {
		tio, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		tio.Cc[unix.VINTR] = char
		return unix.IoctlSetTermios(fd, unix.TCSETS, tio)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// All that was said arrives, and a process in the background that keeps the
// terminal does not keep the client.
func TestTerminalEnds(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	out := x.run("", "ssh", "-tt", "host", "seq 20000; stty size >/dev/null && echo end")
	if lines := strings.Count(out, "\r\n"); lines != 20001 || !strings.HasSuffix(out, "\r\n20000\r\nend\r\n") {
		t.Errorf("%d lines of 20001, at the end %q", lines, out[max(0, len(out)-20):])
	}
	start := time.Now()
	if out := x.run("", "ssh", "-tt", "host", "trap '' HUP; sleep 4 & echo hi"); out != "hi\r\n" {
		t.Errorf("got %q", out)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("a background process held the client for %v", took)
	}
}

// Output that the client takes up late must not be lost when the process has
// ended meanwhile.
func TestTerminalSlowClient(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", func(_ *Config, l *limits) { l.lastWords = 20 * time.Millisecond })
	s := x.mustSession()
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// More than the window of x/crypto's client, which is 2 MiB.
	if err := s.Start("trap '' HUP; seq -w 300000; sleep 2 & echo end"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	var last string
	total, buf := 0, make([]byte, 64<<10)
	for {
		n, err := out.Read(buf)
		total += n
		if last += string(buf[:n]); len(last) > 100 {
			last = last[len(last)-100:]
		}
		if err != nil {
			break
		}
	}
	if want := 300000*8 + len("end\r\n"); total != want || !strings.HasSuffix(last, "300000\r\nend\r\n") {
		t.Errorf("%d bytes of %d, at the end %q", total, want, last)
	}
}

func TestApplyModes(t *testing.T) {
	mode := func(op byte, arg uint32) string {
		return string(binary.BigEndian.AppendUint32([]byte{op}, arg))
	}
	for _, tt := range []struct {
		name, modes string
		want        unix.Termios
		fails       bool
	}{
		{name: "none"},
		{name: "end", modes: "\x00"},
		{name: "echo on", modes: mode(53, 1) + "\x00", want: unix.Termios{Lflag: unix.ECHO}},
		{name: "on and off", modes: mode(72, 1) + mode(72, 0) + "\x00"},
		{name: "without an end", modes: mode(36, 1), want: unix.Termios{Iflag: unix.ICRNL}},
		{name: "nothing after the end counts", modes: "\x00" + mode(53, 1)},
		{name: "an unknown mode is skipped", modes: mode(99, 5) + mode(92, 1), want: unix.Termios{Cflag: unix.PARENB}},
		{name: "speeds are skipped", modes: mode(128, 38400) + mode(129, 38400)},
		{name: "reserved opcodes end it", modes: "\xa0" + mode(53, 1)},
		{name: "no such character", modes: mode(1, 255)},
		{name: "cut off", modes: mode(53, 1)[:4], fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got unix.Termios
			err := applyModes(&got, []byte(tt.modes))
			if (err != nil) != tt.fails || got != tt.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// What a client asks for in the wrong order, twice or malformed is refused, and
// the session goes on.
func TestRequestsRefused(t *testing.T) {
	x := newSite(t, "", nil)
	ch, requests, err := x.mustDial().OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	ask := func(want bool, kind string, payload any) {
		t.Helper()
		var data []byte
		if payload != nil {
			data = ssh.Marshal(payload)
		}
		if got, err := ch.SendRequest(kind, true, data); err != nil || got != want {
			t.Errorf("%s %+v: %v, %v, want %v", kind, payload, got, err, want)
		}
	}
	type text struct{ S string }
	type size struct{ Cols, Rows, Width, Height uint32 }
	type pty struct {
		Kind                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	ask(false, "window-change", size{80, 24, 0, 0})
	ask(false, "window-change", nil)
	ask(false, "pty-req", text{"xterm"})
	ask(false, "pty-req", pty{"xt\x00erm", 80, 24, 0, 0, ""})
	ask(false, "pty-req", pty{"xterm", 80, 24, 0, 0, "\x35\x00"})
	ask(false, "signal", text{"TERM"})
	ask(false, "exec", nil)
	ask(false, "exec", text{""})
	ask(false, "subsystem", text{"netconf"})
	ask(false, "auth-agent-req@openssh.com", nil)
	ask(false, "x11-req", nil)
	ask(false, "env", struct{ Name, Value string }{"PATH", "/tmp"})
	ask(false, "env", struct{ Name, Value string }{"LC_X=", "1"})
	ask(true, "env", struct{ Name, Value string }{"LC_ALL", "C"})
	ask(true, "pty-req", pty{"xterm", 80, 24, 0, 0, ""})
	ask(false, "pty-req", pty{"xterm", 80, 24, 0, 0, ""})
	ask(true, "exec", text{"read x; exit 5"})
	ask(false, "exec", text{"id"})
	ask(false, "shell", nil)
	ask(false, "pty-req", pty{"xterm", 80, 24, 0, 0, ""})
	ask(false, "signal", text{"NONSENSE"})
	ask(false, "unknown@example.org", nil)
	ask(true, "signal", text{"HUP"}) // ends the program, and the session
}

// No terminals are left behind by clients that never use them.
func TestTerminalsClosed(t *testing.T) {
	x := newSite(t, "", nil)
	c := x.mustDial()
	for range 5 {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all terminals are closed", func() bool {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%s", fd.Name()))
			if err == nil && strings.Contains(name, "ptmx") {
				return false
			} else if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		return true
	})
}
