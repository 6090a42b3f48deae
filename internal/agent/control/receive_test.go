package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/control"
)

// receiving is a system whose run waits for size bytes.
type receiving struct {
	*system
	path   string
	result chan error // of Receive
}

func newReceiving(t *testing.T, size int64, change func(*control.Config)) *receiving {
	t.Helper()
	r := &receiving{system: newSystem(t, change), path: filepath.Join(t.TempDir(), "payload"), result: make(chan error, 1)}
	r.into(t, func() (*os.File, error) { return os.Create(r.path) }, size)
	return r
}

// into has a run receive into a file.
func (r *receiving) into(t *testing.T, open func() (*os.File, error), size int64) {
	t.Helper()
	r.work(t, func(ctx context.Context, d *control.Delivery) (string, error) {
		if err := d.Proceed(ctx); err != nil {
			return "", err
		}
		f, err := open()
		if err != nil {
			return "", err
		}
		var last int64
		calls, start := 0, time.Now()
		err = d.Receive(ctx, f, size, func(done int64) {
			if done <= last || done > size {
				t.Errorf("progress from %d to %d of %d", last, done, size)
			}
			last = done
			calls++
		})
		if most := int(time.Since(start)/(250*time.Millisecond)) + 2; calls > most || err == nil && last != size {
			t.Errorf("%d calls of progress, at most %d are few; the last at %d", calls, most, last)
		}
		err = errors.Join(err, f.Close())
		r.result <- err
		return "reboot", err
	})
	if _, err := r.Deliver(t.Context(), document(t, "debian", size)); err != nil {
		t.Fatal(err)
	}
	r.await(t, control.Verified)
	if err := r.Proceed(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	r.awaitReady(t)
}

func (s *system) awaitReady(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		p, err := s.Payload(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("not ready: %+v, %v", p, err)
		}
		if p.Ready {
			return
		}
	}
}

func (r *receiving) offset(t *testing.T) int64 {
	t.Helper()
	p, err := r.Payload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p.Offset
}

func (r *receiving) requireContent(t *testing.T, want []byte) {
	t.Helper()
	select {
	case err := <-r.result:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	if got, err := os.ReadFile(r.path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes (%v), want %d others", len(got), err, len(want))
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// brokenOff sends the bytes and then breaks the connection, without a word.
func (r *receiving) brokenOff(t *testing.T, offset int64, b []byte) {
	t.Helper()
	conn, err := net.Dial("unix", r.Client.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, `{"verb":"send","offset":%d}`+"\n", offset)
	if _, err := conn.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); r.offset(t) < offset+int64(len(b)); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes came", r.offset(t))
		}
	}
}

// The pieces that are read, the windows that are written back, and the ends.
const bigSize = 2*(8<<20) + 12345

func TestResumesAfterACutAnywhere(t *testing.T) {
	content := random(bigSize)
	for _, cuts := range [][]int64{
		{}, {0}, {1}, {4095}, {4096}, {4097}, {256 << 10}, {256<<10 + 1}, {8<<20 - 1}, {8 << 20}, {8<<20 + 1}, {bigSize - 1},
		{0, 0, 1, 1, 2}, {1, 4096, 256 << 10, 8 << 20, 16 << 20, bigSize - 1},
	} {
		t.Run(fmt.Sprint(cuts), func(t *testing.T) {
			r := newReceiving(t, bigSize, nil)
			for _, cut := range cuts {
				from := r.offset(t)
				r.brokenOff(t, from, content[from:cut])
				if got := r.offset(t); got != cut {
					t.Fatalf("cut at %d, it goes on at %d", cut, got)
				}
			}
			from := r.offset(t)
			if p, err := r.Send(t.Context(), from, bytes.NewReader(content[from:])); err != nil || p.Offset != bigSize {
				t.Fatalf("got %+v, %v", p, err)
			}
			r.requireContent(t, content)
		})
	}
}

