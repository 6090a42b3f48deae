package install

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
)

// Host is the machine that this process runs on.
type Host struct {
	// Programs finds programs; tool.Exec does.
	Programs interface {
		LookPath(name string) (string, error)
	}
}

// FindPartition implements Machine.
func (Host) FindPartition(label string) (string, error) {
	var found []string
	names, err := filepath.Glob("/sys/class/block/*/uevent")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if slices.Contains(strings.Split(string(b), "\n"), "PARTNAME="+label) {
			found = append(found, "/dev/"+filepath.Base(filepath.Dir(name)))
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("one partition has to have this label, these have it: %q", found)
	}
	return found[0], nil
}

// MountImage implements Machine.
func (Host) MountImage(image, format, dir string) error { return disk.MountImage(image, format, dir) }

// Open implements Machine.
func (Host) Open(path string) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return hostSource{f}, nil
}

type hostSource struct{ *os.File }

// Size implements Source.
func (s hostSource) Size() (int64, bool, error) {
	st, err := s.Stat()
	if err != nil {
		return 0, false, err
	}
	if st.Mode().IsRegular() {
		return st.Size(), false, nil
	}
	n, err := s.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = s.Seek(0, io.SeekStart)
	}
	return n, true, err
}

// Forget implements Source. It is advice: the kernel may not take it.
func (s hostSource) Forget(end int64) {
	_ = unix.Fadvise(int(s.Fd()), 0, end, unix.FADV_DONTNEED)
}

// LookPath implements Machine.
func (h Host) LookPath(name string) (string, error) { return h.Programs.LookPath(name) }

var _ Machine = Host{}
