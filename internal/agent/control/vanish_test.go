package control_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/agent/control"
)

// begin sends bytes as they are, and vanishes.
func (s *system) begin(t *testing.T, b string) {
	t.Helper()
	conn, err := net.Dial("unix", s.Client.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, b); err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// A client that is gone in the middle of a call leaves a server that answers,
// and a run that can go on.
func TestClientVanishes(t *testing.T) {
	s := newSystem(t, nil)
	content := random(1000)
	path := t.TempDir() + "/payload"
	s.work(t, func(ctx context.Context, d *control.Delivery) (string, error) {
		if err := d.Proceed(ctx); err != nil {
			return "", err
		}
		f, err := os.Create(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		return "reboot", d.Receive(ctx, f, 1000, func(int64) {})
	})
	doc := document(t, "debian", 1000)
	whole := fmt.Sprintf(`{"verb":"deliver","length":%d}`+"\n%s", len(doc), doc)
	for _, b := range []string{"", "{", `{"verb":"status"}`, `{"verb":"status"}` + "\n", `{"verb":"payload"}` + "\n", `{"verb":"send"}` + "\n", whole[:30], whole[:100], whole[:len(whole)-1]} {
		s.begin(t, b)
		s.await(t, control.Waiting)
	}
	s.begin(t, whole)
	s.await(t, control.Verified)
	if again, err := s.Deliver(t.Context(), doc); err != nil || again.Events != 2 || !again.Resumed {
		t.Errorf("got %+v, %v", again, err)
	}
	s.begin(t, `{"verb":"proceed"}`) // not all of it
	s.await(t, control.Verified)
	s.begin(t, `{"verb":"proceed"}`+"\n")
	s.await(t, control.Writing)
	if err := s.Proceed(t.Context(), 0); err != nil {
		t.Error(err)
	}
	s.awaitReady(t)
	s.begin(t, `{"verb":"send"}`+"\n")
	s.begin(t, `{"verb":"send"}`+"\n"+string(content[:10]))
	// Those bytes may count or not: the client asks.
	for deadline := time.Now().Add(10 * time.Second); ; {
		p, err := s.Payload(t.Context())
		if err == nil {
			_, err = s.Send(t.Context(), p.Offset, bytes.NewReader(content[p.Offset:]))
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	s.await(t, control.Done)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestGarbage(t *testing.T) {
	s := newSystem(t, nil)
	for in, want := range map[string]string{
		"hello\n":                               "expected a call",
		"\n":                                    "expected a call",
		"\x00\x01\x02\n":                        "expected a call",
		`{"verb":"status"}{}` + "\n":            "expected a call",
		`{"verb":"status","x":1}` + "\n":        "expected a call",
		`{"verb":"format"}` + "\n":              `unknown call \"format\"`,
		`{"verb":"deliver","length":-1}` + "\n": "out of bounds",
		`{"verb":"deliver","length":99999999999}` + "\n": "out of bounds",
		strings.Repeat("x", 100_000):                     "longer than",
	} {
		conn, err := net.Dial("unix", s.Client.Socket)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, in)
		line, err := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		if err != nil || !strings.Contains(line, want) {
			t.Errorf("%.30q: got %q, %v, want %q", in, line, err, want)
		}
	}
	s.await(t, control.Waiting)
}

func TestNoServer(t *testing.T) {
	c := control.Client{Socket: t.TempDir() + "/none"}
	_, err := c.Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "call the agent: dial unix") {
		t.Errorf("got %v", err)
	}
}

// With the context of the server, all connections go; another one can take its
// place, and that of its socket.
func TestListenEndsAndBeginsAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cfg := control.Config{Socket: t.TempDir() + "/s", Hooks: control.Hooks{Left: func() time.Duration { return 0 }}}
	if _, err := control.Listen(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := control.Client{Socket: cfg.Socket}
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
	if _, err := control.Listen(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
}
