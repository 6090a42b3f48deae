package smart

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// commandTime is what a disk has for one command. The kernel ends it then.
const commandTime = 5 * time.Second

// device is what runs commands; a fake one in tests.
type device interface {
	// scsi runs a command that reads into in, and returns sense data when there is
	// any.
	scsi(cdb, in []byte) (sense []byte, err error)
	// admin runs an NVMe admin command.
	admin(opcode uint8, namespace, cdw10 uint32, in []byte) error
}

// Disk is an open disk. It blocks until the disk has answered, or at most a few
// times five seconds.
type Disk struct {
	dev      device
	protocol Protocol
	close    func() error
}

// Open opens a block device for reading, without waiting for a medium. It does
// not wake a disk that is in standby, but one that the kernel has suspended
// (power/runtime_status): whoever minds asks the kernel first.
func Open(path string, p Protocol) (*Disk, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &Disk{dev: node{f}, protocol: p, close: f.Close}, nil
}

// Close closes it.
func (d *Disk) Close() error { return d.close() }

// Asleep reports whether the disk stands still, so that most commands would wake
// it. ErrUnsupported: it does not say.
func (d *Disk) Asleep() (bool, error) {
	switch d.protocol {
	case ATA:
		return ataAsleep(d.dev)
	case SCSI:
		return scsiAsleep(d.dev)
	}
	return false, nil // NVMe saves power by itself, and is there at once
}

// Report asks the disk for its health. ErrUnsupported: it does not tell.
func (d *Disk) Report() (Report, error) {
	switch d.protocol {
	case ATA:
		return ataReport(d.dev)
	case NVMe:
		return nvmeReport(d.dev)
	case SCSI:
		return scsiReport(d.dev)
	}
	return Report{}, ErrUnsupported
}

// node is a device node.
type node struct{ *os.File }

// sgHeader is struct sg_io_hdr of <scsi/sg.h>.
type sgHeader struct {
	interfaceID int32
	direction   int32
	cdbLen      uint8
	senseMax    uint8
	iovecs      uint16
	dataLen     uint32
	data        unsafe.Pointer
	cdb         unsafe.Pointer
	sense       unsafe.Pointer
	timeout     uint32 // ms
	flags       uint32
	id          int32
	user        unsafe.Pointer
	status      uint8
	masked      uint8
	message     uint8
	senseLen    uint8
	host        uint16
	driver      uint16
	residue     int32
	duration    uint32
	info        uint32
}

const (
	sgIO        = 0x2285
	sgNone      = -1
	sgFrom      = -3
	checkStatus = 0x02 // CHECK CONDITION: there is sense data
	driverSense = 0x08 // the same, by old kernels
)

func (n node) scsi(cdb, in []byte) ([]byte, error) {
	sense := make([]byte, 64)
	h := &sgHeader{
		interfaceID: 'S', direction: sgNone, cdbLen: uint8(len(cdb)), cdb: unsafe.Pointer(&cdb[0]),
		senseMax: uint8(len(sense)), sense: unsafe.Pointer(&sense[0]), timeout: uint32(commandTime.Milliseconds()),
	}
	if len(in) > 0 {
		h.direction, h.dataLen, h.data = sgFrom, uint32(len(in)), unsafe.Pointer(&in[0])
	}
	if _, err := n.ioctl(sgIO, unsafe.Pointer(h)); err != nil {
		return nil, err
	}
	switch {
	case h.host != 0 || h.driver&^driverSense != 0:
		return nil, fmt.Errorf("the disk does not answer (host status %#x, driver status %#x)", h.host, h.driver)
	case h.status == checkStatus:
		return sense[:min(int(h.senseLen), len(sense))], nil
	case h.status != 0:
		return nil, fmt.Errorf("the disk answers with status %#x", h.status)
	}
	return nil, nil
}

// nvmeCommand is struct nvme_passthru_cmd of <linux/nvme_ioctl.h>.
type nvmeCommand struct {
	opcode, flags                            uint8
	_                                        uint16
	namespace, cdw2, cdw3                    uint32
	metadata, addr                           uint64
	metadataLen, dataLen                     uint32
	cdw10, cdw11, cdw12, cdw13, cdw14, cdw15 uint32
	timeout                                  uint32 // ms
	result                                   uint32
}

const nvmeAdmin = 0xc0484e41 // _IOWR('N', 0x41, struct nvme_admin_cmd)

func (n node) admin(opcode uint8, namespace, cdw10 uint32, in []byte) error {
	var pin runtime.Pinner // the kernel gets its address as a number
	defer pin.Unpin()
	pin.Pin(&in[0])
	c := &nvmeCommand{
		opcode: opcode, namespace: namespace, cdw10: cdw10, timeout: uint32(commandTime.Milliseconds()),
		addr: uint64(uintptr(unsafe.Pointer(&in[0]))), dataLen: uint32(len(in)),
	}
	status, err := n.ioctl(nvmeAdmin, unsafe.Pointer(c))
	if err != nil {
		return err
	}
	// Status code type 0: 1 is an unknown command, 2 a field, 9 a log page
	// that it does not have (type 1).
	switch code := status & 0x7ff; code {
	case 0:
		return nil
	case 0x001, 0x002, 0x109:
		return ErrUnsupported
	default:
		return fmt.Errorf("the disk answers with NVMe status %#x", code)
	}
}

// ioctl is one on the descriptor, which stays open during it. That the device
// knows no such thing is ErrUnsupported.
func (n node) ioctl(request uintptr, arg unsafe.Pointer) (result uintptr, err error) {
	conn, err := n.SyscallConn()
	if err != nil {
		return 0, err
	}
	var errno syscall.Errno
	err = conn.Control(func(fd uintptr) { result, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg)) })
	switch {
	case err != nil:
		return 0, err
	case errno == unix.ENOTTY || errno == unix.EINVAL || errno == unix.EOPNOTSUPP || errno == unix.ENOSYS:
		return 0, ErrUnsupported
	case errno != 0:
		return 0, &os.PathError{Op: "ask", Path: n.Name(), Err: errno}
	}
	return result, nil
}
