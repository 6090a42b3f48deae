// Package kexec starts another Linux kernel from the one that runs.
//
//	Load ──> the kernel keeps a copy ──> Leave (an orderly end) ──> the other kernel
//	                                └──> Unload: nothing happened
//
// It does not decide whether a machine may be left, and does not know what is
// started: envscan's facts say what stands in the way (os.kexec).
package kexec

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/u-root/u-root/pkg/boot/linux"
	"golang.org/x/sys/unix"
)

// Kernel is what to start. Both files are read from their beginning.
type Kernel struct {
	Image  *os.File // bzImage, or Image of arm64
	Initrd *os.File // a regular file, such as one of Memory
	// Cmdline is the whole kernel command line; nothing is added to it.
	Cmdline string
}

// Method is the system call that loaded a kernel.
type Method string

// The methods, in the order in which they are tried.
const (
	// FileLoad has the running kernel read and verify the image.
	FileLoad Method = "kexec_file_load"
	// SegmentLoad has this program prepare the memory of the new kernel: for
	// kernels that are built without the other.
	SegmentLoad Method = "kexec_load"
)

// maxCmdline is COMMAND_LINE_SIZE of x86 and arm64, with the zero at its end.
const maxCmdline = 2048

// Load gives a kernel to the running one, in place of one that was loaded
// before. It needs CAP_SYS_BOOT, and memory for a copy of both files.
func Load(k Kernel) (Method, error) {
	if len(k.Cmdline) >= maxCmdline {
		return "", fmt.Errorf("load kernel: its command line has %d bytes, at most %d are taken", len(k.Cmdline), maxCmdline-1)
	}
	if strings.ContainsRune(k.Cmdline, 0) {
		return "", errors.New("load kernel: its command line has a zero byte")
	}
	err := unix.KexecFileLoad(int(k.Image.Fd()), int(k.Initrd.Fd()), k.Cmdline, 0)
	if err == nil {
		return FileLoad, nil
	}
	if !errors.Is(err, unix.ENOSYS) {
		return "", fmt.Errorf("load kernel: %s: %w", FileLoad, explain(err))
	}
	return SegmentLoad, loadSegments(k)
}

// loadSegments is for kernels without kexec_file_load.
func loadSegments(k Kernel) error {
	if err := linux.KexecLoad(k.Image, k.Initrd, k.Cmdline, nil, nil); err != nil {
		return fmt.Errorf("load kernel: %s: %w", SegmentLoad, explain(err))
	}
	return nil
}

// explain adds what the numbers of these system calls mean (kexec_load(2)).
func explain(err error) error {
	why := map[unix.Errno]string{
		unix.EPERM:        "not root, or kexec is disabled (sysctl kernel.kexec_load_disabled), or the kernel is locked down",
		unix.EBUSY:        "another program is loading a kernel",
		unix.ENOEXEC:      "the running kernel does not know the format of the image",
		unix.ENOMEM:       "too little memory for a copy of the kernel and its initramfs",
		unix.ENOSYS:       "the running kernel is built without kexec",
		unix.EKEYREJECTED: "the image is not signed by a key that the running kernel trusts",
		unix.ENODATA:      "the image is not signed, and the running kernel demands it",
	}
	var errno unix.Errno
	if errors.As(err, &errno) && why[errno] != "" {
		return fmt.Errorf("%w: %s", err, why[errno])
	}
	return err
}

// Unload forgets the kernel that was loaded. Without one it does nothing.
func Unload() error {
	const kexecFileUnload = 1 // KEXEC_FILE_UNLOAD, include/uapi/linux/kexec.h
	if err := unix.KexecFileLoad(-1, -1, "", kexecFileUnload); err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("unload kernel: %w", explain(err))
	}
	return nil
}

// Loaded tells whether a kernel is loaded.
func Loaded() (bool, error) {
	b, err := os.ReadFile("/sys/kernel/kexec_loaded")
	if err != nil {
		return false, fmt.Errorf("look for a loaded kernel: %w", err)
	}
	return strings.TrimSpace(string(b)) == "1", nil
}

// Memory is a file without a name in RAM, for an initramfs that is put
// together from parts. It takes memory until it is closed.
func Memory(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
