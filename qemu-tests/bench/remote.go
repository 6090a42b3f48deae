package bench

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/initramfs/programs"
)

// remoteNote says what the figures mean.
const remoteNote = "What `vic install --on` sends to a virtual machine (QEMU's, with virtio devices and\n" +
	"the default layout) before that leaves its system."

// sentMost is how much may be sent, in MB.
const sentMost = 20

// remote measures what travels.
func (s Suite) remote(ctx context.Context) ([]Row, error) {
	dir := filepath.Join(s.Dir, "bundle-one")
	facts := filepath.Join(repository, "qemu-tests", "testdata", "machine-virtio.json")
	if _, err := s.Vic.Run(ctx, "build", "installer", "--for", facts, "--out", dir); err != nil {
		return nil, err
	}
	size, err := builder.Size(dir)
	if err != nil {
		return nil, err
	}
	program, err := programs.Env(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(program)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("pack vic-env: %w", err)
	}
	bundle, look := float64(size.Total)/megabyte, float64(packed.Len())/megabyte
	return []Row{
		{"the RAM system for one virtual machine", bundle, sentMost, "MB", "`vic build installer --for`, `vic size`"},
		{"with vic-env, which looks at the machine first", bundle + look, sentMost, "MB", fmt.Sprintf("vic-env: %.1f MB as it is sent", look)},
	}, nil
}
