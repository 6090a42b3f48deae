package enter

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/enter/order"
	"github.com/victorinix/vic/kexec"
)

// arrived refuses a file that is not there as a whole: whoever uploads goes on at
// its end.
func (u *upload) arrived(f order.File) error {
	st, err := u.root.Stat(f.Name)
	switch {
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", f.Name)
	case st.Size() < f.Size:
		return fmt.Errorf("%s has %d bytes of %d", f.Name, st.Size(), f.Size)
	case st.Size() > f.Size:
		return errors.Join(fmt.Errorf("%s has %d bytes, %d were sent: it was removed", f.Name, st.Size(), f.Size), u.root.Remove(f.Name))
	}
	return nil
}

// chunk is freed at once: the size of a huge page.
const chunk = 2 << 20

// take moves files into memory that only this program and the kernel see, one
// behind the other, and verifies what came there.
func (u *upload) take(name string, parts ...order.File) (*os.File, error) {
	out, err := kexec.Memory(name)
	if err != nil {
		return nil, err
	}
	for _, f := range parts {
		if err := u.move(out, f); err != nil {
			return nil, errors.Join(err, out.Close())
		}
	}
	return out, nil
}

// move is take for one file. One that is wrong is gone too: it has to be sent again.
func (u *upload) move(out io.Writer, f order.File) error {
	in, err := u.root.OpenFile(f.Name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	for at := int64(0); at < f.Size; {
		n, err := io.CopyN(io.MultiWriter(out, sum), in, min(chunk, f.Size-at))
		if err != nil {
			return fmt.Errorf("read %s: %w", f.Name, err)
		}
		// Where it cannot be freed in parts, it is when it is removed.
		err = unix.Fallocate(int(in.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, n)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("free %s: %w", f.Name, err)
		}
		at += n
	}
	if err := u.root.Remove(f.Name); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%s is not what was sent: its SHA-256 is %s, expected %s: it was removed", f.Name, got, f.SHA256)
	}
	return nil
}

// room is what the running system keeps to end in order, and what this program
// and kexec's own pages take, in bytes.
const room = 32 << 20

// Need is the available memory that entering takes, in bytes, once kernel and
// initrd, of size bytes together, are uploaded: while kexec_file_load runs, the
// kernel has what it read and the pages from which the other one starts.
func Need(size int64) int64 { return 2*size + room }

func (s System) checkMemory(size int64) error {
	text, err := os.ReadFile(s.Root + "/proc/meminfo")
	if err != nil {
		return fmt.Errorf("look for memory: %w", err)
	}
	have, err := available(string(text))
	if err != nil {
		return fmt.Errorf("look for memory: %w", err)
	}
	if need := Need(size); have < need {
		return fmt.Errorf("%d MiB of memory are available, and loading kernel and initrd takes %d MiB", have>>20, (need+1<<20-1)>>20)
	}
	return nil
}

// available reads MemAvailable of proc_meminfo(5), in bytes.
func available(meminfo string) (int64, error) {
	for line := range strings.Lines(meminfo) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemAvailable:" && f[2] == "kB" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo has no MemAvailable")
}
