package hotplug

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Uevent is a message of the kernel about a device.
type Uevent struct {
	Action  string // "add", "remove", "bind", ...
	Devpath string // below /sys
	Vars    map[string]string
}

// errNoUevent is returned for what does not come from the kernel: libudev's
// messages, which have a binary header.
var errNoUevent = errors.New("no uevent of the kernel")

// ParseUevent reads "add@/devices/...\0ACTION=add\0DEVPATH=...\0".
func ParseUevent(b []byte) (Uevent, error) {
	head, rest, _ := bytes.Cut(b, []byte{0})
	action, devpath, found := strings.Cut(string(head), "@")
	if !found || action == "" || !strings.HasPrefix(devpath, "/") {
		return Uevent{}, errNoUevent
	}
	ev := Uevent{Action: action, Devpath: devpath, Vars: map[string]string{}}
	for v := range bytes.SplitSeq(rest, []byte{0}) {
		if key, value, ok := strings.Cut(string(v), "="); ok {
			ev.Vars[key] = value
		}
	}
	return ev, nil
}

// receiveBuffer is what the socket may queue while modules load: a hub or a
// disk shelf that appears sends some hundred messages of about 500 bytes. The
// kernel allocates only what is queued.
const receiveBuffer = 4 << 20

// Socket is a netlink socket that receives the kernel's uevents.
type Socket struct{ f *os.File }

// Listen opens a Socket.
func Listen() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open uevent socket: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up uevent socket: %w", err)
	}
	return &Socket{os.NewFile(uintptr(fd), "uevent")}, nil
}

// Close ends a Receive that waits.
func (s *Socket) Close() error { return s.f.Close() }

// Receive waits for the next message. ENOBUFS says that some were lost.
func (s *Socket) Receive(ctx context.Context) (Uevent, error) {
	buf := make([]byte, 8<<10)
	for {
		n, err := s.f.Read(buf)
		if err != nil {
			return Uevent{}, err
		}
		if ev, err := ParseUevent(buf[:n]); err == nil {
			return ev, nil
		}
		if ctx.Err() != nil {
			return Uevent{}, context.Cause(ctx)
		}
	}
}
