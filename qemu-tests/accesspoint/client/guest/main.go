// Command guest is the init of a machine that is plugged into an access point. What
// it is asked for (package wire) it does as any client would: its address is from
// DHCP, its IPv6 addresses are what the kernel makes of router advertisements, and
// it asks the name servers that it was given. It serves a page itself, which nobody
// on the wireless side may see.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/victorinix/vic/qemu-tests/accesspoint/client/wire"
	"github.com/victorinix/vic/qemu-tests/accesspoint/reach"
	"github.com/victorinix/vic/qemu-tests/lab/pid1"
	"github.com/victorinix/vic/qemu-tests/lab/port"
)

// limit is for one question. A lease may take longest: its server may not be there.
const limit = 20 * time.Second

func main() {
	fmt.Println("client:", run())
	pid1.PowerOff()
}

// run returns when it cannot go on.
func run() error {
	if err := errors.Join(pid1.Mount(), pid1.Load(context.Background(), "virtio_net")); err != nil {
		return err
	}
	p, err := port.Open(wire.Port)
	if err != nil {
		return err
	}
	go func() {
		fmt.Println("serve:", http.ListenAndServe(":80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "a page of the client")
		})))
	}()
	var c client
	questions, answers := json.NewDecoder(patient{p}), json.NewEncoder(p)
	for {
		var q wire.Question
		if err := questions.Decode(&q); err != nil {
			return err
		}
		if err := answers.Encode(c.answer(q.Words)); err != nil {
			return err
		}
	}
}

// patient waits where a port has no host yet.
type patient struct{ io.Reader }

func (p patient) Read(b []byte) (int, error) {
	for {
		n, err := p.Reader.Read(b)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// client is what it knows of its network.
type client struct{ lease *wire.Lease }

func (c *client) answer(words []string) (a wire.Answer) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	a, err := c.do(ctx, words)
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

func (c *client) do(ctx context.Context, words []string) (a wire.Answer, err error) {
	words = append(words, "", "", "")
	switch words[0] {
	case wire.Plug:
		c.lease, err = plug(ctx)
		a.Lease = c.lease
	case wire.IPv6:
		a.Lines, err = ipv6()
	case wire.Resolve:
		a.Lines, err = resolve(ctx, words[1], words[2])
	case wire.Get:
		a.Text, err = get(ctx, words[1], words[2])
	case wire.Reach:
		a.Text = reach.TCP(words[1], words[2])
	case wire.SSH:
		if c.lease == nil {
			return a, errors.New("it is not plugged in")
		}
		var key []byte
		if key, err = os.ReadFile(words[1]); err == nil {
			a.Text, err = command(ctx, c.lease.Router, key, words[2])
		}
	default:
		err = fmt.Errorf("cannot do %q", words[0])
	}
	return a, err
}
