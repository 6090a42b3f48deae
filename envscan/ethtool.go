package envscan

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtool asks drivers by the ioctl of include/uapi/linux/ethtool.h, which has
// been there since long before its successor by netlink. Drivers that do not
// answer a question are the rule: they have nothing to say.
type ethtool struct{ *os.File }

func openEthtool() (ethtool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ethtool{}, fmt.Errorf("open a socket for ethtool: %w", err)
	}
	return ethtool{os.NewFile(uintptr(fd), "ethtool")}, nil
}

// ask sends the command in the first four bytes of b, which the answer replaces.
func (e ethtool) ask(name string, b []byte) bool {
	var request struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	if len(name) >= len(request.name) {
		return false
	}
	copy(request.name[:], name)
	request.data = unsafe.Pointer(&b[0])
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, e.Fd(), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(b)
	return errno == 0
}

// permanent is the MAC that the hardware came with (struct ethtool_perm_addr).
func (e ethtool) permanent(name string) string {
	const room = 32
	b := make([]byte, 8+room)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GPERMADDR)
	binary.NativeEndian.PutUint32(b[4:], room)
	if !e.ask(name, b) {
		return ""
	}
	return net.HardwareAddr(b[8:][:min(room, binary.NativeEndian.Uint32(b[4:]))]).String()
}

// Parts of struct ethtool_link_settings.
const (
	linkSettings = 48 // bytes before the masks
	linkWords    = 15 // where the length of a mask is, in words of 32 bits
)

// supported are the link modes that a port has, as a mask. The first question
// is for the length of masks: the kernel answers with it negated.
func (e ethtool) supported(name string) []uint32 {
	b := make([]byte, linkSettings)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GLINKSETTINGS)
	if !e.ask(name, b) {
		return nil
	}
	words := -int(int8(b[linkWords]))
	if words <= 0 {
		return nil
	}
	b = make([]byte, linkSettings+3*4*words) // supported, advertised, the partner's
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GLINKSETTINGS)
	b[linkWords] = byte(words)
	if !e.ask(name, b) {
		return nil
	}
	mask := make([]uint32, words)
	for i := range mask {
		mask[i] = binary.NativeEndian.Uint32(b[linkSettings+4*i:])
	}
	return mask
}

// modes are the speeds of enum ethtool_link_mode_bit_indices, in Mb/s, each for
// bits up to and including last. 0: not a speed.
var modes = []struct {
	last  int
	speed int64
}{
	{1, 10}, {3, 100}, {5, 1000}, {11, 0}, {12, 10000}, {14, 0}, {15, 2500}, {16, 0}, {17, 1000}, {20, 10000},
	{22, 20000}, {26, 40000}, {30, 56000}, {33, 25000}, {35, 50000}, {39, 100000}, {40, 50000}, {41, 1000},
	{46, 10000}, {47, 2500}, {48, 5000}, {51, 0}, {56, 50000}, {61, 100000}, {66, 200000}, {67, 100}, {68, 1000},
	{73, 400000}, {74, 0}, {79, 100000}, {84, 200000}, {89, 400000}, {91, 100}, {92, 10},
	{98, 800000}, {102, 10}, {108, 200000}, {114, 400000}, {120, 800000}, {124, 1600000},
}

// fastest is the highest speed in a mask of link modes, in Mb/s; 0: none known.
func fastest(mask []uint32) int64 {
	var best int64
	bit := 0
	for _, m := range modes {
		for ; bit <= m.last; bit++ {
			if bit/32 < len(mask) && mask[bit/32]>>(bit%32)&1 != 0 {
				best = max(best, m.speed)
			}
		}
	}
	return best
}
