// Package vm runs virtual machines in QEMU: for the tests beside it, and for
// "vic install --vm", which tries an install before it is done for real.
//
//	Config --Run--> Machine --+-- Events, WaitEvent   virtio-serial port org.vic.events
//	                          +-- Console, SendConsole serial port; kept in DIR/console.log
//	                          +-- QMP, Reset, PullDisk monitor
//	                          +-- Addr, SSH            user-mode network, forwarded ports
//	                          `-- Wait                 how it ended
//
// The guest reaches its machine through socket pairs that QEMU inherits, not
// through named sockets: nothing is missed before somebody connects, and no
// path can be too long for a socket address. A machine never outlives the
// process that started it.
//
// The package builds no guests and knows nothing about what they do, apart
// from two things that every Linux guest of vic shares: the event stream, and
// the words of a kernel panic on the console.
package vm
