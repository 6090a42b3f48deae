package flash

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"
)

// Source is where an image comes from.
type Source struct {
	// Path is a file or a URL. FILE#sha256=HEX and #sha512= say what the file is, as
	// it is there, compressed or not.
	Path string
	// Signature is a detached OpenPGP signature of that file, a file or a URL, and
	// Keyring the file with the keys that may have made it.
	Signature, Keyring string
	// Client downloads; nil: http.DefaultClient.
	Client *http.Client
	// Warn is told about a download that is taken up again; may be nil.
	Warn func(message string)
}

// ErrUnverified: an image from the network that nothing says the content of.
var ErrUnverified = errors.New("nothing says what it has to be")

// IsURL says whether an image comes over the network.
func IsURL(path string) bool {
	return strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://")
}

// Open opens an image. Its format is recognised by its first bytes.
func Open(ctx context.Context, s Source) (Image, error) {
	name, _, _ := strings.Cut(s.Path, "#")
	i, err := s.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", name, err)
	}
	return i, nil
}

func (s Source) open(ctx context.Context) (Image, error) {
	path, want, err := splitHash(s.Path)
	if err != nil {
		return nil, err
	}
	signature, err := s.signature(ctx)
	if err != nil {
		return nil, err
	}
	if IsURL(path) {
		if want == nil && signature == nil {
			return nil, ErrUnverified
		}
		body, err := s.download(ctx, path)
		if err != nil {
			return nil, err
		}
		return fromStream(newChecked(body, want, signature))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	i, err := fromFile(f, want, signature)
	if err != nil {
		_ = f.Close() // it was only read, and may be closed already
		return nil, err
	}
	return i, nil
}

// fromFile reads a file in the way that its format and its checks allow.
func fromFile(f *os.File, want *wanted, sig *signature) (Image, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if m := st.Mode(); !m.IsRegular() && m&os.ModeType != os.ModeDevice {
		return nil, errors.New("neither a file nor a disk")
	}
	magic := make([]byte, 8)
	n, err := f.ReadAt(magic, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	kind := format(magic[:n])
	switch {
	case kind == "qcow2":
		if err := checkWhole(f, want, sig); err != nil {
			return nil, err
		}
		return newQcow2(f)
	case kind == "" && want == nil && sig == nil:
		return newRaw(f)
	}
	i, err := fromStream(newChecked(f, want, sig))
	if s, ok := i.(*streamImage); ok && kind == "" && st.Mode().IsRegular() {
		s.size = st.Size()
	}
	return i, err
}

// checkWhole reads a file that cannot be read in order while it is written.
func checkWhole(f *os.File, want *wanted, sig *signature) error {
	if want == nil && sig == nil {
		return nil
	}
	c := newChecked(io.NopCloser(io.NewSectionReader(f, 0, 1<<62)), want, sig)
	defer c.Close()
	return c.finish()
}

// format tells formats by their first bytes; empty: raw.
func format(b []byte) string {
	for _, f := range []struct{ magic, name string }{
		{"\x1f\x8b", "gzip"}, {"\xfd7zXZ\x00", "xz"}, {"\x28\xb5\x2f\xfd", "zstd"}, {qcow2Magic, "qcow2"},
	} {
		if strings.HasPrefix(string(b), f.magic) {
			return f.name
		}
	}
	return ""
}

// fromStream unpacks what comes. It closes the source when it fails.
func fromStream(c *checked) (Image, error) {
	i, err := unpackStream(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return i, nil
}

func unpackStream(c *checked) (Image, error) {
	packed := bufio.NewReaderSize(c, 1<<20)
	magic, err := packed.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	r, closeReader, err := unpack(format(magic), packed)
	if err != nil {
		return nil, err
	}
	plain := bufio.NewReaderSize(r, 1<<20)
	if magic, err = plain.Peek(4); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if format(magic) == "qcow2" {
		return spool(plain, c)
	}
	return &streamImage{Reader: plain, size: -1,
		check: func() error {
			if _, err := io.Copy(io.Discard, packed); err != nil {
				return err
			}
			return c.finish()
		},
		close: func() error { closeReader(); return c.Close() },
	}, nil
}

// unpack starts a decompressor.
func unpack(kind string, r io.Reader) (io.Reader, func(), error) {
	switch kind {
	case "gzip":
		z, err := gzip.NewReader(r)
		return z, func() {}, err
	case "xz":
		z, err := xz.NewReader(r, 0)
		return z, func() {}, err
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// spool keeps a qcow2, which cannot be read in order, in a file without a name
// in $TMPDIR.
func spool(r io.Reader, c *checked) (Image, error) {
	f, err := os.CreateTemp("", "vic-flash-*.qcow2")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err = io.Copy(f, r); err == nil {
		if err = c.finish(); err == nil {
			err = c.Close()
		}
	}
	var i Image
	if err == nil {
		i, err = newQcow2(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return i, nil
}
