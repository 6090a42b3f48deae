package envscan

import (
	"encoding/binary"
	"unsafe"
)

// guestEntry is 16 bytes below 1 MiB: where a processor of the first PCs started,
// in real mode. Later ones start 16 bytes below 4 GiB, in a segment that real mode
// cannot have, where Intel's older processors cannot run a guest and KVM emulates.
const (
	guestEntry  = codeSegment<<4 + 0xfff0
	codeSegment = 0xf000
	selectorAt  = 12 // in struct kvm_segment, after base and limit
	specialRegs = 312
	kvmGetSRegs = 0x8138ae83
	kvmSetSRegs = 0x4138ae84
)

// guestExit is KVM_EXIT_HLT.
const guestExit = 5

// guestCode waits for the floating point unit, resets it, and halts. Where KVM
// has no processor to run on it emulates instructions, so that a guest that just
// halts would show nothing; that unit's are among those that it does not know.
var guestCode = []byte{
	0x9b, 0xdb, 0xe3, // finit
	0xf4, // hlt
}

const (
	kvmSetTSSAddr = 0xae47
	// tssAddr is that of three pages which Intel's processors may need to run
	// real mode, where no memory is.
	tssAddr = 0xfffbd000
)

var vmTypes = []uintptr{0}

func prepareVM(vm int) error {
	_, err := ioctl(vm, kvmSetTSSAddr, tssAddr)
	return err
}

// prepareCPU moves the code segment, which is the first of struct kvm_sregs.
func prepareCPU(_, cpu int) error {
	var regs [specialRegs]byte
	if err := ioctlAt(cpu, kvmGetSRegs, unsafe.Pointer(&regs)); err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(regs[:], codeSegment<<4)
	binary.LittleEndian.PutUint16(regs[selectorAt:], codeSegment)
	return ioctlAt(cpu, kvmSetSRegs, unsafe.Pointer(&regs))
}
