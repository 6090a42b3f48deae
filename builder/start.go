package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/initramfs/programs"
)

// Start is what the initramfs of each bundle of this vic and of one time begins
// with: the busybox with vic-init, in one zstd frame. A machine that is to run such
// a bundle may have it before the rest, and use the program.
type Start struct {
	Data  []byte
	Frame int64 // bytes of Data that are the frame: zeros follow
	// Offset and Size say where the busybox is in what the frame unpacks to, in
	// bytes.
	Offset, Size int64
}

// InitramfsStart makes it for an architecture.
func InitramfsStart(ctx context.Context, env Env, arch string) (Start, error) {
	c, err := startConfig(ctx, env, arch, zstdLevel)
	if err != nil {
		return Start{}, err
	}
	s := Start{Size: int64(len(c.Init))}
	pack := c.Compress
	c.Compress = func(archive []byte) ([]byte, error) {
		at := bytes.Index(archive, c.Init)
		if at < 0 {
			return nil, errors.New("the archive lacks the busybox")
		}
		packed, err := pack(archive)
		s.Offset, s.Frame = int64(at), int64(len(packed))
		return packed, err
	}
	var out bytes.Buffer
	if _, err := initramfs.Write(&out, c); err != nil {
		return Start{}, fmt.Errorf("make the start of an initramfs: %w", err)
	}
	s.Data = out.Bytes()
	return s, nil
}

// startConfig is of the first archive of an initramfs.
func startConfig(ctx context.Context, env Env, arch, level string) (initramfs.Config, error) {
	zstd, err := newCompressor(ctx, env, level)
	if err != nil {
		return initramfs.Config{}, err
	}
	init, err := programs.Init(arch)
	if err != nil {
		return initramfs.Config{}, err
	}
	commands, err := programs.Commands(arch)
	return initramfs.Config{Init: init, Commands: commands, Time: env.Time, Compress: zstd.packOnce}, err
}
