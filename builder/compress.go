package builder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/victorinix/vic/internal/tool"
)

// zstdLevel is for what travels: vic-init becomes 4.9 MB, at level 15 and in Go
// 5.4 MB. The kernel unpacks it as quickly as any other level; xz would save
// another 0.6 MB, and take five times as long to unpack. The window at this
// level is 8 MiB, which the kernel can spare.
//
// quickLevel is for what does not: twenty times as fast, and a seventh larger.
const (
	zstdLevel  = "-19"
	quickLevel = "-6"
)

// compressor is the zstd of the archive, so that the bytes do not depend on the
// host's version.
type compressor struct {
	ctx   context.Context
	env   Env
	tools tool.Runner
	args  []string
	id    string // of the packages and the level
}

func newCompressor(ctx context.Context, env Env, level string) (*compressor, error) {
	tools, err := hostTools(ctx, env, "zstd")
	if err != nil {
		return nil, err
	}
	c := &compressor{ctx: ctx, env: env, tools: tools, args: []string{level, "-q", "-c"}}
	c.id = strings.Join(c.args, " ")
	for _, p := range tools.Packages() {
		c.id += " " + p.SHA256
	}
	return c, nil
}

func (c *compressor) pack(archive []byte) ([]byte, error) {
	out, err := c.tools.Run(c.ctx, tool.Cmd{Name: "zstd", Args: c.args, Stdin: bytes.NewReader(archive)})
	return out.Stdout, err
}

// packOnce takes what was packed before from the cache: that of vic-init takes
// ten seconds, and is the same in all bundles of one vic.
//
//	CACHE/initramfs/HASH.zst    HASH: of the archive and of what packs it
func (c *compressor) packOnce(archive []byte) ([]byte, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", c.id)
	h.Write(archive)
	out := output{filepath.Join(c.env.Cache, "initramfs")}
	name := hex.EncodeToString(h.Sum(nil))[:32] + ".zst"
	if b, err := os.ReadFile(out.path(name)); err == nil {
		return b, nil
	}
	packed, err := c.pack(archive)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out.dir, 0o755); err != nil {
		return nil, err
	}
	return packed, out.write(name, func(f *os.File) error {
		_, err := f.Write(packed)
		return err
	})
}
