// Package writeback keeps a large file that is written in order from filling the
// memory as page cache: the machine may have less memory than the file has bytes.
package writeback

import (
	"os"

	"golang.org/x/sys/unix"
)

// window is what is written back at a time.
const window = 8 << 20

// Advance is told that the bytes of f from offset from to offset to have been written.
// It begins to write a window that is full to the disk, and drops the one before from
// memory. It is advice: errors of the disk come from Sync.
func Advance(f *os.File, from, to int64) {
	if from/window == to/window {
		return
	}
	fd, start := int(f.Fd()), from/window*window
	_ = unix.SyncFileRange(fd, start, window, unix.SYNC_FILE_RANGE_WRITE)
	if before := start - window; before >= 0 {
		_ = unix.SyncFileRange(fd, before, window, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		_ = unix.Fadvise(fd, before, window, unix.FADV_DONTNEED)
	}
}
