package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/request"
)

// The names of the files of a Tree.
const (
	TreeFile = "tree.json"
	TarFile  = "tree.tar.zst"
)

// Tree is a root file system that boots as it is, on any machine: a payload
// with what a target would have its programs make, and that needs no target.
//
//	/boot/initrd.img-RELEASE   with the drivers of any machine
//	the locale                 generated
//	systemd-repart             to grow on the disk that it gets onto
//
// It is for disk images, and stays in the cache.
type Tree struct {
	Version  int    `json:"version"`
	Suite    string `json:"suite"`
	Arch     string `json:"arch"`
	Kernel   string `json:"kernel"`   // release of the newest kernel in it
	TreeSize int64  `json:"treeSize"` // bytes it takes on a target, see request.Payload
	Locale   string `json:"locale"`   // that was generated
	RootFS   string `json:"rootFS"`   // what the initramfs can check
	Udev     string `json:"udev"`     // version of the package
	Files    []File `json:"files"`
	dir      string
}

// liveTree is what a Tree has beyond a payload.
type liveTree struct {
	locale string
	rootFS string // of the root file system: ext4
	grub   bool
}

// initramfsFiles are left to the target, but for what brings its initramfs.
var initramfsFiles = lazyregexp.New(`^(boot/initrd\.img-.+|initrd\.img|var/lib/initramfs-tools/.+)$`)

// treeRecipe changes whenever the same packages give another tree.
const treeRecipe = 3

// CacheTree builds a tree into the cache, or returns it from there. rootFS is
// what its root file system will be: the initramfs has the fsck for it.
func CacheTree(ctx context.Context, env Env, spec PayloadSpec, rootFS string) (*Tree, error) {
	spec, err := spec.withFeatures()
	if err != nil {
		return nil, err
	}
	// Before 257, of Debian 13, systemd itself has systemd-repart.
	spec.Packages = append(slices.Clone(spec.Packages), "systemd-repart | systemd (<< 257)")
	b := payloadBuild{env: env, spec: spec, live: &liveTree{locale: spec.System.Locale, rootFS: rootFS}}
	if err := env.step("resolve packages", func() error { return b.resolve(ctx) }); err != nil {
		return nil, err
	}
	b.live.grub = slices.ContainsFunc(b.packages, func(p deb.Package) bool { return p.Name == "grub-pc" })
	dir := filepath.Join(env.Cache, "trees", b.live.key(b.key()))
	t, err := OpenTree(dir)
	if err == nil {
		return t, nil
	}
	if err := os.RemoveAll(dir); err != nil { // absent, altered or cut off
		return nil, fmt.Errorf("empty the cache: %w", err)
	}
	if t, err = b.buildTree(ctx, dir); err != nil {
		return nil, fmt.Errorf("build root file system of %s: %w", spec.Item, err)
	}
	return t, nil
}

// OpenTree reads tree.json in dir and verifies every file it lists.
func OpenTree(dir string) (*Tree, error) {
	t := &Tree{dir: dir}
	if err := openManifest(dir, TreeFile, t, &t.Version, &t.Files); err != nil {
		return nil, err
	}
	if t.SHA256() == "" {
		return nil, fmt.Errorf("open %s: %w: it lists no %s", dir, ErrNotArtefact, TarFile)
	}
	return t, nil
}

