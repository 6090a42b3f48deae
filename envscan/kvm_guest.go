//go:build amd64 || arm64

package envscan

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What KVM is asked, by ioctl: Documentation/virt/kvm/api.rst.
const (
	kvmGetAPIVersion   = 0xae00
	kvmCreateVM        = 0xae01
	kvmGetVCPUMmapSize = 0xae04
	kvmCreateVCPU      = 0xae41
	kvmSetMemory       = 0x4020ae46
	kvmRun             = 0xae80

	kvmAPI = 12
	// exitReason is where struct kvm_run says why the guest stopped.
	exitReason = 8
)

// memoryRegion is struct kvm_userspace_memory_region.
type memoryRegion struct {
	slot, flags           uint32
	guestAddr, size, from uint64
}

func ioctl(fd int, request uint, arg uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), arg)
	if errno != 0 {
		return -1, fmt.Errorf("KVM ioctl %#x: %w", request, errno)
	}
	return int(r), nil
}

// ioctlAt has an argument in memory, which stays where it is for the length of
// the call.
func ioctlAt(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return fmt.Errorf("KVM ioctl %#x: %w", request, errno)
	}
	return nil
}

// createVM tries the types of machine that an architecture has.
func createVM(kvm int) (vm int, err error) {
	for _, kind := range vmTypes {
		if vm, err = ioctl(kvm, kvmCreateVM, kind); err == nil {
			return vm, nil
		}
	}
	return -1, err
}

// runCPU runs a processor until it stops, and says why it did. Signals that Go's
// scheduler sends interrupt it.
func runCPU(cpu int, run []byte) (reason uint32, err error) {
	for {
		if _, err = ioctl(cpu, kvmRun, 0); !errors.Is(err, unix.EINTR) {
			return *(*uint32)(unsafe.Pointer(&run[exitReason])), err
		}
	}
}

// runGuest makes a virtual machine with a page of memory and a processor, and
// runs guestCode to its end. It leaves all to the end of the process.
func runGuest(device string) error {
	runtime.LockOSThread() // a processor belongs to a thread
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	kvm := int(f.Fd())
	if version, err := ioctl(kvm, kvmGetAPIVersion, 0); err != nil || version != kvmAPI {
		return errors.Join(fmt.Errorf("KVM has API %d, not %d", version, kvmAPI), err)
	}
	vm, err := createVM(kvm)
	if err != nil {
		return err
	}
	if err := prepareVM(vm); err != nil {
		return err
	}
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("map the guest's memory: %w", err)
	}
	copy(memory[guestEntry%uint64(page):], guestCode)
	region := memoryRegion{guestAddr: guestEntry &^ uint64(page-1), size: uint64(page), from: uint64(uintptr(unsafe.Pointer(&memory[0])))}
	if err := ioctlAt(vm, kvmSetMemory, unsafe.Pointer(&region)); err != nil {
		return err
	}
	cpu, err := ioctl(vm, kvmCreateVCPU, 0)
	if err != nil {
		return err
	}
	size, err := ioctl(kvm, kvmGetVCPUMmapSize, 0)
	if err != nil {
		return err
	}
	run, err := unix.Mmap(cpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the guest's processor: %w", err)
	}
	if err := prepareCPU(vm, cpu); err != nil {
		return err
	}
	reason, err := runCPU(cpu, run)
	if err == nil && reason != guestExit {
		return fmt.Errorf("the guest stopped with reason %d, not %d", reason, guestExit)
	}
	return err
}
