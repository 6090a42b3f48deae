package envscan

// guestEntry is where an x86 processor starts: 16 bytes below 4 GiB, in real
// mode. Nothing has to be set for it.
const guestEntry = 0xfffffff0

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

func prepareCPU(int, int) error { return nil }
