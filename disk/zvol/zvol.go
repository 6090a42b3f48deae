// Package zvol finds the block devices of ZFS volumes, also where no udev runs to
// make the names in /dev/zvol.
package zvol

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/sysfs"
)

// getName is BLKZNAME of OpenZFS (include/sys/fs/zfs.h): _IOR(0x12, 125, char[256]).
const getName = 2<<30 | nameSize<<16 | 0x12<<8 | 125

const nameSize = 256

// Node is the device in /dev of a volume: "pool/name". Without one that is active
// the error is fs.ErrNotExist.
func Node(root sysfs.Root, volume string) (string, error) {
	names, err := root.Names("sys/block")
	if err != nil {
		return "", fmt.Errorf("find the volume %s: %w", volume, err)
	}
	var errs []error
	for _, name := range names {
		if !strings.HasPrefix(name, "zd") {
			continue
		}
		node := sysfs.Node(name)
		found, err := nameOf(node)
		if err == nil && found == volume {
			return node, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENXIO) { // it may go meanwhile
			errs = append(errs, err)
		}
	}
	return "", fmt.Errorf("find the volume %s: %w", volume, errors.Join(append(errs, fs.ErrNotExist)...))
}

// nameOf asks the driver.
func nameOf(node string) (string, error) {
	f, err := os.Open(node)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, nameSize)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), getName, uintptr(unsafe.Pointer(&b[0])))
	runtime.KeepAlive(b)
	if errno != 0 {
		return "", fmt.Errorf("ask %s for its name: %w", node, errno)
	}
	name, _, _ := bytes.Cut(b, []byte{0})
	return string(name), nil
}
