package envscan

import "unsafe"

// guestEntry is where the only page of memory is. A processor starts at 0, so
// the program counter has to be set.
const guestEntry = 0x10000

// guestExit is KVM_EXIT_MMIO.
const guestExit = 6

// guestCode stores to address 0, where there is no memory, which only whoever
// runs the guest can answer. (A guest that waits for an interrupt would wait in
// the kernel.)
var guestCode = []byte{
	0x1f, 0x00, 0x00, 0xf9, // str xzr, [x0]
}

const (
	kvmPreferredTarget = 0x8020aeaf
	kvmVCPUInit        = 0x4020aeae
	kvmSetOneReg       = 0x4010aeac
	// programCounter is KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE and
	// its place in struct kvm_regs, in words.
	programCounter = 0x6030000000100040
)

// entry is guestEntry where its address can be given to the kernel.
var entry uint64 = guestEntry

// vmTypes are the bits of a guest's addresses: 0 is 40, which some processors do
// not have.
var vmTypes = []uintptr{0, 32}

func prepareVM(int) error { return nil }

func prepareCPU(vm, cpu int) error {
	var target [8]uint32 // struct kvm_vcpu_init
	if err := ioctlAt(vm, kvmPreferredTarget, unsafe.Pointer(&target)); err != nil {
		return err
	}
	if err := ioctlAt(cpu, kvmVCPUInit, unsafe.Pointer(&target)); err != nil {
		return err
	}
	register := struct{ id, addr uint64 }{programCounter, uint64(uintptr(unsafe.Pointer(&entry)))}
	return ioctlAt(cpu, kvmSetOneReg, unsafe.Pointer(&register))
}
