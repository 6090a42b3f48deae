package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Identity is a key pair that is made for one run.
type Identity struct {
	Public  string // a line of authorized_keys(5), without a comment and a newline
	Private []byte // in OpenSSH's format
}

// NewIdentity makes one.
func NewIdentity() (Identity, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("make a key: %w", err)
	}
	p, err := ssh.NewPublicKey(public)
	if err != nil {
		return Identity{}, fmt.Errorf("make a key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return Identity{}, fmt.Errorf("make a key: %w", err)
	}
	return Identity{Public: string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(p))), Private: pem.EncodeToMemory(block)}, nil
}

// PinnedOptions say who is talked to, as whom.
type PinnedOptions struct {
	// HostKeys are the only ones that are accepted: "ssh-ed25519 AAAA...".
	HostKeys []string
	// Identity is the private key to log in with, and no other; nil: as the user's
	// configuration says.
	Identity []byte
}

// pinnedName is what the host is called in the session's own known_hosts file.
const pinnedName = "vic-pinned"

// OpenPinned prepares a session with a machine of which the host keys are known. The
// way there is that of the user's configuration (address, port, jump hosts, whose
// keys are checked as ever), but who answers is decided here alone. Nothing is
// asked on the terminal.
func OpenPinned(h Host, config string, o PinnedOptions) (*Session, error) {
	known, err := knownHosts(o.HostKeys)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", h, err)
	}
	s, err := open(h, config)
	if err != nil {
		return nil, err
	}
	s.pinned = true
	if err := s.pin(known, o.Identity); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", h, err), os.RemoveAll(s.dir))
	}
	return s, nil
}

// knownHosts is the text of a known_hosts file.
func knownHosts(keys []string) (string, error) {
	if len(keys) == 0 {
		return "", errors.New("no host key to expect")
	}
	var b strings.Builder
	for _, k := range keys {
		key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(k))
		if err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
			return "", fmt.Errorf("%.80q is no host key", k)
		}
		b.WriteString(pinnedName + " " + string(ssh.MarshalAuthorizedKey(key)))
	}
	return b.String(), nil
}

// pin writes the files and sets the options.
func (s *Session) pin(known string, identity []byte) error {
	file := filepath.Join(s.dir, "known")
	if err := os.WriteFile(file, []byte(known), 0o600); err != nil {
		return err
	}
	for _, o := range [][2]string{
		{"StrictHostKeyChecking", "yes"}, {"UserKnownHostsFile", literal(file)}, {"GlobalKnownHostsFile", "/dev/null"},
		{"HostKeyAlias", pinnedName}, {"CheckHostIP", "no"}, {"VerifyHostKeyDNS", "no"}, {"UpdateHostKeys", "no"},
		{"BatchMode", "yes"}, {"LogLevel", "INFO"}, {"ServerAliveCountMax", "3"},
		// This machine may do nothing in the name of the user.
		{"ForwardAgent", "no"}, {"ForwardX11", "no"}, {"PermitLocalCommand", "no"},
	} {
		s.option(o[0], o[1])
	}
	if s.knows("KnownHostsCommand=none") {
		s.option("KnownHostsCommand", "none")
	}
	if identity == nil {
		return nil
	}
	key := filepath.Join(s.dir, "key")
	if err := os.WriteFile(key, identity, 0o600); err != nil {
		return err
	}
	for _, o := range [][2]string{
		{"IdentityFile", literal(key)}, {"IdentitiesOnly", "yes"}, {"IdentityAgent", "none"},
		{"PreferredAuthentications", "publickey"},
	} {
		s.option(o[0], o[1])
	}
	return nil
}

// knows tells whether this ssh has an option: it refuses those of later versions.
func (s *Session) knows(option string) bool {
	args := append(append([]string{}, s.args...), "-G", "-o", option, "--", s.host.Name)
	ctx, cancel := context.WithTimeout(context.Background(), attempt) // Match exec may run anything
	defer cancel()
	return exec.CommandContext(ctx, "ssh", args...).Run() == nil
}

// Limits of waiting.
const (
	attempt   = 25 * time.Second
	waitPause = 2 * time.Second
)

// Wait returns when the RAM system answers, by its command vic. That somebody
// answers is not enough: the system before has the same host keys. It goes on until
// the context ends, unless the answer comes from another machine (ErrHostKey).
func (s *Session) Wait(ctx context.Context) error { return s.wait(ctx, "vic status --json", waitPause) }

func (s *Session) wait(ctx context.Context, command string, pause time.Duration) error {
	last := errors.New("nothing was tried")
	for {
		once, cancel := context.WithTimeoutCause(ctx, attempt, fmt.Errorf("no answer within %v", attempt))
		err := s.Stream(once, command, nil, io.Discard)
		cancel()
		if err == nil || errors.Is(err, ErrHostKey) {
			return err
		}
		switch {
		case ctx.Err() != nil: // says nothing of the machine
		case errors.Is(err, ErrDenied):
			last = fmt.Errorf("%w (the system before answers, still or again)", err)
		default:
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), last)
		case <-time.After(pause):
		}
	}
}
