package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/event"
)

// lastEvent is the number of the last event in a file; 0: there is none yet.
func lastEvent(path string) (int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read events: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("read events: %w", err)
	}
	for n := int64(4 << 10); ; n *= 8 { // the file may be large, its lines rarely are
		from := max(0, st.Size()-n)
		tail := make([]byte, st.Size()-from)
		if _, err := f.ReadAt(tail, from); err != nil {
			return 0, fmt.Errorf("read events: %w", err)
		}
		if seq, ok := lastLine(tail, from == 0); ok {
			return seq, nil
		}
		if from == 0 {
			return 0, nil
		}
	}
}

// lastLine finds the number in the last complete line of a part of the file.
func lastLine(tail []byte, whole bool) (int64, bool) {
	end := bytes.LastIndexByte(tail, '\n')
	if end < 0 {
		return 0, false
	}
	start := bytes.LastIndexByte(tail[:end], '\n')
	if start < 0 && !whole {
		return 0, false
	}
	var ev event.Event
	if err := json.Unmarshal(tail[start+1:end], &ev); err != nil {
		return 0, false
	}
	return ev.Seq, true
}

// awaitEvent waits for the event with a message that no other has, and returns
// its number.
func awaitEvent(ctx context.Context, path, message string) (int64, error) {
	for {
		n, err := findEvent(path, message)
		if n > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("find the event %q: %w", message, context.Cause(ctx))
		}
	}
}

func findEvent(path, message string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read events: %w", err)
	}
	i := bytes.LastIndex(b, []byte(message))
	if i < 0 {
		return 0, nil
	}
	start, end := bytes.LastIndexByte(b[:i], '\n')+1, bytes.IndexByte(b[i:], '\n')
	if end < 0 {
		return 0, nil // not all of it is there
	}
	var ev event.Event
	if err := json.Unmarshal(b[start:i+end], &ev); err != nil {
		return 0, fmt.Errorf("read events: %w", err)
	}
	if ev.Message != message {
		return 0, nil
	}
	return ev.Seq, nil
}

// Follow writes the events of the file, from number from on, to w as they come,
// until ctx ends or nobody reads any more. A w that is no *os.File is only known
// to be read when something is written.
func Follow(ctx context.Context, path string, from int64, w io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer f.Close()
	watch, err := watchFile(path)
	if err != nil {
		return err
	}
	defer unix.Close(watch)
	var rest []byte
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read events: %w", err)
		}
		if n == 0 {
			if gone, err := awaitChange(watch, w); gone || err != nil {
				return err
			}
			continue
		}
		rest = append(rest, buf[:n]...)
		end := bytes.LastIndexByte(rest, '\n') + 1
		if _, err := w.Write(since(rest[:end], from)); errors.Is(err, unix.EPIPE) {
			return nil
		} else if err != nil {
			return fmt.Errorf("write events: %w", err)
		}
		rest = append(rest[:0], rest[end:]...)
	}
	return nil
}

// since drops the events before number from from whole lines. Numbers only
// grow.
func since(lines []byte, from int64) []byte {
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n') + 1
		var ev event.Event
		if err := json.Unmarshal(lines[:end], &ev); err == nil && ev.Seq >= from {
			return lines
		}
		lines = lines[end:]
	}
	return nil
}

// watchFile is an inotify(7) descriptor that can be read once a file has grown.
func watchFile(path string) (int, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("watch %s: %w", path, err)
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		return -1, fmt.Errorf("watch %s: %w", path, errors.Join(err, unix.Close(fd)))
	}
	return fd, nil
}

// watchInterval bounds how long the end of a context goes unnoticed.
const watchInterval = 100 * time.Millisecond

// awaitChange waits for the watched file to grow, for a moment. gone: the other
// end of w is closed. Standard input says nothing about that: clients that have
// nothing to say close it at once.
func awaitChange(watch int, w io.Writer) (gone bool, err error) {
	fds := []unix.PollFd{{Fd: int32(watch), Events: unix.POLLIN}}
	if f, ok := w.(*os.File); ok {
		fds = append(fds, unix.PollFd{Fd: int32(f.Fd())})
	}
	if _, err := unix.Poll(fds, int(watchInterval/time.Millisecond)); err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("wait for events: %w", err)
	}
	if fds[0].Revents != 0 {
		var drain [4096]byte
		if _, err := unix.Read(watch, drain[:]); err != nil && !errors.Is(err, unix.EAGAIN) {
			return false, fmt.Errorf("wait for events: %w", err)
		}
	}
	return len(fds) > 1 && fds[1].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0, nil
}
