package sshd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

// childDir names the folder that a server in a process of its own finds its
// keys in.
const childDir = "SSHD_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		// As vic-init starts it. Who runs the tests by nohup(1) would have its
		// processes ignore what ends them.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
		if err := serveChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Most tests wait more than they compute.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func serveChild(dir string) error {
	keys, err := LoadHostKeys(dir)
	if err != nil {
		return err
	}
	authorized, err := os.ReadFile(filepath.Join(dir, "authorized_keys"))
	if err != nil {
		return err
	}
	return Serve(context.Background(), Config{
		Listen: []string{"127.0.0.1:0"}, HostKeys: keys, AuthorizedKeys: strings.Split(string(authorized), "\n"),
		Shell: []string{"/bin/sh"}, Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir},
		Log: func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	})
}

// site is a server and what a client needs to log in.
type site struct {
	t      *testing.T
	dir    string // HOME of sessions, and the client's files
	addr   string
	host   ssh.Signer
	client ssh.Signer
	stop   context.CancelFunc
	gone   chan struct{} // closed when Serve has returned
	log    *journal
}

type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintf(&j.text, format+"\n", args...)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
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

// keyLine is how a key is written in authorized_keys(5).
func keyLine(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func writeKey(t *testing.T, name string) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// newSite serves on 127.0.0.1. options are those of the client's key, change
// may change what else the server is told.
func newSite(t *testing.T, options string, change func(*Config, *limits)) *site {
	t.Helper()
	x := &site{t: t, dir: t.TempDir(), log: &journal{}, gone: make(chan struct{})}
	x.client = writeKey(t, filepath.Join(x.dir, "id"))
	x.host = newKey(t)
	cfg := Config{
		Listen: []string{"127.0.0.1:0"}, HostKeys: []ssh.Signer{x.host},
		AuthorizedKeys: []string{options + keyLine(x.client.PublicKey()) + " client"},
		Shell:          []string{"/bin/sh"},
		Env:            []string{"PATH=" + os.Getenv("PATH"), "HOME=" + x.dir},
		Log:            x.log.add,
	}
	lim := defaultLimits()
	lim.hangUp = 200 * time.Millisecond
	if change != nil {
		change(&cfg, &lim)
	}
	s, err := newServer(cfg, lim)
	if err != nil {
		t.Fatal(err)
	}
	addr := make(chan net.Addr, 1)
	s.listening = func(a net.Addr) { addr <- a }
	ctx, cancel := context.WithCancel(t.Context())
	x.stop = cancel
	go func() {
		defer close(x.gone)
		s.serve(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-x.gone
		if t.Failed() {
			t.Logf("the server's log:\n%s", x.log)
		}
	})
	x.addr = (<-addr).String()
	x.writeClient()
	return x
}

// writeClient writes what ssh(1) needs: the server's key is known.
func (x *site) writeClient() {
	x.t.Helper()
	_, port, _ := net.SplitHostPort(x.addr)
	config := fmt.Sprintf(`Host *
 HostName 127.0.0.1
 Port %s
 User root
 BatchMode yes
 IdentitiesOnly yes
 IdentityFile %[2]s/id
 UserKnownHostsFile %[2]s/known
 GlobalKnownHostsFile /dev/null
 StrictHostKeyChecking yes
 LogLevel ERROR
`, port, x.dir)
	known := fmt.Sprintf("[127.0.0.1]:%s %s\n", port, keyLine(x.host.PublicKey()))
	for name, text := range map[string]string{"config": config, "known": known} {
		if err := os.WriteFile(filepath.Join(x.dir, name), []byte(text), 0o600); err != nil {
			x.t.Fatal(err)
		}
	}
}

// tool is a command of OpenSSH's client, ssh, scp or sftp.
func (x *site) tool(name string, args ...string) *exec.Cmd {
	x.t.Helper()
	tooltest.Need(x.t, name)
	return exec.CommandContext(x.t.Context(), name, append([]string{"-F", filepath.Join(x.dir, "config")}, args...)...)
}

// run runs a tool and returns its output; anything on stderr is a failure.
func (x *site) run(stdin, name string, args ...string) string {
	x.t.Helper()
	cmd := x.tool(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		x.t.Fatalf("%s %q: %v: %s", name, args, err, stderr.String())
	}
	return string(out)
}

// dial logs in with x/crypto's client.
func (x *site) dial(change func(*ssh.ClientConfig)) (*ssh.Client, error) {
	cfg := &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(x.client)},
		HostKeyCallback: ssh.FixedHostKey(x.host.PublicKey()), Timeout: 5 * time.Second,
	}
	if change != nil {
		change(cfg)
	}
	return ssh.Dial("tcp", x.addr, cfg)
}

func (x *site) mustDial() *ssh.Client {
	x.t.Helper()
	c, err := x.dial(nil)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { c.Close() })
	return c
}

func (x *site) mustSession() *ssh.Session {
	x.t.Helper()
	s, err := x.mustDial().NewSession()
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// eventually waits for what takes a moment.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// children are the processes whose parent is pid, zombies too.
func children(t *testing.T, pid int) []string {
	t.Helper()
	var all []string
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no list of children of %d: %v", pid, err)
	}
	for _, name := range tasks {
		b, _ := os.ReadFile(name) // the thread may have ended
		all = append(all, strings.Fields(string(b))...)
	}
	return all
}

// firstLine reads the first line of a session's output.
func firstLine(t *testing.T, s *ssh.Session, command string) string {
	t.Helper()
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(command); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// alive is false for a zombie.
func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

// startChild starts a server in a process of its own, with the real limits.
func startChild(t *testing.T) (*site, int) {
	t.Helper()
	x := &site{t: t, dir: t.TempDir()}
	x.client = writeKey(t, filepath.Join(x.dir, "id"))
	x.host = writeKey(t, filepath.Join(x.dir, "ssh_host_ed25519_key"))
	if err := os.WriteFile(filepath.Join(x.dir, "authorized_keys"), []byte(keyLine(x.client.PublicKey())), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+x.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if _, err := fmt.Sscanf(line, "listening on %s", &x.addr); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	x.writeClient()
	return x, cmd.Process.Pid
}

// rss is a figure of /proc/PID/status, in KiB.
func rss(t *testing.T, pid int, name string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			var n int
			if _, err := fmt.Sscanf(value, "%d kB", &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s of process %d", name, pid)
	return 0
}
