package remote

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
)

// client is a vic that is running, with --json.
type client struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	done   chan struct{} // closed when all of events is there

	mu     sync.Mutex
	events []event.Event
	wake   chan struct{}
}

// vic starts the command on an old system. Its end is waited for by end.
func vic(ctx context.Context, t *testing.T, old *oldsystem.System, args ...string) *client {
	t.Helper()
	cache, err := lab.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	c := &client{done: make(chan struct{}), wake: make(chan struct{})}
	c.cmd = exec.CommandContext(ctx, lab.Program(t), append(args, "--cache", cache, "--ssh-config", old.SSHConfig)...)
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(os.Interrupt) }
	c.cmd.WaitDelay = 20 * time.Second
	c.cmd.Env, c.cmd.Stderr = append(os.Environ(), "TMPDIR="+t.TempDir()), &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		dec := event.NewDecoder(out)
		for {
			e, err := dec.Next()
			if err != nil {
				return // what is no event shows in the exit code, and in what is missing
			}
			c.mu.Lock()
			c.events = append(c.events, e)
			close(c.wake)
			c.wake = make(chan struct{})
			c.mu.Unlock()
		}
	}()
	return c
}

// until waits for an event, and tells whether it came before the client ended.
func (c *client) until(is func(event.Event) bool) bool {
	for i := 0; ; {
		c.mu.Lock()
		wake, all := c.wake, c.events
		c.mu.Unlock()
		for ; i < len(all); i++ {
			if is(all[i]) {
				return true
			}
		}
		select {
		case <-wake:
		case <-c.done:
			c.mu.Lock()
			more := len(c.events) > i
			c.mu.Unlock()
			if !more {
				return false
			}
		}
	}
}

// end waits for the client and returns its exit code and its events.
func (c *client) end(t *testing.T) (int, []event.Event) {
	t.Helper()
	<-c.done
	err := c.cmd.Wait()
	if c.cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return c.cmd.ProcessState.ExitCode(), c.events
}
