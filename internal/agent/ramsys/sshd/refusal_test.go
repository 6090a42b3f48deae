package sshd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func newRSA(t *testing.T) ssh.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func only(t *testing.T, key ssh.Signer, algorithm string) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerWithAlgorithms(key.(ssh.AlgorithmSigner), []string{algorithm})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhoMayLogIn(t *testing.T) {
	key := newRSA(t)
	x := newSite(t, "", func(c *Config, l *limits) {
		l.pending = 100 // all log in at once here
		c.AuthorizedKeys = append(c.AuthorizedKeys, "# a comment", "", keyLine(key.PublicKey()))
	})
	keys := func(k ...ssh.Signer) []ssh.AuthMethod { return []ssh.AuthMethod{ssh.PublicKeys(k...)} }
	for _, tt := range []struct {
		name string
		user string
		auth []ssh.AuthMethod
		want string // in the error; "" for a login
	}{
		{"root with the key", "root", keys(x.client), ""},
		{"the right key is the third", "root", keys(newKey(t), newKey(t), x.client), ""},
		{"RSA with SHA-512", "root", keys(only(t, key, ssh.KeyAlgoRSASHA512)), ""},
		{"RSA with SHA-256", "root", keys(only(t, key, ssh.KeyAlgoRSASHA256)), ""},
		{"RSA with SHA-1", "root", keys(only(t, key, ssh.KeyAlgoRSA)), "unable to authenticate"},
		{"another key", "root", keys(newKey(t)), "unable to authenticate"},
		{"another user with the key", "admin", keys(x.client), "unable to authenticate"},
		{"an empty user", "", keys(x.client), "unable to authenticate"},
		{"a password", "root", []ssh.AuthMethod{ssh.Password("secret")}, "no supported methods remain"},
		{"nothing", "root", nil, "unable to authenticate"},
		{"questions", "root", []ssh.AuthMethod{ssh.KeyboardInteractive(
			func(string, string, []string, []bool) ([]string, error) { return nil, nil })}, "no supported methods remain"},
		{"too many keys", "root", keys(newKey(t), newKey(t), newKey(t), newKey(t), newKey(t), newKey(t), x.client), "too many authentication failures"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := x.dial(func(cfg *ssh.ClientConfig) { cfg.User, cfg.Auth = tt.user, tt.auth })
			if err == nil {
				c.Close()
			}
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A wrong user and a wrong key take the same time, so that they tell nothing.
func TestRefusalsTakeTime(t *testing.T) {
	t.Parallel()
	const least = 150 * time.Millisecond
	x := newSite(t, "", func(_ *Config, l *limits) { l.refusal = least })
	for _, name := range []string{"root", "admin"} {
		start := time.Now()
		_, err := x.dial(func(cfg *ssh.ClientConfig) {
			cfg.User = name
			if name == "root" {
				cfg.Auth = []ssh.AuthMethod{ssh.PublicKeys(newKey(t))}
			}
		})
		if took := time.Since(start); err == nil || took < least {
			t.Errorf("%s: %v after %v", name, err, took)
		}
	}
	eventually(t, "the reasons are in the log", func() bool {
		text := x.log.String()
		return strings.Contains(text, `no user "admin"`) && strings.Contains(text, "not authorized")
	})
}

func TestAlgorithms(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecSigner, err := ssh.NewSignerFromKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := newRSA(t)
	x := newSite(t, "", func(c *Config, _ *limits) { c.HostKeys = append(c.HostKeys, ecSigner, rsaKey) })
	for _, tt := range []struct {
		name   string
		change func(*ssh.ClientConfig)
		ok     bool
	}{
		{"ed25519 host key", func(c *ssh.ClientConfig) { c.HostKeyAlgorithms = []string{ssh.KeyAlgoED25519} }, true},
		{"ecdsa host key", func(c *ssh.ClientConfig) { c.HostKeyAlgorithms = []string{ssh.KeyAlgoECDSA256} }, true},
		{"rsa-sha2-256 host key", func(c *ssh.ClientConfig) { c.HostKeyAlgorithms = []string{ssh.KeyAlgoRSASHA256} }, true},
		{"rsa-sha2-512 host key", func(c *ssh.ClientConfig) { c.HostKeyAlgorithms = []string{ssh.KeyAlgoRSASHA512} }, true},
		{"ssh-rsa host key", func(c *ssh.ClientConfig) { c.HostKeyAlgorithms = []string{ssh.KeyAlgoRSA} }, false},
		{"post-quantum", func(c *ssh.ClientConfig) { c.KeyExchanges = []string{ssh.KeyExchangeMLKEM768X25519} }, true},
		{"group 14 with SHA-1", func(c *ssh.ClientConfig) { c.KeyExchanges = []string{ssh.InsecureKeyExchangeDH14SHA1} }, false},
		{"CBC", func(c *ssh.ClientConfig) { c.Ciphers = []string{ssh.InsecureCipherAES128CBC} }, false},
		{"SHA-1 for integrity", func(c *ssh.ClientConfig) {
			c.Ciphers, c.MACs = []string{ssh.CipherAES128CTR}, []string{ssh.HMACSHA1}
		}, false},
		{"SHA-2 for integrity", func(c *ssh.ClientConfig) {
			c.Ciphers, c.MACs = []string{ssh.CipherAES128CTR}, []string{ssh.HMACSHA256ETM}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := x.dial(func(cfg *ssh.ClientConfig) {
				cfg.HostKeyCallback = ssh.InsecureIgnoreHostKey()
				tt.change(cfg)
			})
			if err == nil {
				if v := string(c.ServerVersion()); v != "SSH-2.0-vic" {
					t.Errorf("version %q", v)
				}
				c.Close()
			}
			if tt.ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "no common algorithm") {
				t.Errorf("got %v, want ok: %v", err, tt.ok)
			}
		})
	}
}

// What is not SSH ends, and the server goes on.
func TestGarbage(t *testing.T) {
	x := newSite(t, "", nil)
	for _, text := range []string{
		"GET / HTTP/1.0\r\n\r\n",
		"SSH-1.5-old\r\n",
		"SSH-2.0-x\r\n" + strings.Repeat("\xff", 4096),
		"SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x14" + strings.Repeat("\x00", 10),
		strings.Repeat("A", 70000),
		"",
	} {
		c, err := net.Dial("tcp", x.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, text); err != nil && text == "" {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite() // may be closed already
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%.20q is not ended", text)
		}
		c.Close()
	}
	x.mustDial()
}

// A packet that was altered on its way ends the connection and nothing else.
func TestAlteredPacket(t *testing.T) {
	x := newSite(t, "", nil)
	other := x.mustDial()
	wire, err := net.Dial("tcp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	alter := &alterer{Conn: wire}
	sc, chans, reqs, err := ssh.NewClientConn(alter, x.addr, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(x.client)}, HostKeyCallback: ssh.FixedHostKey(x.host.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := ssh.NewClient(sc, chans, reqs)
	alter.on = true
	if _, err := c.NewSession(); err == nil {
		t.Error("a session on a connection with altered packets")
	}
	if _, _, err := other.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Errorf("another connection: %v", err)
	}
}

type alterer struct {
	net.Conn
	on bool
}

func (a *alterer) Write(p []byte) (int, error) {
	if a.on {
		p = append([]byte{}, p...)
		p[len(p)-1] ^= 1
	}
	return a.Conn.Write(p)
}

func TestLoginTakesTooLong(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", func(_ *Config, l *limits) { l.login = 700 * time.Millisecond })
	c, err := net.Dial("tcp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	text, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(text), "SSH-2.0-vic\r\n") {
		t.Errorf("%q, %v", text, err)
	}
	logged := x.mustDial() // a login in time has no end
	time.Sleep(800 * time.Millisecond)
	if _, _, err := logged.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Error(err)
	}
}

func TestManyWait(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", func(_ *Config, l *limits) { l.pending, l.tenure = 2, 300*time.Millisecond })
	wait := func() net.Conn {
		c, err := net.Dial("tcp", x.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		return c
	}
	greeted := func(c net.Conn) bool {
		n, _ := io.ReadFull(c, make([]byte, len("SSH-2.0-vic\r\n")))
		return n > 0
	}
	first, second := wait(), wait()
	if !greeted(first) || !greeted(second) {
		t.Fatal("two are allowed to wait")
	}
	if _, err := x.dial(nil); err == nil {
		t.Fatal("a third was let in")
	}
	time.Sleep(300 * time.Millisecond)
	x.mustDial() // the first had its time
	if _, err := io.Copy(io.Discard, first); err != nil {
		t.Errorf("the first was not ended: %v", err)
	}
}

func TestConfigsThatMakeNoSense(t *testing.T) {
	host, line := newKey(t), keyLine(newKey(t).PublicKey())
	good := Config{Listen: []string{"127.0.0.1:0"}, HostKeys: []ssh.Signer{host}, AuthorizedKeys: []string{line}, Shell: []string{"/bin/sh"}}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"nobody", func(c *Config) { c.AuthorizedKeys = []string{"# nobody"} }, "nobody could log in"},
		{"only refused keys", func(c *Config) { c.AuthorizedKeys = []string{"cert-authority " + line} }, "nobody could log in"},
		{"no host key", func(c *Config) { c.HostKeys = nil }, "no host key"},
		{"no shell", func(c *Config) { c.Shell = nil }, "no shell"},
		{"no address", func(c *Config) { c.Listen = nil }, "no address"},
		{"no port", func(c *Config) { c.Listen = []string{"127.0.0.1"} }, "missing port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			if err := Serve(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// An address that is taken, or not there yet, is tried until it can be had.
func TestAddressComesLater(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := &journal{}
	s, err := newServer(Config{
		Listen: []string{taken.Addr().String()}, HostKeys: []ssh.Signer{newKey(t)},
		AuthorizedKeys: []string{keyLine(newKey(t).PublicKey())}, Shell: []string{"/bin/sh"}, Log: log.add,
	}, limits{retry: 20 * time.Millisecond, pending: 1, login: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan net.Addr, 1)
	s.listening = func(a net.Addr) { up <- a }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(ctx)
	}()
	eventually(t, "the problem is logged", func() bool { return strings.Contains(log.String(), "trying again") })
	time.Sleep(100 * time.Millisecond)
	taken.Close()
	<-up
	cancel()
	<-done
	if n := strings.Count(log.String(), "trying again"); n != 1 {
		t.Errorf("the problem is logged %d times: %s", n, log)
	}
}
