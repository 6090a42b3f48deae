package supervisor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/service"
)

// How often a condition is looked at: soon at first, later less often.
const (
	firstLook   = 20 * time.Millisecond
	longestLook = 500 * time.Millisecond
)

// probe calls ready when a condition that has to be looked at is true.
func probe(ctx context.Context, r service.Ready, ready func()) {
	var look func() bool
	switch {
	case r.File != "":
		look = func() bool { _, err := os.Stat(r.File); return err == nil }
	case r.TCP != "":
		look = func() bool { return accepts(ctx, r.TCP) }
	case r.UDP != "":
		look = func() bool { return bound(r.UDP) }
	default:
		return
	}
	for pause := firstLook; ctx.Err() == nil; pause = min(2*pause, longestLook) {
		if look() {
			ready()
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func accepts(ctx context.Context, addr string) bool {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// bound says whether a UDP socket has an address and port: nobody answers
// datagrams that mean nothing, so the kernel is asked.
func bound(addr string) bool {
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		return false
	}
	for _, path := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		b, err := os.ReadFile(path)
		if err == nil && slices.ContainsFunc(udpSockets(string(b)), func(have netip.AddrPort) bool {
			return have.Port() == want.Port() && (have.Addr() == want.Addr() || have.Addr().IsUnspecified())
		}) {
			return true
		}
	}
	return false
}

// udpSockets reads the local addresses of /proc/net/udp or udp6, see proc_net(5):
//
//	sl  local_address rem_address   st ...
//	 7: 0100007F:0035 00000000:0000 07 ...
//
// The address is in words of 32 bits, each in the byte order of the machine:
// little-endian on all that vic is made for.
func udpSockets(text string) []netip.AddrPort {
	var list []netip.AddrPort
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		host, port, ok := strings.Cut(fields[1], ":")
		raw, err := hex.DecodeString(host)
		n, portErr := strconv.ParseUint(port, 16, 16)
		if !ok || err != nil || portErr != nil || len(raw)%4 != 0 {
			continue
		}
		for i := 0; i < len(raw); i += 4 {
			slices.Reverse(raw[i : i+4])
		}
		if a, ok := netip.AddrFromSlice(raw); ok {
			list = append(list, netip.AddrPortFrom(a.Unmap(), uint16(n)))
		}
	}
	return list
}

// listenNotify calls ready when READY=1 comes in on a socket, see sd_notify(3).
// The socket goes when ctx ends.
func listenNotify(ctx context.Context, path string, ready func()) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("listen for readiness: %w", err)
	}
	context.AfterFunc(ctx, func() { c.Close() })
	go func() {
		buf := make([]byte, 4<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
				ready()
			}
		}
	}()
	return nil
}

// Notify says that this service is ready, see sd_notify(3). Without anybody to
// tell it does nothing.
func Notify() error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}
