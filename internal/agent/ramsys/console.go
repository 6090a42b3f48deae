package ramsys

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/victorinix/vic/internal/event"
)

// console is a terminal that the kernel talks to.
type console struct {
	device string // "/dev/ttyS0"
	term   string // for TERM; "dumb" when nothing is known about what is at the other end

	mu sync.Mutex
	f  *os.File
}

// consoleDevices reads the kernel's list of consoles. It falls back to
// /dev/console, which a kernel without any still has.
func consoleDevices(sys string) []string {
	b, _ := os.ReadFile(filepath.Join(sys, "class/tty/console/active"))
	var devices []string
	for _, name := range strings.Fields(string(b)) {
		if name == "tty0" { // whichever is in the foreground; a shell needs one
			name = "tty1"
		}
		devices = append(devices, "/dev/"+name)
	}
	if len(devices) == 0 {
		return []string{"/dev/console"}
	}
	return devices
}

// terminal is the value of TERM for a console: virtual terminals are the
// kernel's own, a serial line ends nobody knows where.
func terminal(device string) string {
	n := strings.TrimPrefix(device, "/dev/tty")
	if n != device && n != "" && strings.Trim(n, "0123456789") == "" {
		return "linux"
	}
	return "dumb"
}

// openConsoles opens all consoles that can be opened; it reports the others.
func openConsoles(devices []string) (open []*console, problems []string) {
	for _, d := range devices {
		f, err := os.OpenFile(d, os.O_WRONLY|noCtty, 0)
		if err != nil {
			problems = append(problems, fmt.Sprintf("open console: %v", err))
			continue
		}
		open = append(open, &console{device: d, term: terminal(d), f: f})
	}
	return open, problems
}

// patience is how long a console may hold up a write. A serial line with flow
// control and nobody there never takes a byte.
const patience = 2 * time.Second

// Write implements io.Writer. What a stuck console does not take is dropped:
// nothing may hang on a console.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A console that cannot wait (no poll) has no deadline, and no need of one.
	_ = c.f.SetWriteDeadline(time.Now().Add(patience))
	_, _ = c.f.Write(p)
	return len(p), nil
}

func printAll(consoles []*console, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	var wg sync.WaitGroup
	for _, c := range consoles {
		wg.Go(func() { _, _ = c.Write([]byte(text)) })
	}
	wg.Wait()
}

// show renders events on a console until there are no more.
func show(c *console, events io.Reader) {
	var r renderer
	dec := event.NewDecoder(events)
	for {
		ev, err := dec.Next()
		if err != nil {
			return
		}
		if text := r.render(ev); text != "" {
			_, _ = c.Write([]byte(text)) // never fails
		}
	}
}
