package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Host{
		"web1":                   {Name: "web1"},
		"root@web1":              {User: "root", Name: "web1"},
		"root@web1:2222":         {User: "root", Name: "web1", Port: 2222},
		"192.0.2.7:22":           {Name: "192.0.2.7", Port: 22},
		"2001:db8::7":            {Name: "2001:db8::7"},
		"[2001:db8::7]":          {Name: "2001:db8::7"},
		"anna@[2001:db8::7]:22":  {User: "anna", Name: "2001:db8::7", Port: 22},
		"anna@web1.example.org.": {User: "anna", Name: "web1.example.org."},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%s: %s is read as %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "@web1", "root@", "web1:0", "web1:70000", "web1:ssh", "-oProxyCommand=x", "-l@web1", "root@-x", "a b", "a;b", "$(x)"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// server is a host that runs commands with this machine's shell. It returns the
// configuration with which ssh reaches it as "there".
func server(t *testing.T) (config string) {
	t.Helper()
	tooltest.Need(t, "ssh")
	dir := t.TempDir()
	_, hostKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, userKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewSignerFromKey(hostKey)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(userKey, "")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	c.AddHostKey(host)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go serve(conn, c)
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	for name, text := range map[string]string{
		"key":   string(pem.EncodeToMemory(block)),
		"known": fmt.Sprintf("[127.0.0.1]:%d %s", port, ssh.MarshalAuthorizedKey(host.PublicKey())),
		"config": fmt.Sprintf("Host there elsewhere\n Hostname 127.0.0.1\n Port %d\n User tester\n IdentityFile %s/key\n IdentitiesOnly yes\n BatchMode yes\n StrictHostKeyChecking yes\n"+
			"Host there\n UserKnownHostsFile %s/known\nHost elsewhere\n UserKnownHostsFile /dev/null\n", port, dir, dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config")
}

// serve runs what one client asks for.
func serve(conn net.Conn, c *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, c)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, asked, err := ch.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range asked {
				_ = r.Reply(r.Type == "exec" || r.Type == "env", nil)
				if r.Type == "exec" {
					go execute(channel, string(r.Payload[4:]))
				}
			}
		}()
	}
}

func execute(channel ssh.Channel, command string) {
	defer channel.Close()
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = channel, channel, channel.Stderr()
	status := uint32(0)
	if err := cmd.Run(); err != nil {
		status = uint32(cmd.ProcessState.ExitCode())
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

func TestSession(t *testing.T) {
	config := server(t)
	s, err := Open(Host{Name: "there"}, config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := s.Run(ctx, "echo \"it's\"; cat", strings.NewReader("here\n"))
	if err != nil || string(out) != "it's\nhere\n" {
		t.Errorf("%q %v", out, err)
	}
	_, err = s.Run(ctx, "echo no >&2; exit 7", nil)
	var failed *Error
	if !errors.As(err, &failed) || failed.Exit != 7 || failed.Stderr != "no" || !strings.Contains(err.Error(), "run on there") {
		t.Errorf("%v", err)
	}
	m, err := s.Look(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if m.Root != (os.Geteuid() == 0) && !m.sudo || m.Arch == "" || m.place == "" {
		t.Errorf("%+v", m)
	}
	out, err = s.Execute(ctx, m, []byte("#!/bin/sh\necho ran \"$@\"\n"), "a b", "it's")
	if err != nil || string(out) != "ran a b it's\n" {
		t.Errorf("%q %v", out, err)
	}
	if _, err := os.Stat(m.place); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the program is left: %v", err)
	}
	if m, err = s.Look(ctx); err == nil {
		err = s.Discard(ctx, m)
	}
	if _, gone := os.Stat(m.place); err != nil || !errors.Is(gone, os.ErrNotExist) {
		t.Errorf("%v, left: %v", err, gone)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left %s: %v", s.dir, err)
	}
}

// A host whose key nobody knows is not talked to.
func TestUnknownHost(t *testing.T) {
	s, err := Open(Host{Name: "elsewhere"}, server(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = s.Run(ctx, "true", nil)
	var failed *Error
	if !errors.As(err, &failed) || failed.Exit != 255 || !strings.HasPrefix(err.Error(), "connect to elsewhere: ") || !strings.Contains(err.Error(), "key verification failed") {
		t.Errorf("%v", err)
	}
}

// What hangs ends with the context.
func TestRunEnds(t *testing.T) {
	s, err := Open(Host{Name: "there"}, server(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := s.Run(ctx, "sleep 20", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestTail(t *testing.T) {
	b := tail{limit: 5}
	for _, part := range []string{"one", "two", "three"} {
		if n, err := b.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if string(b.text) != "three" {
		t.Errorf("%q", b.text)
	}
}
