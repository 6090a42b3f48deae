// Command hello is the least that can be an init: it prints how long ago the
// kernel started, and switches the machine off.
package main

import (
	"syscall"
	"unsafe"
)

const clockBoottime = 7 // linux/time.h

func main() {
	var ts syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		println("clock_gettime:", errno.Error())
	}
	println("hello after", ts.Nano(), "ns")
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		println("power off:", err.Error())
	}
	select {}
}
