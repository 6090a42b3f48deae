package deb

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/victorinix/vic/internal/keyring"
)

// maxInRelease bounds what is read before the signature is checked; Debian's
// has 140 KB.
const maxInRelease = 4 << 20

// maxSignatures bounds the number of signatures tried.
const maxSignatures = 32

// hostKeyrings are where Debian's archive keyring is found.
var hostKeyrings = []string{
	"/usr/share/keyrings/debian-archive-keyring.gpg",
	"/usr/share/keyrings/debian-archive-keyring.pgp",
}

// readKeyrings reads OpenPGP keyrings; without paths, the host's Debian one.
func readKeyrings(paths []string) (openpgp.EntityList, error) {
	if len(paths) == 0 {
		for _, p := range hostKeyrings {
			if _, err := os.Stat(p); err == nil {
				paths = []string{p}
				break
			}
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("no keyring given, and %s is missing (package debian-archive-keyring)", hostKeyrings[0])
		}
	}
	var all openpgp.EntityList
	for _, p := range paths {
		keys, err := keyring.Read(p)
		if err != nil {
			return nil, fmt.Errorf("read keyring %s: %w", p, err)
		}
		all = append(all, keys...)
	}
	return all, nil
}

// verifyClearsigned returns the signed text of a clear-signed message (RFC 9580
// §7). The message must be the whole file: text before or after it would be
// read by someone else as if it were signed. One good signature of a key in
// the keyring that is neither revoked nor expired is enough.
func verifyClearsigned(raw []byte, keys openpgp.EntityList, now time.Time) ([]byte, error) {
	if !bytes.HasPrefix(raw, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, fmt.Errorf("%w: it is not a clear-signed message", ErrSignature)
	}
	block, rest := clearsign.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%w: the clear-signed message is malformed", ErrSignature)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: unsigned text after the signature", ErrSignature)
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	var reasons []string
	packets := packet.NewReader(io.LimitReader(block.ArmoredSignature.Body, maxInRelease))
	for range maxSignatures {
		p, err := packets.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSignature, err)
		}
		if err := checkSignature(p, block.Bytes, keys, config); err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		return block.Plaintext, nil
	}
	if len(reasons) == 0 {
		reasons = []string{"it has no signature"}
	}
	return nil, fmt.Errorf("%w: %s", ErrSignature, strings.Join(reasons, "; "))
}

// checkSignature checks one signature by itself: the library stops at the
// first one whose key it knows.
func checkSignature(p packet.Packet, signed []byte, keys openpgp.EntityList, config *packet.Config) error {
	sig, ok := p.(*packet.Signature)
	if !ok {
		return fmt.Errorf("a packet of type %T among the signatures", p)
	}
	switch sig.Hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
	default:
		return fmt.Errorf("the signature uses the weak hash %v", sig.Hash)
	}
	var one bytes.Buffer
	if err := sig.Serialize(&one); err != nil {
		return err
	}
	_, err := openpgp.CheckDetachedSignature(keys, bytes.NewReader(signed), &one, config)
	if err != nil && sig.IssuerKeyId != nil {
		return fmt.Errorf("by key %016X: %w", *sig.IssuerKeyId, err)
	}
	return err
}
