package vm

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sshServer accepts user's key and answers nothing else. Its first bad
// connections it closes without a word. It counts connections.
func sshServer(t *testing.T, user ssh.PublicKey, bad int32, hostKeys ...ssh.Signer) (addr string, count *atomic.Int32) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	conf := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(user.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	for _, k := range hostKeys {
		conf.AddHostKey(k)
	}
	count = new(atomic.Int32)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if count.Add(1) <= bad {
				c.Close()
				continue
			}
			go func() {
				conn, chans, reqs, err := ssh.NewServerConn(c, conf)
				if err != nil {
					c.Close()
					return
				}
				go ssh.DiscardRequests(reqs)
				for ch := range chans {
					_ = ch.Reject(ssh.Prohibited, "no")
				}
				conn.Close()
			}()
		}
	}()
	return ln.Addr().String(), count
}

func TestDialSSH(t *testing.T) {
	user, host, other := newSigner(t), newSigner(t), newSigner(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaHost, err := ssh.NewSignerFromKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	pub := func(s ...ssh.Signer) (keys []ssh.PublicKey) {
		for _, s := range s {
			keys = append(keys, s.PublicKey())
		}
		return keys
	}
	for _, tt := range []struct {
		name   string
		server []ssh.Signer
		pinned []ssh.PublicKey
		signer ssh.Signer
		bad    int32  // connections that the server drops first
		want   string // in the error
		wrong  bool   // a *HostKeyError
		tries  int32
	}{
		{"pinned key", []ssh.Signer{host}, pub(host), user, 0, "", false, 1},
		{"one of two pinned", []ssh.Signer{host}, pub(other, host), user, 0, "", false, 1},
		{"server prefers another type", []ssh.Signer{rsaHost, host}, pub(rsaHost), user, 0, "", false, 1},
		{"after two dropped connections", []ssh.Signer{host}, pub(host), user, 2, "", false, 3},
		{"wrong key", []ssh.Signer{host}, pub(other), user, 0, ssh.FingerprintSHA256(host.PublicKey()), true, 1},
		{"wrong type of key", []ssh.Signer{rsaHost}, pub(host), user, 0, "no key of these types", true, 1},
		{"refused user", []ssh.Signer{host}, pub(host), other, 0, "unable to authenticate", false, 1},
		{"nothing pinned", []ssh.Signer{host}, nil, user, 0, "server's keys are needed", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, count := sshServer(t, user.PublicKey(), tt.bad, tt.server...)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			client, err := DialSSH(ctx, SSHConfig{Addr: addr, Signer: tt.signer, HostKeys: tt.pinned})
			if err == nil {
				client.Close()
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			var wrong *HostKeyError
			if errors.As(err, &wrong) != tt.wrong {
				t.Errorf("HostKeyError is %v: %v", !tt.wrong, err)
			}
			if n := count.Load(); n != tt.tries {
				t.Errorf("%d connections, want %d", n, tt.tries)
			}
		})
	}
}

func TestDialSSHGivesUpWithContext(t *testing.T) {
	// It listens, accepts and says nothing, as the user-mode network does for
	// a guest that is not up.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = DialSSH(ctx, SSHConfig{Addr: ln.Addr().String(), Signer: newSigner(t), HostKeys: []ssh.PublicKey{newSigner(t).PublicKey()}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}
