package remote

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

// server is a host that runs commands with this machine's shell. With config, ssh
// reaches it as "there"; "elsewhere" is the same one, with a key that nobody knows,
// and "behind" the same by way of itself.
type server struct {
	config  string
	hostKey string // as in known_hosts
	port    int
	// key is what it shows; a test may replace it.
	key atomic.Pointer[ssh.Signer]
	// let decides who logs in; nil: everybody.
	let func(user, key string) bool
	env []string
	// cuts says after how many bytes the connections end, one after the other; then
	// they hold.
	mu       sync.Mutex
	cuts     []int64
	commands []string
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func publicText(s ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func serve(t *testing.T) *server { t.Helper(); return serveAt(t, "127.0.0.1") }

func serveAt(t *testing.T, address string) *server {
	t.Helper()
	tooltest.Need(t, "ssh")
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Skip(err) // no IPv6
	}
	t.Cleanup(func() { l.Close() })
	s := &server{port: l.Addr().(*net.TCPAddr).Port}
	key := newKey(t)
	s.key.Store(&key)
	s.hostKey = publicText(key)
	user, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	// A folder with a space and a %, as ssh has them in options.
	dir := filepath.Join(t.TempDir(), "100% of it")
	s.config = filepath.Join(t.TempDir(), "config") // ssh hands it to that of a jump host as it is
	quoted := strings.ReplaceAll(dir, "%", "%%")
	config := fmt.Sprintf(`Host there elsewhere behind
 Hostname %s
 Port %d
 User tester
 IdentityFile "%s/key"
 IdentitiesOnly yes
 BatchMode yes
 StrictHostKeyChecking yes
Host there behind
 UserKnownHostsFile "%s/known"
Host elsewhere
 UserKnownHostsFile /dev/null
Host behind
 ProxyJump there
`, address, s.port, quoted, quoted)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"key": string(user.Private), "known": fmt.Sprintf("[%s]:%d %s\n", address, s.port, s.hostKey),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go s.talk(s.cut(conn))
		}
	}()
	return s
}

// cutConn ends after a number of bytes.
type cutConn struct {
	net.Conn
	left int64
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(int64(len(b)), c.left)])
	if c.left -= int64(n); c.left <= 0 {
		c.Conn.Close()
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

func (s *server) cut(conn net.Conn) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cuts) == 0 {
		return conn
	}
	left := s.cuts[0]
	s.cuts = s.cuts[1:]
	return &cutConn{conn, left}
}

func (s *server) serverConfig() *ssh.ServerConfig {
	c := &ssh.ServerConfig{PublicKeyCallback: func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		text := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
		if s.let != nil && !s.let(m.User(), text) {
			return nil, fmt.Errorf("%s may not log in", m.User())
		}
		return nil, nil
	}}
	c.AddHostKey(*s.key.Load())
	return c
}

// talk runs what one client asks for.
func (s *server) talk(conn net.Conn) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, s.serverConfig())
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			channel, asked, err := ch.Accept()
			if err != nil {
				return
			}
			go s.session(channel, asked, conn)
		case "direct-tcpip":
			go forward(ch)
		default:
			_ = ch.Reject(ssh.UnknownChannelType, "no")
		}
	}
}

func (s *server) session(channel ssh.Channel, asked <-chan *ssh.Request, conn net.Conn) {
	for r := range asked {
		_ = r.Reply(r.Type == "exec" || r.Type == "env" || r.Type == "shell" || r.Type == "pty-req", nil)
		switch r.Type {
		case "exec":
			go s.execute(channel, string(r.Payload[4:]), conn)
		case "shell":
			go s.execute(channel, "echo a shell; exit 3", conn)
		}
	}
}

func (s *server) execute(channel ssh.Channel, command string, conn net.Conn) {
	defer channel.Close()
	s.mu.Lock()
	s.commands = append(s.commands, command)
	s.mu.Unlock()
	cmd := exec.Command("/bin/sh", "-c", command)
	client, here := conn.RemoteAddr().(*net.TCPAddr), conn.LocalAddr().(*net.TCPAddr)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SSH_CONNECTION=%v %d %v %d", client.IP, client.Port, here.IP, here.Port))
	cmd.Env = append(cmd.Env, s.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = channel, channel, channel.Stderr()
	cmd.WaitDelay = time.Second // for what does not read its standard input
	status := uint32(0)
	if err := cmd.Run(); err != nil {
		status = uint32(cmd.ProcessState.ExitCode())
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

// forward is what a jump host does.
func forward(ch ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		From       string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(ch.ExtraData(), &to); err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(to.Host, fmt.Sprint(to.Port)))
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer conn.Close()
	channel, requests, err := ch.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	go func() {
		_, _ = io.Copy(conn, channel)
		conn.Close()
	}()
	_, _ = io.Copy(channel, conn)
	channel.Close()
}

// ran lists the commands so far.
func (s *server) ran() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.commands, "\n")
}

// opened is a session with a host, that ends with the test.
func opened(t *testing.T, srv *server, h Host) *Session {
	t.Helper()
	s, err := Open(h, srv.config)
	if err != nil {
		t.Fatal(err)
	}
	s.pause = 10 * time.Millisecond
	t.Cleanup(func() { _ = s.Close() })
	return s
}
