package storage

import (
	"os"
	"testing"
)

// MemDir is a temporary directory in memory, where syncing a file is quick.
func MemDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "vic-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
