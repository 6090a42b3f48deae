package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/victorinix/vic/initramfs/programs"
)

// CacheInstaller builds the RAM system into the cache unless the same packages
// and programs were built before.
func CacheInstaller(ctx context.Context, env Env, spec InstallerSpec) (*Bundle, error) {
	b, err := newInstallerBuild(ctx, env, spec)
	if err != nil {
		return nil, err
	}
	key, err := b.key()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(env.Cache, "bundles", key)
	if bundle, err := OpenBundle(dir); err == nil {
		return bundle, nil
	}
	if err := os.RemoveAll(dir); err != nil { // absent, altered or cut off
		return nil, fmt.Errorf("empty the cache: %w", err)
	}
	tmp, err := os.MkdirTemp(env.Cache, "bundle-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	bundle, err := b.build(ctx, filepath.Join(tmp, "bundle"))
	if err != nil {
		return nil, err
	}
	bundle.dir = dir
	return bundle, moveDir(filepath.Join(tmp, "bundle"), dir)
}

// key identifies the bundle's bytes.
func (b *installerBuild) key() (string, error) {
	init, err := programs.Init(b.spec.Arch)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(init)
	enc := json.NewEncoder(h)
	// Of the hardware, what was chosen for it counts: machines that are alike
	// share a bundle, whatever their firmware calls them.
	spec := b.spec
	spec.Hardware, spec.Extra = nil, nil
	for _, f := range b.spec.Extra {
		fmt.Fprintf(h, "%q %o %q %d\n", f.Path, f.Mode, f.Link, f.Size)
		if f.Data == nil {
			continue
		}
		if _, err := io.Copy(h, io.NewSectionReader(f.Data, 0, f.Size)); err != nil {
			return "", fmt.Errorf("read %s: %w", f.Path, err)
		}
	}
	enc.Encode([]any{bundleRecipe, spec, b.chosen.all, b.chosen.early, b.chosen.drivers, b.env.Time.Unix()})
	for _, p := range b.packages {
		enc.Encode([]string{p.Name, p.Version, p.SHA256})
	}
	return hex.EncodeToString(h.Sum(nil))[:32], nil
}