func (l *liveTree) key(payload string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s %s %s\n", treeRecipe, payload, l.locale, l.rootFS)
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// hooks are the arguments that have mmdebstrap run programs in the tree: those
// that package install runs on a target.
func (l *liveTree) hooks() []string {
	scripts := initramfsScripts(l.rootFS)
	if source, charset, ok := request.LocaleParts(l.locale); ok {
		scripts = append(scripts, fmt.Sprintf(`chroot "$1" localedef -i %s -f %s -A /usr/share/locale/locale.alias %s`, source, charset, l.locale))
	}
	if l.grub {
		// An image is on no disk yet that has a name that stays.
		scripts = append(scripts, `printf 'grub-pc grub-pc/install_devices_empty boolean true\n' | chroot "$1" debconf-set-selections`)
	}
	return hooks(scripts)
}

// initramfsScripts make an initramfs with the drivers of any machine, for a root
// file system of the format rootFS on a partition.
func initramfsScripts(rootFS string) []string {
	return []string{
		// The same as on a target; see plan.New.
		`printf 'COMPRESSLEVEL=3\n' > "$1/etc/initramfs-tools/conf.d/vic"`,
		`printf 'RESUME=none\n' > "$1/etc/initramfs-tools/conf.d/resume"`,
		// Without a root file system to look at, initramfs-tools has to be told
		// whose checker to take along.
		`printf 'FSTYPE=` + rootFS + `\n' > "$1/etc/initramfs-tools/conf.d/vic-image"`,
		`chroot "$1" update-initramfs -c -k all`,
		`rm "$1/etc/initramfs-tools/conf.d/vic-image"`,
	}
}

// hooks are mmdebstrap's arguments to run scripts in the tree, which is $1.
func hooks(scripts []string) []string {
	args := make([]string, 0, len(scripts))
	for _, s := range scripts {
		args = append(args, "--customize-hook="+s)
	}
	return args
}

func (b *payloadBuild) buildTree(ctx context.Context, dir string) (*Tree, error) {
	t, err := made(ctx, b, dir, "tree", TreeFile, func(raw string, out output) (t *Tree, err error) {
		err = b.env.step("keep the root file system", func() error {
			t, err = b.packTree(raw, out)
			return err
		})
		return t, err
	})
	if err != nil {
		return nil, err
	}
	t.dir = dir
	return t, nil
}

func (b *payloadBuild) packTree(raw string, out output) (*Tree, error) {
	fs := rootfs{time: b.env.Time, links: resolvedLinks(), keep: initramfsFiles, light: true}
	in, err := os.Open(raw)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	err = out.write(TarFile, func(f *os.File) error {
		zw, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return err
		}
		if err := fs.transform(in, zw); err != nil {
			return err
		}
		return zw.Close()
	})
	if err != nil {
		return nil, err
	}
	if err := out.write(LockFile, func(f *os.File) error { return b.archive.Lock(b.packages).Write(f) }); err != nil {
		return nil, err
	}
	kernel, err := fs.kernel()
	if err != nil {
		return nil, err
	}
	t := &Tree{
		Version: Version, Suite: b.spec.Suite, Arch: b.spec.Arch, Kernel: kernel, TreeSize: fs.treeSize,
		Locale: b.live.locale, RootFS: b.live.rootFS, Udev: fs.versions["udev"],
	}
	tar, err := out.file(TarFile, nil)
	if err != nil {
		return nil, err
	}
	lock, err := out.file(LockFile, nil)
	t.Files = []File{tar, lock}
	return t, err
}

// Path is the path of one of the tree's files.
func (t *Tree) Path(name string) string { return filepath.Join(t.dir, name) }

// SHA256 is of the tree's tar, compressed.
func (t *Tree) SHA256() string {
	for _, f := range t.Files {
		if f.Name == TarFile {
			return f.SHA256
		}
	}
	return ""
}

// Unpack writes the tree as a tar.
func (t *Tree) Unpack(w io.Writer) error {
	f, err := os.Open(t.Path(TarFile))
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := zstd.NewReader(f)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", f.Name(), err)
	}
	defer zr.Close()
	if _, err := zr.WriteTo(w); err != nil {
		return fmt.Errorf("unpack %s: %w", f.Name(), err)
	}
	return nil
}

// Programs are those of packages of the archive, to be run here: of the suite,
// or of the one that every build uses when it is empty.
func Programs(ctx context.Context, env Env, suite string, packages ...string) (*deb.Tools, error) {
	if suite == "" {
		suite = toolSuite
	}
	a, err := env.Tools(ctx, suite, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	return deb.OpenTools(ctx, a, packages...)
}
