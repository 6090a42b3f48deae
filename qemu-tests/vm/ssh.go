package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHConfig says whom to log in to, and as whom.
type SSHConfig struct {
	Addr   string // host:port; Machine.SSH fills in port 22 of the first card
	User   string // default root
	Signer ssh.Signer
	// HostKeys are the keys that the server may have. There is no way to
	// accept any key.
	HostKeys []ssh.PublicKey
}

// HostKeyError says that a server answered with a key that is not pinned:
// somebody else, or a system other than the one that was installed.
type HostKeyError struct {
	Addr string
	Got  ssh.PublicKey // nil when the server has no key of the pinned types
	Want []ssh.PublicKey
}

func (e *HostKeyError) Error() string {
	var want []string
	for _, k := range e.Want {
		want = append(want, k.Type()+" "+ssh.FingerprintSHA256(k))
	}
	got := "no key of these types"
	if e.Got != nil {
		got = e.Got.Type() + " " + ssh.FingerprintSHA256(e.Got)
	}
	return fmt.Sprintf("host key of %s: got %s, want %s", e.Addr, got, strings.Join(want, " or "))
}

// Limits of one attempt. Where the guest does not listen yet, the user-mode
// network accepts the connection all the same and goes on trying for a minute,
// so the wait for the server's first byte begins short. The key exchange is
// slow without KVM.
const (
	firstByteLimit = 3 * time.Second
	lastByteLimit  = 20 * time.Second
	loginLimit     = 60 * time.Second
	retryPause     = 300 * time.Millisecond
)

// DialSSH logs in. While the port does not answer it tries again, until ctx
// ends. A wrong host key (*HostKeyError) and a refused login are final.
func DialSSH(ctx context.Context, c SSHConfig) (*ssh.Client, error) {
	if c.User == "" {
		c.User = "root"
	}
	if c.Addr == "" || c.Signer == nil || len(c.HostKeys) == 0 {
		return nil, fmt.Errorf("log in to %q by SSH: address, key and the server's keys are needed", c.Addr)
	}
	for limit := firstByteLimit; ; limit = min(limit*3/2, lastByteLimit) {
		client, err := c.dial(ctx, limit)
		if err == nil {
			return client, nil
		}
		err = fmt.Errorf("log in to %s@%s by SSH: %w", c.User, c.Addr, err)
		if ctx.Err() == nil && isFinal(err) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-time.After(retryPause):
		}
	}
}

// isFinal tells an answer that will not change from a server that is not up.
func isFinal(err error) bool {
	var wrong *HostKeyError
	return errors.As(err, &wrong) || strings.Contains(err.Error(), "ssh: unable to authenticate")
}

// dial tries once.
func (c SSHConfig) dial(ctx context.Context, firstByte time.Duration) (*ssh.Client, error) {
	raw, err := (&net.Dialer{Timeout: firstByte}).DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	client, err := c.handshake(raw, firstByte)
	if !stop() && err == nil {
		client.Close()
		return nil, context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return client, nil
}

func (c SSHConfig) handshake(raw net.Conn, firstByte time.Duration) (*ssh.Client, error) {
	conn := &peekConn{raw, bufio.NewReader(raw)}
	if err := raw.SetDeadline(time.Now().Add(firstByte)); err != nil {
		return nil, err
	}
	if _, err := conn.r.Peek(1); err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	if err := raw.SetDeadline(time.Now().Add(loginLimit)); err != nil {
		return nil, err
	}
	var wrong error
	sc, chans, reqs, err := ssh.NewClientConn(conn, c.Addr, &ssh.ClientConfig{
		User:              c.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(c.Signer)},
		HostKeyAlgorithms: algorithms(c.HostKeys),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			wrong = c.checkHostKey(key)
			return wrong
		},
	})
	var noCommon *ssh.AlgorithmNegotiationError
	switch {
	case wrong != nil:
		return nil, wrong
	case errors.As(err, &noCommon) && strings.Contains(err.Error(), "host key"):
		return nil, &HostKeyError{Addr: c.Addr, Want: c.HostKeys}
	case err != nil:
		return nil, err
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return ssh.NewClient(sc, chans, reqs), nil
}

func (c SSHConfig) checkHostKey(key ssh.PublicKey) error {
	for _, k := range c.HostKeys {
		if bytes.Equal(k.Marshal(), key.Marshal()) {
			return nil
		}
	}
	return &HostKeyError{Addr: c.Addr, Got: key, Want: c.HostKeys}
}

// algorithms are the signatures that the pinned keys can make: without them
// the server would show the key that it likes best, not the one that is known.
func algorithms(keys []ssh.PublicKey) []string {
	var algos []string
	for _, k := range keys {
		if k.Type() == ssh.KeyAlgoRSA {
			algos = append(algos, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		algos = append(algos, k.Type())
	}
	return algos
}

// peekConn is a connection of which the first bytes have been looked at.
type peekConn struct {
	net.Conn
	r *bufio.Reader
}

func (p *peekConn) Read(b []byte) (int, error) { return p.r.Read(b) }

// SSH logs in to the machine. It gives up when the machine ends.
func (m *Machine) SSH(ctx context.Context, c SSHConfig) (*ssh.Client, error) {
	if c.Addr == "" {
		c.Addr = m.Addr(0, 22)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-m.done:
			cancel(fmt.Errorf("machine %s has ended: %w", m.setup.Name, m.endError()))
		case <-ctx.Done():
		}
	}()
	client, err := DialSSH(ctx, c)
	if err != nil {
		return nil, m.explain(err)
	}
	return client, nil
}

// endError is the machine's end as an error, also where it is a good end.
func (m *Machine) endError() error {
	if m.end == nil {
		return errors.New("the guest switched itself off")
	}
	return m.end
}
