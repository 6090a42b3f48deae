package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Sizes of Ethernet frames, without checksum, and what is in them (IEEE 802.3,
// 802.1Q).
const (
	headerSize = 14
	tagSize    = 4
	maxFrame   = 64 << 10
	tagType    = 0x8100
)

// backlog is how many frames wait for who does not take them, as a machine that
// stands still; further ones are lost, as on any cable.
const backlog = 1024

// Switch forwards frames between its ports by hardware address and VLAN.
type Switch struct {
	mu    sync.Mutex
	ports map[*port]bool
	known map[station]*port
}

// station is a hardware address in a VLAN; 0 is what has no tag.
type station struct {
	vlan uint16
	mac  [6]byte
}

// wire carries frames one by one, in both directions.
type wire interface {
	// ReadFrame reads one into buf, and returns its length.
	ReadFrame(buf []byte) (int, error)
	WriteFrame(frame []byte) error
	Close() error
}

// port is where a wire is plugged in. Frames of a port's VLAN have no tag on the
// wire; a trunk (0) carries all of them with their tags.
type port struct {
	wire
	vlan uint16
	out  chan []byte
	done chan struct{}
}

func newSwitch() *Switch {
	return &Switch{ports: map[*port]bool{}, known: map[station]*port{}}
}

// plug connects a wire, until it ends or the switch is closed.
func (s *Switch) plug(w wire, vlan uint16) {
	p := &port{w, vlan, make(chan []byte, backlog), make(chan struct{})}
	s.mu.Lock()
	s.ports[p] = true
	s.mu.Unlock()
	go func() {
		for {
			select {
			case frame := <-p.out:
				// Who has gone is noticed by reading.
				_ = p.WriteFrame(frame)
			case <-p.done:
				return
			}
		}
	}()
	go func() {
		buf := make([]byte, maxFrame)
		for {
			n, err := p.ReadFrame(buf)
			if err != nil {
				s.unplug(p)
				return
			}
			s.forward(p, buf[:n])
		}
	}()
}

func (s *Switch) unplug(p *port) {
	s.mu.Lock()
	if s.ports[p] {
		close(p.done)
	}
	delete(s.ports, p)
	for at, q := range s.known {
		if q == p {
			delete(s.known, at)
		}
	}
	s.mu.Unlock()
	_ = p.Close() // a wire that has ended
}

// close unplugs everything.
func (s *Switch) close() {
	s.mu.Lock()
	var all []*port
	for p := range s.ports {
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, p := range all {
		s.unplug(p)
	}
}

// forward passes on a frame that came in at a port.
func (s *Switch) forward(from *port, frame []byte) {
	if len(frame) < headerSize {
		return
	}
	vlan, bare := untag(frame)
	if from.vlan != 0 {
		if vlan != 0 {
			return // a tag where none belongs
		}
		vlan = from.vlan
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ports[from] {
		return
	}
	s.known[station{vlan, [6]byte(frame[6:12])}] = from
	if to, ok := s.known[station{vlan, [6]byte(frame[:6])}]; ok {
		if to != from {
			to.send(vlan, bare)
		}
		return
	}
	for to := range s.ports {
		if to != from && (to.vlan == 0 || to.vlan == vlan) {
			to.send(vlan, bare)
		}
	}
}

// send hands a frame without tag to a port.
func (p *port) send(vlan uint16, bare []byte) {
	frame := bare
	if p.vlan == 0 && vlan != 0 {
		frame = tag(vlan, bare)
	}
	select {
	case p.out <- frame:
	default: // lost
	}
}

// untag copies a frame without its tag, and returns the VLAN that it named.
func untag(frame []byte) (vlan uint16, bare []byte) {
	if binary.BigEndian.Uint16(frame[12:]) != tagType || len(frame) < headerSize+tagSize {
		return 0, append([]byte(nil), frame...)
	}
	bare = append(append([]byte(nil), frame[:12]...), frame[12+tagSize:]...)
	return binary.BigEndian.Uint16(frame[14:]) & 0xfff, bare
}

func tag(vlan uint16, bare []byte) []byte {
	frame := append(make([]byte, 0, len(bare)+tagSize), bare[:12]...)
	frame = binary.BigEndian.AppendUint16(frame, tagType)
	frame = binary.BigEndian.AppendUint16(frame, vlan)
	return append(frame, bare[12:]...)
}

// tap is a network interface of the kernel: each read and write is a frame.
type tap struct{ *os.File }

func (t tap) ReadFrame(buf []byte) (int, error) { return t.Read(buf) }

func (t tap) WriteFrame(frame []byte) error {
	_, err := t.Write(frame)
	return err
}

// stream carries frames as QEMU's socket networks do: each after its length in 4
// bytes, big endian.
type stream struct{ io.ReadWriteCloser }

func (s stream) ReadFrame(buf []byte) (int, error) {
	var size [4]byte
	if _, err := io.ReadFull(s, size[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > uint32(len(buf)) {
		return 0, fmt.Errorf("read frame: %d bytes, %d are most", n, len(buf))
	}
	_, err := io.ReadFull(s, buf[:n])
	if errors.Is(err, io.EOF) && n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return int(n), err
}

func (s stream) WriteFrame(frame []byte) error {
	_, err := s.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(frame)), uint32(len(frame))), frame...))
	return err
}
