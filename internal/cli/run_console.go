package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/victorinix/vic/qemu-tests/vm"
)

// escape is Ctrl-], which ends a machine from its console, as it ends telnet.
const escape = 0x1d

// attach connects the console of a machine with this terminal, or with pipes. It
// returns what shows the rest and gives the terminal back.
func (j *runJob) attach(ctx context.Context, m *vm.Machine, end func()) (restore func(), err error) {
	restore = func() {}
	if f, ok := j.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		state, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return restore, err
		}
		restore = func() { _ = term.Restore(int(f.Fd()), state) }
	}
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		showConsole(ctx, m, j.stdout)
	}()
	go typeConsole(m, j.stdin, end)
	give := restore
	return func() {
		<-shown
		give()
	}, nil
}

// showConsole copies what the console shows, until the machine has ended.
func showConsole(ctx context.Context, m *vm.Machine, to io.Writer) {
	f, err := os.Open(m.ConsolePath())
	for errors.Is(err, os.ErrNotExist) && !ended(m) {
		time.Sleep(consolePause)
		f, err = os.Open(m.ConsolePath())
	}
	if err != nil {
		return
	}
	defer f.Close()
	for {
		last := ended(m) || ctx.Err() != nil
		if _, err := io.Copy(to, f); err != nil || last {
			return
		}
		time.Sleep(consolePause)
	}
}

const consolePause = 50 * time.Millisecond

func ended(m *vm.Machine) bool {
	select {
	case <-m.Done():
		return true
	default:
		return false
	}
}

// typeConsole types into the console what comes in. The end of a pipe ends
// nothing.
func typeConsole(m *vm.Machine, from io.Reader, end func()) {
	buf := make([]byte, 256)
	for {
		n, err := from.Read(buf)
		typed, _, stop := bytes.Cut(buf[:n], []byte{escape})
		if m.SendConsole(string(typed)) != nil || err != nil && !stop {
			return
		}
		if stop {
			end()
			return
		}
	}
}
