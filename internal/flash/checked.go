package flash

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// ErrWrongImage is wrapped by errors about an image that is not what its hash or
// its signature says.
var ErrWrongImage = errors.New("the image is not what it should be")

// wanted is a hash that a file should have.
type wanted struct {
	name string
	sum  []byte
	new  func() hash.Hash
}

var hashSuffix = lazyregexp.New(`^(.*)#(sha256|sha512)=([0-9a-fA-F]+)$`)

// splitHash takes #sha256=HEX off a path. What comes after the # of a URL is
// nothing else; a file may have one in its name.
func splitHash(path string) (string, *wanted, error) {
	m := hashSuffix.FindStringSubmatch(path)
	if m == nil {
		if at := bytes.IndexByte([]byte(path), '#'); at >= 0 && IsURL(path) {
			return "", nil, fmt.Errorf("%q is no #sha256=HEX or #sha512=HEX", path[at:])
		}
		return path, nil, nil
	}
	w := &wanted{name: m[2], new: sha256.New}
	if m[2] == "sha512" {
		w.new = sha512.New
	}
	var err error
	if w.sum, err = hex.DecodeString(m[3]); err != nil || len(w.sum) != w.new().Size() {
		return "", nil, fmt.Errorf("#%s=%s: %d hexadecimal digits are needed", m[2], m[3], 2*w.new().Size())
	}
	return m[1], w, nil
}

// checked reads a source ahead, in a goroutine of its own, and sees everything
// that comes from it.
type checked struct {
	src    io.ReadCloser
	chunks chan chunk
	free   chan []byte
	stop   chan struct{}
	close  func() error
	now    chunk

	want   *wanted
	hash   hash.Hash
	signed *signed
}

type chunk struct {
	data []byte
	err  error
	all  []byte // the memory of data
}

const (
	chunkSize = 1 << 20
	ahead     = 8
)

// newChecked reads src, and closes it.
func newChecked(src io.ReadCloser, want *wanted, sig *signature) *checked {
	c := &checked{src: src, chunks: make(chan chunk, ahead), free: make(chan []byte, ahead), stop: make(chan struct{}), want: want}
	c.close = sync.OnceValue(c.end)
	if want != nil {
		c.hash = want.new()
	}
	if sig != nil {
		c.signed = sig.start()
	}
	for range ahead {
		c.free <- make([]byte, chunkSize)
	}
	go c.fill()
	return c
}

func (c *checked) fill() {
	defer close(c.chunks)
	for {
		var b []byte
		select {
		case b = <-c.free:
		case <-c.stop:
			return
		}
		n, err := c.src.Read(b)
		if n > 0 {
			if seen := c.see(b[:n]); seen != nil {
				n, err = 0, seen
			}
		}
		select {
		case c.chunks <- chunk{b[:n], err, b}:
		case <-c.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

func (c *checked) see(b []byte) error {
	if c.hash != nil {
		c.hash.Write(b) // never fails
	}
	if c.signed != nil {
		return c.signed.write(b)
	}
	return nil
}

// Read implements io.Reader.
func (c *checked) Read(b []byte) (int, error) {
	for len(c.now.data) == 0 {
		if c.now.err != nil {
			return 0, c.now.err
		}
		if c.now.all != nil {
			c.free <- c.now.all
		}
		next, ok := <-c.chunks
		if !ok {
			return 0, io.ErrClosedPipe
		}
		c.now = next
	}
	n := copy(b, c.now.data)
	c.now.data = c.now.data[n:]
	return n, nil
}

// finish reads what is left, and says whether it was what it should be.
func (c *checked) finish() error {
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	if c.hash != nil {
		if got := c.hash.Sum(nil); !bytes.Equal(got, c.want.sum) {
			return fmt.Errorf("%w: its %s is %x, not %x", ErrWrongImage, c.want.name, got, c.want.sum)
		}
	}
	if c.signed != nil {
		return c.signed.finish()
	}
	return nil
}

// Close ends the reading, and closes the source. It may be called again.
func (c *checked) Close() error { return c.close() }

// end: a read that is under way ends with its source.
func (c *checked) end() error {
	close(c.stop)
	if c.signed != nil {
		c.signed.abandon()
	}
	err := c.src.Close()
	for range c.chunks {
		continue
	}
	return err
}
