// Package logwrites records the writes to a disk, and rebuilds the disk as it
// could stand after its power was cut at any of them.
//
//	QEMU's blklogwrites, Linux's dm-log-writes ──file──> Open ─┐
//	                                                          ├─> Log ──Cuts──> Replay ──> Overlay
//	a Recorder around a disk.Device (attached: /dev/loopN) ────┘
//
// Attach makes any of these devices, a disk after a cut among them, a block device of
// this machine, so that programs can be run on it without a virtual machine.
//
// A disk with a volatile cache keeps what was flushed and what was written with
// forced unit access (FUA); of the writes since the last flush it may keep any,
// or parts of them down to a sector, in any order. A Cut is one such outcome.
//
// What QEMU's logs say is less than the truth in two places. A write is logged
// when it has completed: one that was submitted while a flush was under way, and
// completed before it, counts as flushed although no disk has to see it so. And a
// write with FUA is logged as a write and a flush, of which QEMU leaves out the
// flush when nothing was written since the one before: record disks whose guests
// flush by themselves (virtio, SCSI), with a write cache. A Recorder errs in neither.
package logwrites
