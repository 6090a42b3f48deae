package supervisor

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"
)

// Names of files, see the package comment.
const (
	logName   = "log"
	oldSuffix = ".old"
	stateName = "state.json"
)

// ringSize is what one of the two files of a log holds at most, in bytes.
const ringSize = 32 << 10

// ring is a log that keeps what was last: a file, and the one before it. They are
// on a tmpfs, so in RAM, where others can read them.
//
//	12.345 text
//
// with seconds since boot.
type ring struct {
	path string

	mu   sync.Mutex
	f    *os.File
	size int
}

func newRing(path string) *ring { return &ring{path: path} }

// line adds a line. A log that cannot be written is no reason to stop a service:
// the line is on the console.
func (r *ring) line(text string) {
	line := fmt.Sprintf("%.3f %s\n", now().Seconds(), text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.f != nil && r.size+len(line) > ringSize {
		r.f.Close()
		r.f = nil
		_ = os.Rename(r.path, r.path+oldSuffix)
	}
	if r.f == nil {
		r.f, _ = os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		r.size = 0
	}
	if r.f != nil {
		n, _ := io.WriteString(r.f, line)
		r.size += n
	}
}

func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}

// printable keeps what services print from being more than text on a console.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// console passes lines on to somebody who may be slow, or not take any.
type console struct {
	lines chan string
	done  chan struct{}

	mu      sync.Mutex
	dropped int
	closed  bool
}

// waiting is how many lines may wait for a console.
const waiting = 256

func newConsole(w io.Writer) *console {
	c := &console{lines: make(chan string, waiting), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for line := range c.lines {
			if w != nil {
				_, _ = io.WriteString(w, line) // a console that is gone is no reason to stop
			}
		}
	}()
	return c
}

func (c *console) printf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.dropped > 0 && c.put(fmt.Sprintf("services: -- %d lines were not shown\n", c.dropped)) {
		c.dropped = 0
	}
	if !c.put(fmt.Sprintf(format, args...)) {
		c.dropped++
	}
}

func (c *console) put(line string) bool {
	select {
	case c.lines <- line:
		return true
	default:
		return false
	}
}

// close waits until everything is written.
func (c *console) close() {
	c.mu.Lock()
	c.closed = true
	close(c.lines)
	c.mu.Unlock()
	<-c.done
}
