package sshd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"
)

// version is what the server says first. To a server that does not call itself
// OpenSSH, ssh(1) does not say that nobody reads what it gets: what runs in
// "ssh host yes | head -1" goes on until somebody interrupts it.
const version = "SSH-2.0-vic"

// user is the only one that there is.
const user = "root"

// loginKey is where Permissions.ExtraData holds the *authorizedKey.
type loginKey struct{}

// keyTypes are the types of keys that may log in, as they are written in
// authorized_keys(5).
var keyTypes = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
	ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA,
}

// sshConfig allows what the current OpenSSH allows by default, as far as it is
// there, without SHA-1 and without group exchange, whose moduli would be made
// here.
func (s *server) sshConfig() (*ssh.ServerConfig, error) {
	cfg := &ssh.ServerConfig{
		ServerVersion:     version,
		MaxAuthTries:      s.limits.attempts,
		PublicKeyCallback: s.authenticate,
		PublicKeyAuthAlgorithms: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
			ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
			ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
		},
	}
	cfg.KeyExchanges = []string{
		ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
		ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
		ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDH14SHA256,
	}
	cfg.Ciphers = []string{
		ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
		ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
	}
	cfg.MACs = []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512}
	for _, key := range s.HostKeys {
		signer, err := modernSigner(key)
		if err != nil {
			return nil, fmt.Errorf("host key %s: %w", ssh.FingerprintSHA256(key.PublicKey()), err)
		}
		cfg.AddHostKey(signer)
	}
	return cfg, nil
}

// authenticate decides whether a key may log in. All refusals look the same
// from outside, in what they say and in how long they take.
func (s *server) authenticate(meta ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
	asked := time.Now()
	key, err := s.keys.find(offered, remoteAddr(meta.RemoteAddr()), asked)
	if err == nil && meta.User() != user {
		err = fmt.Errorf("there is no user %q", meta.User())
	}
	if err != nil {
		time.Sleep(s.limits.refusal - time.Since(asked))
		return nil, err
	}
	perms := &ssh.Permissions{ExtraData: map[any]any{loginKey{}: key}, Extensions: map[string]string{}}
	if key.noTouch {
		perms.Extensions["no-touch-required"] = ""
	}
	return perms, nil
}

func remoteAddr(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

var errNotAuthorized = errors.New("the key is not authorized")

// authorizedKeys is in the order of the lines: the first line that fits counts.
type authorizedKeys []*authorizedKey

func (keys authorizedKeys) find(offered ssh.PublicKey, from netip.Addr, now time.Time) (*authorizedKey, error) {
	err := errNotAuthorized
	blob := string(offered.Marshal())
	for _, k := range keys {
		if string(k.key.Marshal()) != blob {
			continue
		}
		switch {
		case !k.from.allows(from):
			err = fmt.Errorf("the key is not authorized from %s", from)
		case !k.expires.IsZero() && now.After(k.expires):
			err = fmt.Errorf("the key expired at %s", k.expires.Format(time.RFC3339))
		default:
			return k, nil
		}
	}
	return nil, err
}
