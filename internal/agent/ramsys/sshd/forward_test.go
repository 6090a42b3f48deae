package sshd

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// echo is a server that sends back what it gets, and its end.
func echo(t *testing.T) (addr, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), port
}

func TestForward(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	addr, _ := echo(t)
	text := strings.Repeat("through the machine ", 50000)
	if got := x.run(text, "ssh", "-W", addr, "host"); got != text {
		t.Errorf("%d bytes of %d came back", len(got), len(text))
	}
}

func TestForwardRefused(t *testing.T) {
	t.Parallel()
	addr, port := echo(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, tt := range []struct {
		name, options, to string
		want              ssh.RejectionReason // 0: allowed
	}{
		{"nobody listens", "", closed.Addr().String(), ssh.ConnectionFailed},
		{"restrict", "restrict ", addr, ssh.Prohibited},
		{"restrict, port-forwarding", "restrict,port-forwarding ", addr, 0},
		{"permitopen", `permitopen="127.0.0.1:` + port + `" `, addr, 0},
		{"permitopen any port", `permitopen="127.0.0.1:*" `, addr, 0},
		{"permitopen another port", `permitopen="127.0.0.1:1" `, addr, ssh.Prohibited},
		{"permitopen another host", `permitopen="localhost:*" `, addr, ssh.Prohibited},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, tt.options, nil)
			c, err := x.mustDial().Dial("tcp", tt.to)
			if err == nil {
				c.Close()
			}
			var refused *ssh.OpenChannelError
			if tt.want == 0 && err != nil || tt.want != 0 && (!errors.As(err, &refused) || refused.Reason != tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// A client that goes takes its forwarded connections along, also when nothing
// is said on them.
func TestForwardEnds(t *testing.T) {
	x := newSite(t, "", nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := x.mustDial()
	for range 2 {
		if _, err := c.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	c.Close()
	_ = far.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
	x.stop()
	<-x.gone
}

func TestOtherChannelsAndRequests(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	c := x.mustDial()
	for kind, want := range map[string]ssh.RejectionReason{
		"x11": ssh.UnknownChannelType, "tun@openssh.com": ssh.UnknownChannelType,
		"direct-streamlocal@openssh.com": ssh.UnknownChannelType, "direct-tcpip": ssh.ConnectionFailed,
	} {
		_, _, err := c.OpenChannel(kind, []byte("nonsense"))
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("%s: %v, want %s", kind, err, want)
		}
	}
	for _, kind := range []string{"keepalive@openssh.com", "hostkeys-prove-00@openssh.com", "tcpip-forward", "cancel-tcpip-forward", "nonsense"} {
		if ok, _, err := c.SendRequest(kind, true, []byte("nonsense")); ok || err != nil {
			t.Errorf("%s: %v, %v, want a refusal", kind, ok, err)
		}
	}
	out, err := x.tool("ssh", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "host", "true").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "remote port forwarding failed") {
		t.Errorf("-R: %v: %s", err, out)
	}
}

// What a key may do is what its line says.
func TestRestrictedKeys(t *testing.T) {
	t.Parallel()
	t.Run("command", func(t *testing.T) {
		x := newSite(t, `command="echo forced $SSH_ORIGINAL_COMMAND" `, nil)
		if got := x.run("", "ssh", "host", "rm -rf x"); got != "forced rm -rf x\n" {
			t.Errorf("exec: %q", got)
		}
		if got := x.run("", "ssh", "host"); got != "forced\n" {
			t.Errorf("shell: %q", got)
		}
		out, err := x.tool("sftp", "-q", "-b", "/dev/null", "host").CombinedOutput()
		if err == nil {
			t.Errorf("sftp works: %s", out)
		}
	})
	t.Run("internal-sftp", func(t *testing.T) {
		x := newSite(t, `restrict,command="internal-sftp" `, nil)
		if err := os.WriteFile(x.dir+"/file", []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		x.run("", "scp", "-q", "host:file", x.dir+"/got")
		if b, err := os.ReadFile(x.dir + "/got"); err != nil || string(b) != "text" {
			t.Errorf("%q, %v", b, err)
		}
		if out, err := x.mustSession().Output("echo hello"); err != nil || strings.Contains(string(out), "hello") {
			t.Errorf("a command runs: %q, %v", out, err)
		}
	})
	t.Run("restrict", func(t *testing.T) {
		x := newSite(t, "restrict ", nil)
		if err := x.mustSession().RequestPty("xterm", 24, 80, nil); err == nil {
			t.Error("it gets a terminal")
		}
		if got := x.run("", "ssh", "host", "echo hello"); got != "hello\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("environment", func(t *testing.T) {
		x := newSite(t, `environment="COLOUR=blue" `, nil)
		if got := x.run("", "ssh", "host", "echo $COLOUR"); got != "blue\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("from", func(t *testing.T) {
		x := newSite(t, `from="192.0.2.0/24" `, nil)
		if c, err := x.dial(nil); err == nil {
			c.Close()
			t.Error("it may come from 127.0.0.1")
		}
		x = newSite(t, `from="!192.0.2.1,127.0.0.*" `, nil)
		x.mustDial()
	})
}
