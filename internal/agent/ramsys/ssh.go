package ramsys

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/ramsys/reap"
	"github.com/victorinix/vic/internal/agent/ramsys/sshd"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
)

// sshdArg makes this program the SSH server: a process of its own, so that
// neither it nor the agent takes the other along.
const sshdArg = "sshd"

const (
	sshdLog = runDir + "/sshd.log"
	// authorizedKeysPath is for machines that no system before sent into RAM:
	// with it in the initramfs, they serve SSH too.
	authorizedKeysPath = "/vic/authorized_keys"
	sshStep            = "ssh"
	sshPort            = 22
)

// authorizedKeys are the lines of who may log in.
func authorizedKeys(h *handover.Handover, path string) ([]string, error) {
	var lines []string
	if h != nil {
		lines = append(lines, h.AuthorizedKeys...)
	}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return lines, err
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// runSSHD is the main function of the SSH server.
func runSSHD() error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	log.SetFlags(log.LstdFlags | log.LUTC)
	log.SetOutput(&shortLog{f: os.Stderr, limit: sshdLogSize})
	h, err := readHandover(handover.Path)
	if err != nil {
		log.Print(err)
	}
	lines, err := authorizedKeys(h, authorizedKeysPath)
	if err != nil {
		log.Print(err)
	}
	keys, err := sshd.LoadHostKeys(handover.KeyDir)
	if err != nil {
		log.Print(err)
	}
	shell, err := findShell()
	if err != nil {
		return err
	}
	port := sshPort
	if h != nil {
		port = cmp.Or(h.Port, sshPort)
	}
	return sshd.Serve(ctx, sshd.Config{
		Listen: []string{fmt.Sprintf(":%d", port)}, HostKeys: keys, AuthorizedKeys: lines,
		Shell: []string{shell}, Env: environment("dumb"), Log: log.Printf,
	})
}

// serveSSH keeps the SSH server running, when anybody may log in.
func (s system) serveSSH(sink event.Sink) {
	lines, err := authorizedKeys(s.handover, authorizedKeysPath)
	if err != nil {
		warn(sink, []string{err.Error()})
	}
	if len(lines) == 0 {
		return
	}
	fingerprint, err := needHostKey(handover.KeyDir)
	if err != nil {
		warn(sink, []string{err.Error()})
	}
	if fingerprint != "" {
		sink.Emit(event.Event{Phase: event.Enter, Step: sshStep, State: event.Done, Message: "the host key of this system was made in RAM: " + fingerprint})
	}
	keepServer(sink, s.ending, func() (<-chan syscall.WaitStatus, error) { return startSSHD(s.reaper) }, time.After)
}

// needHostKey makes a host key where there is none that can be used, and returns
// its fingerprint. It lives as long as the machine runs: the server may be started
// again, and has to be recognized.
func needHostKey(dir string) (fingerprint string, err error) {
	if keys, _ := sshd.LoadHostKeys(dir); len(keys) > 0 { // the server says which cannot be used
		return "", nil
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make SSH host key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return "", fmt.Errorf("make SSH host key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make SSH host key: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ssh_host_ram_key"), pem.EncodeToMemory(block), 0o600); err != nil {
		return "", fmt.Errorf("make SSH host key: %w", err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("make SSH host key: %w", err)
	}
	return ssh.FingerprintSHA256(key), nil
}

// How long keepServer waits before it starts the server again: longer each time,
// until it has lived for a while.
const (
	shortestPause = time.Second
	longestPause  = 30 * time.Second
	healthyLife   = time.Minute
)

// keepServer starts the server, and again whenever it ends, until ending is
// closed. What goes wrong is told once, until something else does.
func keepServer(sink event.Sink, ending <-chan struct{}, start func() (<-chan syscall.WaitStatus, error), after func(time.Duration) <-chan time.Time) {
	pause, said := shortestPause, ""
	for {
		began := time.Now()
		reason, log := serverEnd(start, ending)
		select {
		case <-ending:
			return
		default:
		}
		if time.Since(began) > healthyLife {
			pause, said = shortestPause, ""
		}
		if reason != said {
			warn(sink, []string{reason + "; it is started again" + log})
			said = reason
		}
		select {
		case <-after(pause):
		case <-ending:
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// serverEnd runs the server, and says why it ended, and what its log says.
func serverEnd(start func() (<-chan syscall.WaitStatus, error), ending <-chan struct{}) (reason, log string) {
	done, err := start()
	if err != nil {
		return "the SSH server does not start: " + err.Error(), ""
	}
	select {
	case status := <-done:
		return "the SSH server ended: " + reasonOf(status), excerpt(sshdLog)
	case <-ending:
		return "", ""
	}
}

// sshdLogSize is for those who try to log in to a machine that is in RAM for long:
// its log is in RAM, too.
const sshdLogSize = 1 << 20

// shortLog is a file that is emptied when it gets too long.
type shortLog struct {
	f       *os.File // opened to append
	limit   int64
	written int64
}

// Write implements io.Writer.
func (l *shortLog) Write(p []byte) (int, error) {
	if l.written += int64(len(p)); l.written > l.limit {
		l.written = int64(len(p))
		if err := l.f.Truncate(0); err != nil {
			return 0, err
		}
	}
	return l.f.Write(p)
}

func startSSHD(r *reap.Reaper) (<-chan syscall.WaitStatus, error) {
	out, err := os.OpenFile(sshdLog, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	p, err := r.Start("/proc/self/exe", []string{"vic-init", sshdArg}, &syscall.ProcAttr{
		Dir: "/", Env: environment("dumb"), Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, err
	}
	return p.Done(), nil
}
