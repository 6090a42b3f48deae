package deb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// store is the content-addressed cache: DIR/sha256/ab/abcd... for whole,
// verified files and DIR/partial/abcd... for those under way. Several vic
// processes may share one.
type store struct{ dir string }

func (s store) path(sha256 string) string {
	return filepath.Join(s.dir, "sha256", sha256[:2], sha256)
}

// has says whether the file is there and whole. The hash is computed each time
// (1 GB/s): a disk that lost bytes must not go unnoticed. A bad file is removed.
func (s store) has(want fileHash) bool {
	f, err := os.Open(s.path(want.sha256))
	if err != nil {
		return false
	}
	defer f.Close()
	if err := checkFile(f, want); err != nil {
		os.Remove(f.Name())
		return false
	}
	return true
}

// read returns the content of a file in the store.
func (s store) read(want fileHash) ([]byte, error) {
	b, err := os.ReadFile(s.path(want.sha256))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != want.size || hexSum(b) != want.sha256 {
		return nil, ErrHash
	}
	return b, nil
}

func (s store) write(want fileHash, b []byte) error {
	path := s.path(want.sha256)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeAtomic(path, b)
}

// checkFile reads f from its start.
func checkFile(f *os.File, want fileHash) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() != want.size {
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrHash, st.Size(), want.size)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, want.size)); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.sha256 {
		return fmt.Errorf("%w: SHA-256 is %s, not %s", ErrHash, got, want.sha256)
	}
	return nil
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// writeAtomic gives the file its name when it is whole.
func writeAtomic(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// partial opens the file under way, waiting until no other process has it.
// The lock goes when the file is closed.
func (s store) partial(ctx context.Context, sha256 string) (*os.File, error) {
	path := filepath.Join(s.dir, "partial", sha256)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && sameFile(f, path) {
			return f, nil
		}
		f.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// sameFile says whether path is still the file that was opened: whoever held
// the lock before may have renamed it.
func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// promote checks the finished file and gives it its final name.
func (s store) promote(f *os.File, want fileHash) error {
	if err := checkFile(f, want); err != nil {
		return err
	}
	final := s.path(want.sha256)
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	return os.Rename(f.Name(), final)
}

// checkSpace refuses a download that cannot fit, before it starts.
func (s store) checkSpace(need int64) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", s.dir, err)
	}
	if free := int64(st.Bavail) * st.Bsize; need > free {
		return fmt.Errorf("download into %s: %w: %d bytes wanted, %d free", s.dir, syscall.ENOSPC, need, free)
	}
	return nil
}
