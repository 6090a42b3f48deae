package vm

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// panicWords are printed by kernel/panic.c, before the stack.
const panicWords = "Kernel panic - not syncing"

// console is the host's end of the serial port. QEMU itself writes the log, so
// that it is whole even where this process is killed; here the port is only
// emptied, watched for panics, and typed to.
type console struct {
	conn io.ReadWriteCloser
	done chan struct{}
}

func newConsole(conn io.ReadWriteCloser, onPanic func()) *console {
	c := &console{conn, make(chan struct{})}
	go func() {
		defer close(c.done)
		watch(conn, panicWords, onPanic)
	}()
	return c
}

// watch reads r to its end and calls found at every occurrence of words.
func watch(r io.Reader, words string, found func()) {
	buf := make([]byte, 0, 32<<10)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		for {
			i := bytes.Index(buf, []byte(words))
			if i < 0 {
				break
			}
			found()
			buf = append(buf[:0], buf[i+len(words):]...)
		}
		if over := len(buf) - (len(words) - 1); over > 0 {
			buf = append(buf[:0], buf[over:]...)
		}
		if err != nil {
			return
		}
	}
}

// ConsolePath is the file that QEMU writes the serial console to.
func (m *Machine) ConsolePath() string { return filepath.Join(m.setup.Dir, "console.log") }

// Console is what the serial console has shown so far, as it came.
func (m *Machine) Console() string {
	b, err := os.ReadFile(m.ConsolePath())
	if err != nil {
		return "" // not begun yet, or removed by Close
	}
	return string(b)
}

// ConsoleTail is the last n lines of the console, without control sequences.
func (m *Machine) ConsoleTail(n int) string { return lastLines(m.Console(), n) }

// SendConsole types text into the serial console; a line ends in "\n".
func (m *Machine) SendConsole(text string) error {
	if _, err := io.WriteString(m.console.conn, text); err != nil {
		return fmt.Errorf("type into the console of machine %s: %w", m.setup.Name, err)
	}
	return nil
}

// controls are ANSI escape sequences (ECMA-48 §5.4) and control characters
// other than tab and newline.
var controls = lazyregexp.New("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\\\-_c=>78]|[\x00-\x08\x0b-\x1f\x7f]")

func lastLines(s string, n int) string {
	s = strings.TrimSpace(controls.ReplaceAllString(s, ""))
	lines := strings.Split(s, "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
