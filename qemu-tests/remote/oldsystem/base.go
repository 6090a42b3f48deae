package oldsystem

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/qemu-tests/lab"
)

//go:embed make.sh
var recipe string

// makeLimit is how long a base image may take, with all its downloads.
const makeLimit = 15 * time.Minute

// withBase calls use with the disk of a system that is nobody's yet, from the
// cache: one for each recipe. Who comes second waits for the first; so do those who
// have another recipe, which takes this one's place.
func (c Config) withBase(ctx context.Context, use func(image string) error) error {
	cache, err := lab.CacheDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "oldsystems")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	kind := strings.Join([]string{c.Release, c.Firmware, c.Loader, c.FS, strconv.Itoa(c.Sector)}, "-")
	lock, err := os.OpenFile(filepath.Join(dir, kind+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("wait for the base image: %w", err)
	}
	sum := sha256.Sum256([]byte(recipe + AdminPassword))
	image := filepath.Join(dir, fmt.Sprintf("%s-%x.img", kind, sum[:8]))
	switch _, err := os.Stat(image); {
	case err == nil:
		return use(image)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	// Those of other recipes are not used any more.
	old, err := filepath.Glob(filepath.Join(dir, kind+"-*"))
	for _, f := range old {
		err = errors.Join(err, os.Remove(f))
	}
	if err == nil {
		err = c.makeBase(ctx, image+".new")
	}
	if err == nil {
		err = os.Rename(image+".new", image)
	}
	if err != nil {
		return err
	}
	return use(image)
}

// makeBase runs the recipe, in a mount namespace of its own.
func (c Config) makeBase(ctx context.Context, image string) error {
	mirror := os.Getenv("VIC_MIRROR")
	security := ""
	if mirror == "" {
		var err error
		if mirror, err = deb.HostMirror("/"); err != nil {
			return err
		}
		if security, err = deb.HostSecurityMirror("/"); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, makeLimit, fmt.Errorf("no base image within %v", makeLimit))
	defer cancel()
	out, err := (tool.Exec{}).Run(ctx, tool.Cmd{
		Name: "unshare", Args: []string{"--mount", "--propagation", "private", "sh", "-c", recipe, "make.sh", c.Release, c.Firmware, c.Loader, c.FS, strconv.Itoa(c.Sector), image, mirror, security},
		Env: []string{"ADMIN_PASSWORD=" + AdminPassword},
	})
	if err != nil {
		return fmt.Errorf("make base image: %w\n%s", err, out.Stdout)
	}
	return nil
}

// copyBase copies a base image, holes as holes, and makes it as large as the disk.
func (c Config) copyBase(t *testing.T, to string) error {
	began := time.Now()
	err := c.withBase(t.Context(), func(base string) error {
		if took := time.Since(began); took > time.Second {
			t.Logf("base image: %.0f s", took.Seconds())
		}
		cp := tool.Cmd{Name: "cp", Args: []string{"--reflink=auto", "--sparse=always", base, to}}
		_, err := tool.Exec{}.Run(t.Context(), cp)
		return err
	})
	if err != nil {
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	return os.Truncate(to, max(info.Size(), c.DiskMiB<<20))
}
