package network

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// echo is a server that says its name, and then what it is told.
func echo(t *testing.T, name string) func(time.Duration) (net.Conn, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, name)
				_, _ = io.Copy(c, c) // the client ends it
			}()
		}
	}()
	return func(limit time.Duration) (net.Conn, error) {
		return net.DialTimeout("tcp", l.Addr().String(), limit)
	}
}

func TestRelay(t *testing.T) {
	r := NewRelay(t, echo(t, "machine"))
	connect := func(want string) (net.Conn, *bufio.Reader) {
		t.Helper()
		c, err := net.Dial("tcp", r.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := bufio.NewReader(c)
		if name, err := b.ReadString('\n'); name != want+"\n" {
			t.Fatalf("%q answers, %v; want %s", name, err, want)
		}
		return c, b
	}
	first, in := connect("machine")
	fmt.Fprintln(first, "hello")
	if line, err := in.ReadString('\n'); line != "hello\n" || r.Sent() != 6 {
		t.Errorf("%q after %d bytes, %v", line, r.Sent(), err)
	}
	r.Divert(echo(t, "impostor"))
	second, in2 := connect("impostor")
	r.BreakAfter(100)
	if _, err := io.Copy(second, strings.NewReader(strings.Repeat("x", 200))); err != nil {
		t.Logf("broken while it was written to: %v", err)
	}
	for name, b := range map[string]*bufio.Reader{"first": in, "second": in2} {
		if n, err := io.Copy(io.Discard, b); err == nil {
			t.Errorf("the %s connection ended in good order after %d bytes more", name, n)
		}
	}
	third, in3 := connect("impostor") // only once
	fmt.Fprintln(third, strings.Repeat("x", 500))
	if line, err := in3.ReadString('\n'); len(line) != 501 {
		t.Errorf("%d bytes, %v", len(line), err)
	}
}
