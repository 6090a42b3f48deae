package enter

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// This reads as much of OpenSSH's private keys as it takes to tell the public half
// of one that is not encrypted, and writes the one kind that vic makes. It is here
// and not golang.org/x/crypto/ssh because that makes vic-env, which goes over slow
// lines before anything else, a megabyte larger.
//
// OpenSSH's PROTOCOL.key; every string has its length, 32 bits big-endian, before:
//
//	"openssh-key-v1\0"
//	string cipher ("none"), string kdf, string kdf options
//	uint32 number of keys (1)
//	string public key (string type, ...)
//	string private keys, padded:
//	  uint32 check, the same again, per key: string type, ..., string comment
const (
	pemType = "OPENSSH PRIVATE KEY"
	magic   = "openssh-key-v1\x00"
)

// errOtherFormat is returned for a PEM block that is not OpenSSH's own.
var errOtherFormat = errors.New("a key in another format")

// publicKey is the public half of a private key's file, as in authorized_keys(5).
func publicKey(file []byte) (string, error) {
	block, _ := pem.Decode(file)
	if block == nil {
		return "", errors.New("no private key")
	}
	if block.Type != pemType {
		return "", fmt.Errorf("%w: %s", errOtherFormat, block.Type)
	}
	rest, ok := bytes.CutPrefix(block.Bytes, []byte(magic))
	if !ok {
		return "", errors.New("no private key of OpenSSH: it begins with something else")
	}
	cipher, rest, err := cutString(rest)
	if err != nil {
		return "", err
	}
	if string(cipher) != "none" {
		return "", fmt.Errorf("encrypted with %.40q", cipher)
	}
	for range 2 { // kdf and its options
		if _, rest, err = cutString(rest); err != nil {
			return "", err
		}
	}
	if len(rest) < 4 || binary.BigEndian.Uint32(rest) != 1 {
		return "", errors.New("not one key")
	}
	blob, _, err := cutString(rest[4:])
	if err != nil {
		return "", err
	}
	return authorizedKey(blob)
}

var errShort = errors.New("cut short")

// cutString takes a string off the front.
func cutString(b []byte) (value, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errShort
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, nil, errShort
	}
	return b[:n], b[n:], nil
}

// authorizedKey is a public key as text.
func authorizedKey(blob []byte) (string, error) {
	kind, _, err := cutString(blob)
	if err != nil {
		return "", err
	}
	if len(kind) == 0 || len(kind) > 64 || strings.Trim(string(kind), "abcdefghijklmnopqrstuvwxyz0123456789-@.") != "" {
		return "", fmt.Errorf("%.40q is no type of key", kind)
	}
	return string(kind) + " " + base64.StdEncoding.EncodeToString(blob), nil
}

// withoutComment takes type and key from a line of authorized_keys(5) without
// options, and checks that they agree.
func withoutComment(line string) (string, error) {
	f := strings.Fields(line)
	if len(f) < 2 {
		return "", fmt.Errorf("%.80q is no public key", line)
	}
	blob, err := base64.StdEncoding.DecodeString(f[1])
	if err != nil {
		return "", fmt.Errorf("%.80q is no public key: %w", line, err)
	}
	return authorizedKey(blob)
}

// newHostKey makes an Ed25519 key.
func newHostKey() (hostKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return hostKey{}, fmt.Errorf("make a host key: %w", err)
	}
	const kind, check = "ssh-ed25519", "same" // twice, which shows that it was decrypted
	blob := stringsOf(kind, string(public))
	secret := append([]byte(check+check), stringsOf(kind, string(public), string(private), "")...)
	for pad := byte(1); len(secret)%8 != 0; pad++ {
		secret = append(secret, pad)
	}
	file := append([]byte(magic), stringsOf("none", "none", "")...)
	file = binary.BigEndian.AppendUint32(file, 1)
	file = append(file, stringsOf(string(blob), string(secret))...)
	text, err := authorizedKey(blob)
	return hostKey{
		name:    "ssh_host_ed25519_key",
		private: pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: file}),
		public:  text,
	}, err
}

func stringsOf(values ...string) []byte {
	var b []byte
	for _, v := range values {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
	}
	return b
}
