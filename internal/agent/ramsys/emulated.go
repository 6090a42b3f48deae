package ramsys

import (
	"bytes"
	"fmt"
	"os"
)

// steadyAddresses ends the random placement of programs in memory, on a
// processor that QEMU emulates without KVM.
//
// The emulator translates a page of code once for each address that it runs
// at. When every process has the C library elsewhere, each start of a program
// translates the dynamic loader and the libraries anew, which takes three times
// as long as all the rest of the start; a target's kernel hooks start a
// thousand programs. What randomness protects from, an attacker inside, an
// emulated installer does not have.
func steadyAddresses(cpuinfo []byte) error {
	if !emulated(cpuinfo) {
		return nil
	}
	if err := os.WriteFile("/proc/sys/kernel/randomize_va_space", []byte("0"), 0o644); err != nil {
		return fmt.Errorf("place programs at steady addresses: %w", err)
	}
	return nil
}

// emulated recognizes QEMU's own processor models under TCG by /proc/cpuinfo.
// Under KVM, and when a real model is emulated, the name is that model's.
func emulated(cpuinfo []byte) bool {
	return bytes.Contains(cpuinfo, []byte("QEMU TCG CPU version"))
}
