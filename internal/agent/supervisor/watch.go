package supervisor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// watch tells which files of some folders are written, see inotify(7).
type watch struct {
	f     *os.File
	names map[int32]string // of the folders, by watch descriptor
}

func newWatch() (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch outputs: %w", err)
	}
	return &watch{f: os.NewFile(uintptr(fd), "inotify"), names: map[int32]string{}}, nil
}

// add is for before run.
func (w *watch) add(name, dir string) error {
	wd, err := unix.InotifyAddWatch(int(w.f.Fd()), dir, unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_MOVED_FROM|unix.IN_DELETE|unix.IN_ONLYDIR)
	if err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	w.names[int32(wd)] = name
	return unix.SetNonblock(int(w.f.Fd()), true) // Fd made it blocking
}

func (w *watch) close() error { return w.f.Close() }

// run passes on what is written until the watch is closed or changed returns
// false. When the kernel lost events, every folder has changed, with key "".
func (w *watch) run(changed func(name, key string) bool) {
	buf := make([]byte, 16<<10)
	for {
		n, err := w.f.Read(buf)
		if err != nil {
			return
		}
		for _, e := range inotifyEvents(buf[:n]) {
			if e.lost {
				for _, name := range w.names {
					if !changed(name, "") {
						return
					}
				}
			}
			if e.file == "" || strings.HasPrefix(e.file, ".") {
				continue
			}
			if !changed(w.names[e.wd], e.file) {
				return
			}
		}
	}
}

type inotifyEvent struct {
	wd   int32
	file string
	lost bool
}

// inotifyEvents reads the records that the kernel wrote.
func inotifyEvents(b []byte) []inotifyEvent {
	var list []inotifyEvent
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		size := int(binary.NativeEndian.Uint32(b[12:]))
		b = b[unix.SizeofInotifyEvent:]
		if size > len(b) {
			return list
		}
		name, _, _ := bytes.Cut(b[:size], []byte{0})
		list = append(list, inotifyEvent{wd, string(name), mask&unix.IN_Q_OVERFLOW != 0})
		b = b[size:]
	}
	return list
}