func TestWrongOffset(t *testing.T) {
	r := newReceiving(t, 1000, nil)
	content := random(1000)
	r.brokenOff(t, 0, content[:500])
	for _, offset := range []int64{0, 499, 501, 1000, 1 << 60} {
		_, err := r.Send(t.Context(), offset, bytes.NewReader(content))
		requireRefused(t, err, fmt.Sprintf("the payload goes on at byte 500, not at %d", offset))
	}
	_, err := r.Send(t.Context(), -1, bytes.NewReader(content))
	requireRefused(t, err, "offset -1 is negative")
	if _, err := r.Send(t.Context(), 500, bytes.NewReader(content[500:])); err != nil {
		t.Error(err)
	}
	r.requireContent(t, content)
}

// Too little leaves what came; too much is told, and not written.
func TestTooLittleAndTooMuch(t *testing.T) {
	r := newReceiving(t, 1000, nil)
	content := random(2000)
	if p, err := r.Send(t.Context(), 0, bytes.NewReader(content[:300])); err != nil || p != (control.Payload{Offset: 300, Size: 1000, Ready: true}) {
		t.Errorf("got %+v, %v", p, err)
	}
	if p, err := r.Send(t.Context(), 300, strings.NewReader("")); err != nil || p.Offset != 300 {
		t.Errorf("got %+v, %v", p, err)
	}
	_, err := r.Send(t.Context(), 300, bytes.NewReader(content[300:]))
	requireRefused(t, err, "the payload has 1000 bytes, and more were sent")
	r.requireContent(t, content[:1000])
}

// A client that reads from something without an end is told when it is enough.
func TestSendEndsWithoutTheEndOfItsInput(t *testing.T) {
	r := newReceiving(t, 1000, nil)
	in, out := io.Pipe()
	defer out.Close()
	content := random(1000)
	go out.Write(content)
	if p, err := r.Send(t.Context(), 0, in); err != nil || p.Offset != 1000 {
		t.Errorf("got %+v, %v", p, err)
	}
	r.requireContent(t, content)
}

// A connection that is dead and not yet known to be is taken over.
func TestNewConnectionTakesOver(t *testing.T) {
	r := newReceiving(t, 1000, nil)
	content := random(1000)
	dead, err := net.Dial("unix", r.Client.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	fmt.Fprintln(dead, `{"verb":"send"}`)
	if _, err := dead.Write(content[:100]); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); r.offset(t) < 100 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if _, err := r.Send(t.Context(), 100, bytes.NewReader(content[100:])); err != nil {
		t.Error(err)
	}
	r.requireContent(t, content)
	answers, _ := io.ReadAll(dead)
	if !strings.Contains(string(answers), `"error"`) {
		t.Errorf("the one before was told %s", answers)
	}
}

func TestDiskFull(t *testing.T) {
	r := &receiving{system: newSystem(t, nil), result: make(chan error, 1)}
	r.into(t, func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }, 1000)
	_, err := r.Send(t.Context(), 0, bytes.NewReader(random(1000)))
	requireRefused(t, err, "no space left on device")
	if err := <-r.result; !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "receive payload: write payload at byte 0 of 1000") {
		t.Errorf("got %v", err)
	}
	r.await(t, control.Failed)
	_, err = r.Send(t.Context(), 0, bytes.NewReader(random(1000)))
	requireRefused(t, err, "no payload is awaited: the state is failed")
}

func TestNobodySends(t *testing.T) {
	r := newReceiving(t, 1000, func(c *control.Config) { c.Idle = 50 * time.Millisecond })
	err := <-r.result
	if err == nil || !strings.Contains(err.Error(), "nothing came for 50ms, 0 of 1000 bytes are there") {
		t.Errorf("got %v", err)
	}
}

// Bytes that come slowly are bytes.
func TestSlowIsNotIdle(t *testing.T) {
	r := newReceiving(t, 10, func(c *control.Config) { c.Idle = 800 * time.Millisecond })
	in, out := io.Pipe()
	go func() {
		for range 10 {
			time.Sleep(100 * time.Millisecond)
			_, _ = out.Write([]byte("x"))
		}
	}()
	if _, err := r.Send(t.Context(), 0, in); err != nil {
		t.Error(err)
	}
	r.requireContent(t, []byte("xxxxxxxxxx"))
}
