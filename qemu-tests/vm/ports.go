package vm

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// forwardLine is a forwarded port in the answer to "info usernet", with the
// host's address and port and the guest's port.
var forwardLine = lazyregexp.New(`(?m)^\s*TCP\[HOST_FORWARD\]\s+\d+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)\s`)

// findPorts asks QEMU which ports it listens on: it chose them itself, so no
// other process can have taken one in between.
func (m *Machine) findPorts(ctx context.Context) error {
	want := 0
	for _, n := range m.setup.NICs {
		want += len(n.Forward)
	}
	if want == 0 {
		return nil
	}
	text, err := m.hmp(ctx, "info usernet")
	if err != nil {
		return fmt.Errorf("find forwarded ports: %w", err)
	}
	if m.ports = parsePorts(text); len(m.ports) != want {
		return fmt.Errorf("find forwarded ports: want %d, QEMU has %q", want, text)
	}
	return nil
}

// hubLine begins the connections of one network.
var hubLine = lazyregexp.New(`(?m)^Hub -?\d+ \(nic(\d+)\):`)

// parsePorts reads the answer to "info usernet" (slirp_connection_info).
func parsePorts(text string) map[portKey]string {
	ports := map[portKey]string{}
	hubs := hubLine.FindAllStringSubmatchIndex(text, -1)
	for i, h := range hubs {
		end := len(text)
		if i+1 < len(hubs) {
			end = hubs[i+1][0]
		}
		nic, err := strconv.Atoi(text[h[2]:h[3]])
		if err != nil {
			continue
		}
		for _, f := range forwardLine.FindAllStringSubmatch(text[h[1]:end], -1) {
			if guest, err := strconv.Atoi(f[3]); err == nil {
				ports[portKey{nic, guest}] = net.JoinHostPort(f[1], f[2])
			}
		}
	}
	return ports
}

// Addr is the address (host:port) that leads to a guest's port through network
// card nic; empty if that port is not among the card's Forward.
func (m *Machine) Addr(nic, guestPort int) string { return m.ports[portKey{nic, guestPort}] }

// SetLink plugs the cable of network card nic in or out.
func (m *Machine) SetLink(ctx context.Context, nic int, up bool) error {
	_, err := m.QMP(ctx, "set_link", map[string]any{"name": fmt.Sprintf("nic%d", nic), "up": up})
	return err
}
