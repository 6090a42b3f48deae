package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
)

// Start is what the initramfs of a RAM system begins with: an archive, in one zstd
// frame, in which there is a program that is vic-env when it is called so. Who is
// to be sent such a RAM system gets that much of it in place of vic-env, and it
// travels once.
type Start struct {
	Data  []byte
	Frame int64 // bytes of Data that are the frame
	// Offset and Size say where the program is in the archive, in bytes.
	Offset, Size int64
}

// calledVicEnv is the word that makes the program vic-env.
const calledVicEnv = "vic-env"

// InstallStart is Install for a host that has zstd (Machine.Zstd).
func (s *Session) InstallStart(ctx context.Context, start Start) error {
	f, err := newFile("start", bytes.NewReader(start.Data), int64(len(start.Data)))
	if err != nil {
		return err
	}
	// The status of a pipe is that of its end, which does not see all of the frame.
	const whole = `{ head -c %[1]d "$f" | zstd -tq && head -c %[1]d "$f" | zstd -dcq | tail -c +%[2]d | head -c %[3]d; }`
	unpack := fmt.Sprintf(whole, start.Frame, start.Offset+1, start.Size)
	p := unpacked{file: f, unpack: unpack, size: start.Size, then: ":"}
	if err := s.installed(ctx, p, anywhere, shared); err != nil {
		return fmt.Errorf("copy vic-init to %s: %w", s.host, err)
	}
	s.as, s.start = calledVicEnv, f
	return nil
}

// initrdParts are the files of which an initrd is made: what it begins with may be
// on the host.
func (s *Session) initrdParts(initrd *os.File) ([]file, error) {
	st, err := initrd.Stat()
	if err != nil {
		return nil, err
	}
	same := s.start.size > 0 && s.start.size < st.Size()
	if same {
		begin, err := newFile("start", initrd, s.start.size)
		if err != nil {
			return nil, err
		}
		same = begin.sha256 == s.start.sha256
	}
	if !same {
		f, err := newFile("initrd", initrd, st.Size())
		return []file{f}, err
	}
	n := st.Size() - s.start.size
	rest, err := newFile("initrd", io.NewSectionReader(initrd, s.start.size, n), n)
	return []file{s.start, rest}, err
}
