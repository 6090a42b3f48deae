package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/enter/order"
)

// file is what is sent. Its name has part of its hash: what is there by that name
// is the same, or the beginning of it.
type file struct {
	name   string
	data   io.ReaderAt
	size   int64
	sha256 string
}

func newFile(name string, data io.ReaderAt, size int64) (file, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(data, 0, size)); err != nil {
		return file{}, fmt.Errorf("read %s: %w", name, err)
	}
	text := hex.EncodeToString(sum.Sum(nil))
	return file{name: name + "-" + text[:16], data: data, size: size, sha256: text}, nil
}

// wholeFile is a file of this machine.
func wholeFile(name string, in *os.File) (file, error) {
	st, err := in.Stat()
	if err != nil {
		return file{}, err
	}
	return newFile(name, in, st.Size())
}

// ordered is the file as the host is told of it.
func (f file) ordered() order.File { return order.File{Name: f.name, Size: f.size, SHA256: f.sha256} }

// Limits of trying again. A broken connection is noticed after half a minute.
const (
	tries     = 6 // without a byte getting through
	firstWait = time.Second
	mostWait  = 15 * time.Second
)

// again runs a script, as root where that is possible, until the connection holds
// for as long as it takes: one that may run more than once.
func (s *Session) again(ctx context.Context, script string, stdin []byte) ([]byte, error) {
	pause := s.pause
	for failed := 1; ; failed++ {
		out, err := s.asRoot(ctx, script, bytes.NewReader(stdin))
		if !IsLost(err) || failed == tries {
			return out, err
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, mostWait)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// send copies a file into the folder, and goes on after a broken connection with
// what is missing. progress gets the bytes of the file that are there.
func (s *Session) send(ctx context.Context, f file, progress func(done int64)) error {
	var last error
	pause := s.pause
	for before, failed := int64(-1), 0; failed < tries; failed++ {
		at, err := s.arrived(ctx, f)
		if err == nil {
			progress(at)
			if at == f.size {
				return nil
			}
			if at > before {
				before, failed, pause = at, 0, s.pause
			}
			err = s.sendFrom(ctx, f, at, progress)
		}
		switch {
		case err == nil:
			continue // it is asked what is there
		case !IsLost(err):
			return fmt.Errorf("send %s: %w", f.name, err)
		}
		last = err
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("send %s: %w; last: %w", f.name, err, last)
		}
		pause = min(2*pause, mostWait)
	}
	return fmt.Errorf("send %s: given up after %d attempts: %w", f.name, tries, errors.Join(last, errors.New("nothing more gets through")))
}

// stop ends an earlier attempt, which may still write what had arrived before its
// connection broke, and prints the size of the file.
const stop = `f=%s
while read -r p <"$f.pid" && [ "$(readlink "/proc/$p/fd/1")" = "$f" ]; do kill -9 "$p"; done 2>/dev/null
if [ -e "$f" ]; then wc -c <"$f"; else echo 0; fi`

// arrived is how much of a file the host has.
func (s *Session) arrived(ctx context.Context, f file) (int64, error) {
	out, err := s.again(ctx, fmt.Sprintf(stop, quote(s.path(f.name))), nil)
	if err != nil {
		return 0, err
	}
	// What a login script prints comes before.
	words := strings.Fields(string(out))
	if len(words) == 0 {
		return 0, fmt.Errorf("the host does not say how large it is there: %.200q", out)
	}
	n, err := strconv.ParseInt(words[len(words)-1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the host does not say how large it is there: %.200q", out)
	}
	if n <= f.size {
		return n, nil
	}
	// Two clients at once.
	_, err = s.again(ctx, "rm -f "+quote(s.path(f.name)), nil)
	return 0, err
}

// sendFrom appends what is missing.
func (s *Session) sendFrom(ctx context.Context, f file, at int64, progress func(done int64)) error {
	script := fmt.Sprintf(`umask 077; f=%s; echo $$ >"$f.pid"; exec cat >>"$f"`, quote(s.path(f.name)))
	in := &reported{io.NewSectionReader(f.data, at, f.size-at), at, progress}
	_, err := s.asRoot(ctx, script, in)
	return err
}

// reported tells how far a file was read.
type reported struct {
	io.Reader
	done int64
	tell func(done int64)
}

func (r *reported) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if n > 0 {
		r.done += int64(n)
		r.tell(r.done)
	}
	return n, err
}

// sendSmall replaces a document in one go.
func (s *Session) sendSmall(ctx context.Context, name string, text []byte) error {
	script := fmt.Sprintf(`umask 077; f=%s; cat >"$f.new" && [ "$(wc -c <"$f.new")" -eq %d ] && mv "$f.new" "$f"`, quote(s.path(name)), len(text))
	if _, err := s.again(ctx, script, text); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	return nil
}
