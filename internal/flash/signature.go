package flash

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/victorinix/vic/internal/keyring"
)

const (
	maxSignature  = 64 << 10 // bytes of a signature file
	maxSignatures = 32       // in it
)

// signature is a detached OpenPGP signature, RFC 9580 §10.4, by a key that is
// known.
type signature struct {
	packet []byte
	keys   openpgp.EntityList
}

// signature reads what Source names; nil when it names none.
func (s Source) signature(ctx context.Context) (*signature, error) {
	if s.Signature == "" {
		return nil, nil
	}
	keys, err := keyring.Read(s.Keyring)
	if err != nil {
		return nil, fmt.Errorf("read keyring %s: %w", s.Keyring, err)
	}
	b, err := s.small(ctx, s.Signature)
	if err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	sig, err := chooseSignature(b, keys)
	if err != nil {
		return nil, fmt.Errorf("read signature %s: %w", s.Signature, err)
	}
	return sig, nil
}

// small reads a file or a URL that is not large.
func (s Source) small(ctx context.Context, path string) ([]byte, error) {
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	if IsURL(path) {
		open = func() (io.ReadCloser, error) { return s.download(ctx, path) }
	}
	r, err := open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxSignature+1))
	if err == nil && len(b) > maxSignature {
		err = fmt.Errorf("%s is too large for a signature", path)
	}
	return b, err
}

// chooseSignature finds one by a known key: the image is read only once.
func chooseSignature(b []byte, keys openpgp.EntityList) (*signature, error) {
	r := io.Reader(bytes.NewReader(b))
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN PGP")) {
		block, err := armor.Decode(r)
		if err != nil {
			return nil, err
		}
		r = block.Body
	}
	err := fmt.Errorf("%w: there is no signature in it", ErrWrongImage)
	packets := packet.NewReader(r)
	for range maxSignatures {
		p, next := packets.Next()
		if errors.Is(next, io.EOF) {
			return nil, err
		}
		if next != nil {
			return nil, next
		}
		var one []byte
		if one, err = usable(p, keys); err == nil {
			return &signature{one, keys}, nil
		}
	}
	return nil, err
}

// usable refuses weak hashes, and keys that are not known.
func usable(p packet.Packet, keys openpgp.EntityList) ([]byte, error) {
	sig, ok := p.(*packet.Signature)
	if !ok {
		return nil, fmt.Errorf("%w: a packet of type %T among the signatures", ErrWrongImage, p)
	}
	switch sig.Hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
	default:
		return nil, fmt.Errorf("%w: the signature uses the weak hash %v", ErrWrongImage, sig.Hash)
	}
	if sig.IssuerKeyId == nil || len(keys.KeysById(*sig.IssuerKeyId)) == 0 {
		return nil, fmt.Errorf("%w: the signature is by a key that is not in the keyring", ErrWrongImage)
	}
	var one bytes.Buffer
	err := sig.Serialize(&one)
	return one.Bytes(), err
}

// signed checks a signature over what is written to it.
type signed struct {
	in   *io.PipeWriter
	done chan error
}

func (s *signature) start() *signed {
	r, w := io.Pipe()
	c := &signed{w, make(chan error, 1)}
	go func() {
		_, err := openpgp.CheckDetachedSignature(s.keys, r, bytes.NewReader(s.packet), nil)
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrWrongImage, err)
		}
		r.CloseWithError(err) // so that writers do not wait
		c.done <- err
	}()
	return c
}

func (c *signed) write(b []byte) error {
	_, err := c.in.Write(b)
	return err
}

func (c *signed) finish() error {
	if err := c.in.Close(); err != nil {
		return err
	}
	return <-c.done
}

func (c *signed) abandon() { c.in.CloseWithError(io.ErrClosedPipe) }
