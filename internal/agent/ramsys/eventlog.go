package ramsys

import (
	"context"
	"io"
	"os"
	"sync"
)

// eventLog is the file with all events of this boot. It has one writer and any
// number of followers, each of which reads it from the beginning at its own
// pace: a slow console or an absent listener delays nobody and misses nothing.
type eventLog struct {
	f *os.File

	mu    sync.Mutex
	size  int64
	ended bool
	grown chan struct{} // closed when size or ended changes
}

func createEventLog(path string) (*eventLog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &eventLog{f: f, grown: make(chan struct{})}, nil
}

// Write appends whole lines.
func (l *eventLog) Write(p []byte) (int, error) {
	n, err := l.f.Write(p)
	l.update(func() { l.size += int64(n) })
	return n, err
}

// end lets followers come to an end once they have read everything.
func (l *eventLog) end() { l.update(func() { l.ended = true }) }

func (l *eventLog) update(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *eventLog) state() (size int64, ended bool, grown <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size, l.ended, l.grown
}

// follow returns a reader of all events, past and to come. Read blocks until
// there is more, the log has ended (io.EOF) or ctx has.
func (l *eventLog) follow(ctx context.Context) io.Reader { return &follower{ctx: ctx, log: l} }

type follower struct {
	ctx    context.Context
	log    *eventLog
	offset int64
}

func (f *follower) Read(p []byte) (int, error) {
	for {
		size, ended, grown := f.log.state()
		if f.offset < size {
			n, err := f.log.f.ReadAt(p[:min(int64(len(p)), size-f.offset)], f.offset)
			f.offset += int64(n)
			return n, err
		}
		if ended {
			return 0, io.EOF
		}
		select {
		case <-grown:
		case <-f.ctx.Done():
			return 0, context.Cause(f.ctx)
		}
	}
}
