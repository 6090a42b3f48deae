package disk

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The flags of swapon(2).
const (
	swapPrefer       = 0x8000
	swapPriorityMask = 0x7fff
	swapDiscard      = 0x10000
	swapDiscardOnce  = 0x20000
	swapDiscardPages = 0x40000
)

// swapFlags are the flags for a priority and fstab's options.
func swapFlags(priority *int, options []string) uintptr {
	var flags uintptr
	if priority != nil && *priority >= 0 {
		flags |= swapPrefer | uintptr(*priority)&swapPriorityMask
	}
	for _, o := range options {
		switch o {
		case "discard":
			flags |= swapDiscard
		case "discard=once":
			flags |= swapDiscard | swapDiscardOnce
		case "discard=pages":
			flags |= swapDiscard | swapDiscardPages
		}
	}
	return flags
}

// SwapOn has the kernel swap to an area or a file. Options are those of fstab;
// a nil priority leaves it to the kernel.
func SwapOn(area string, priority *int, options []string) error {
	return swapCall(unix.SYS_SWAPON, "swap to", area, swapFlags(priority, options))
}

// SwapOff is its opposite. What is in the area goes into memory, which has to
// have room for it.
func SwapOff(area string) error {
	return swapCall(unix.SYS_SWAPOFF, "stop swapping to", area, 0)
}

func swapCall(call uintptr, verb, area string, flags uintptr) error {
	name, err := unix.BytePtrFromString(area)
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, area, err)
	}
	_, _, errno := unix.Syscall(call, uintptr(unsafe.Pointer(name)), flags, 0)
	switch {
	case errno == unix.ENOMEM && call == unix.SYS_SWAPOFF:
		return fmt.Errorf("%s %s: memory has no room for what is in it: %w", verb, area, errno)
	case errno != 0:
		return fmt.Errorf("%s %s: %w", verb, area, errno)
	}
	return nil
}
