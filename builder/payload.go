package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"pault.ag/go/debian/version"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/tool"
)

// PayloadSpec says what is in a payload. Only this decides its bytes; what
// differs between machines is in System, and is applied on the target.
type PayloadSpec struct {
	Item     string
	Suite    string
	Arch     string
	Packages []string  // beside the required ones
	Features []Feature // add packages; see ParseFeatures
	Units    []string  // systemd units to enable
	System   request.System
}

// payloadRecipe changes whenever the same packages give another image, so that
// a cached payload of an older vic is not taken for a new one.
const payloadRecipe = 8

// BuildPayload builds a payload into dir, or takes it from the cache when the
// same packages were built before.
func BuildPayload(ctx context.Context, env Env, spec PayloadSpec, dir string) (*Payload, error) {
	cached, err := CachePayload(ctx, env, spec)
	if err != nil {
		return nil, err
	}
	p := *cached
	p.dir = dir
	return &p, staged(dir, func(out output) error {
		for _, f := range p.Files {
			if err := out.copyFile(f.Name, cached.Path(f.Name)); err != nil {
				return err
			}
		}
		return out.writeManifest(PayloadFile, p)
	})
}

// CachePayload builds a payload into the cache, and returns it from there.
func CachePayload(ctx context.Context, env Env, spec PayloadSpec) (*Payload, error) {
	spec, err := spec.withFeatures()
	if err != nil {
		return nil, err
	}
	b := payloadBuild{env: env, spec: spec}
	if err := env.step("resolve packages", func() error { return b.resolve(ctx) }); err != nil {
		return nil, err
	}
	dir := filepath.Join(env.Cache, "payloads", b.key())
	p, err := OpenPayload(dir)
	if err != nil {
		if err := os.RemoveAll(dir); err != nil { // absent, altered or cut off
			return nil, fmt.Errorf("empty the cache: %w", err)
		}
		if p, err = b.build(ctx, dir); err != nil {
			return nil, fmt.Errorf("build payload %s: %w", spec.Item, err)
		}
	}
	p.Item, p.System = spec.Item, spec.System
	return p, nil
}

// payloadBuild is one build, from the archive to the image.
type payloadBuild struct {
	env      Env
	spec     PayloadSpec
	archive  *deb.Archive
	packages []deb.Package
	// live is set for a tree that boots as it is; see CacheTree.
	live *liveTree
}

func (b *payloadBuild) resolve(ctx context.Context) (err error) {
	if b.archive, err = b.env.Archive(ctx, b.spec.Suite, b.spec.Arch); err != nil {
		return err
	}
	b.packages, err = b.archive.Resolve(ctx, deb.Request{Packages: b.spec.Packages, Required: true})
	return refused(err)
}

// key identifies the image's bytes.
func (b *payloadBuild) key() string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	enc.Encode([]any{payloadRecipe, b.spec.Suite, b.spec.Arch, b.spec.Units, b.env.Time.Unix()})
	for _, p := range b.packages {
		enc.Encode([]string{p.Name, p.Version, p.SHA256})
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// scratch makes a folder for a build; tidy removes it. mmdebstrap's namespace has
// to reach what is in it as another user.
func (b *payloadBuild) scratch() (dir string, tidy func(), err error) {
	if err := checkForeign(b.spec.Arch, "/proc/sys/fs/binfmt_misc"); err != nil {
		return "", nil, refused(err)
	}
	if dir, err = os.MkdirTemp(b.env.Cache, "payload-"); err != nil {
		return "", nil, err
	}
	tidy = func() { os.RemoveAll(dir) }
	if err := os.Chmod(dir, 0o755); err != nil {
		tidy()
		return "", nil, err
	}
	return dir, tidy, nil
}

// tree fetches the packages and has mmdebstrap make raw.tar of them in dir.
func (b *payloadBuild) tree(ctx context.Context, dir string) (raw string, err error) {
	repository, raw := filepath.Join(dir, "repository"), filepath.Join(dir, "raw.tar")
	err = b.env.step("fetch packages", func() error {
		if err := os.Mkdir(repository, 0o755); err != nil {
			return err
		}
		return b.archive.LocalRepository(ctx, repository, b.packages)
	})
	if err != nil {
		return "", err
	}
	return raw, b.env.step("mmdebstrap "+b.spec.Suite, func() error {
		_, err := b.env.Host.Run(ctx, b.mmdebstrap(repository, raw))
		return mmdebstrapHint(err)
	})
}

func (b *payloadBuild) build(ctx context.Context, dir string) (*Payload, error) {
	p, err := made(ctx, b, dir, "payload", PayloadFile, func(raw string, out output) (p *Payload, err error) {
		err = b.env.step("mkfs.erofs", func() error {
			p, err = b.image(ctx, raw, filepath.Join(filepath.Dir(raw), "tree.tar"), out)
			return err
		})
		return p, err
	})
	if err != nil {
		return nil, err
	}
	p.dir = dir
	return p, nil
}

// made has pack make artefacts of the tree, describes them in a manifest, and moves
// all of it to dir once it is whole.
func made[T any](ctx context.Context, b *payloadBuild, dir, name, manifest string, pack func(raw string, out output) (*T, error)) (*T, error) {
	tmp, tidy, err := b.scratch()
	if err != nil {
		return nil, err
	}
	defer tidy()
	raw, err := b.tree(ctx, tmp)
	if err != nil {
		return nil, err
	}
	out := output{filepath.Join(tmp, name)}
	if err := os.Mkdir(out.dir, 0o755); err != nil {
		return nil, err
	}
	t, err := pack(raw, out)
	if err != nil {
		return nil, err
	}
	if err := out.writeManifest(manifest, t); err != nil {
		return nil, err
	}
	return t, moveDir(out.dir, dir)
}

// mmdebstrap is the command that makes the tree from exactly the packages in
// repository, which were verified before they were put there.
func (b *payloadBuild) mmdebstrap(repository, tar string) tool.Cmd {
	mode := "unshare"
	if os.Getuid() == 0 {
		mode = "root"
	}
	names := make([]string, 0, len(b.packages))
	for _, p := range b.packages {
		names = append(names, p.Name)
	}
	args := []string{
		"--mode=" + mode, "--format=tar", "--variant=minbase",
		"--architectures=" + b.spec.Arch,
		"--include=" + strings.Join(names, ","),
		"--aptopt=APT::Install-Recommends false",
		"--aptopt=Acquire::Languages none",
		// The tree is thrown away when the build dies: syncing it only costs.
		"--dpkgopt=force-unsafe-io",
	}
	if b.spec.Arch != runtime.GOARCH {
		args = append(args, "--skip=check/qemu") // checkForeign has, without arch-test
	}
	if len(b.spec.Units) > 0 {
		args = append(args, `--customize-hook=chroot "$1" systemctl enable `+strings.Join(b.spec.Units, " "))
	}
	if b.live != nil {
		args = append(args, b.live.hooks()...)
	} else if b.rootFS() != "" {
		args = append(args, hooks(initramfsScripts(b.rootFS()))...)
	}
	args = append(args, b.spec.Suite, tar, "deb [trusted=yes] copy:"+repository+" ./")
	return tool.Cmd{
		Name: "mmdebstrap", Args: args,
		Env: []string{
			"SOURCE_DATE_EPOCH=" + strconv.FormatInt(b.env.Time.Unix(), 10),
			"DEBIAN_FRONTEND=noninteractive",
			// Not at once and for every kernel: read by
			// /etc/kernel/postinst.d/initramfs-tools.
			"INITRD=No",
		},
	}
}

// rootFS is what the root file system has to be for the payload's initramfs,
// which saves most targets the time to make one of their own. Features are for
// targets that need more, and mdadm's hook puts the arrays of the machine that
// it runs on into it.
func (b *payloadBuild) rootFS() string {
	if len(b.spec.Features) > 0 || slices.ContainsFunc(b.packages, func(p deb.Package) bool { return p.Name == "mdadm" }) {
		return ""
	}
	return "ext4"
}

func mmdebstrapHint(err error) error {
	if errors.Is(err, tool.ErrNotFound) {
		return fmt.Errorf("%w: install the Debian package mmdebstrap", err)
	}
	return err
}

// image turns mmdebstrap's tar into payload.erofs and its description.
func (b *payloadBuild) image(ctx context.Context, raw, tree string, out output) (*Payload, error) {
	fs := rootfs{time: b.env.Time, links: resolvedLinks()}
	if b.rootFS() != "" {
		fs.keep = initramfsFiles
	}
	if err := fs.transformFile(raw, tree); err != nil {
		return nil, err
	}
	kernel, err := fs.kernel()
	if err != nil {
		return nil, err
	}
	if err := makeErofs(ctx, b.env, compressPayload, tree, out.path(ImageFile)); err != nil {
		return nil, err
	}
	if err := out.write(LockFile, func(f *os.File) error { return b.archive.Lock(b.packages).Write(f) }); err != nil {
		return nil, err
	}
	image, err := out.file(ImageFile, fs.weights())
	if err != nil {
		return nil, err
	}
	lock, err := out.file(LockFile, nil)
	if err != nil {
		return nil, err
	}
	features, err := featuresOf(fs.versions)
	if err != nil {
		return nil, err
	}
	return &Payload{
		Version: Version, Item: b.spec.Item, Suite: b.spec.Suite, Arch: b.spec.Arch, Format: "erofs",
		Kernel: kernel, RootFS: b.rootFS(), TreeSize: fs.treeSize, Features: features, Files: []File{image, lock},
	}, nil
}

// resolvedLinks have programs ask systemd-resolved, not the build machine's DNS.
func resolvedLinks() map[string]string {
	return map[string]string{"etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf"}
}

// kernel is the release of the newest kernel in the tree.
func (r *rootfs) kernel() (string, error) {
	if len(r.kernels) == 0 {
		return "", errors.New("the tree has no kernel: the package list lacks a linux-image package")
	}
	return slices.MaxFunc(r.kernels, compareReleases), nil
}

// compareReleases orders kernel releases as `sort -V` would: by the rules of
// Debian versions, which compare runs of digits as numbers.
func compareReleases(a, b string) int {
	va, errA := version.Parse(a)
	vb, errB := version.Parse(b)
	if errA != nil || errB != nil {
		return strings.Compare(a, b)
	}
	return version.Compare(va, vb)
}

func (r *rootfs) transformFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := r.transform(in, out); err != nil {
		return err
	}
	return out.Close()
}

// The compression of images: bytes of 64 KiB are compressed at once.
const (
	erofsCluster = "-C65536"
	// compressSystem is for what is downloaded, and held in memory. Higher
	// levels, fragments and dedupe gain less than 3 % on the system image,
	// most of which is compressed modules, and take ten to a hundred times as
	// long.
	compressSystem = "-zzstd,level=6"
	// compressSent is for the image for one machine, which is sent to it over SSH
	// before anything else happens there: 12 % smaller, and slower to unpack, which
	// does not matter for 5 MB.
	compressSent = "-zlzma,level=9"
	// compressPayload is for what is read once, as fast as a disk can write:
	// LZ4 unpacks several times as fast as zstd. A Debian tree of 270 MB takes
	// 4 s and becomes 155 MB; zstd at level 6 takes 11 s for 138 MB.
	compressPayload = "-zlz4hc,9"
)

// makeErofs makes an image from a tar with the mkfs.erofs of the archive, so
// that the bytes do not depend on the host's version.
func makeErofs(ctx context.Context, env Env, compression, tar, image string) error {
	tools, err := hostTools(ctx, env, "erofs-utils")
	if err != nil {
		return err
	}
	args := []string{"--quiet", "--tar=f", "-T" + strconv.FormatInt(env.Time.Unix(), 10),
		// A constant UUID: the image is known by its hash.
		"-U", "c1b9d5a2-f162-11cf-9ece-0020afc76f16",
		compression, erofsCluster, image, tar}
	if _, err := tools.Run(ctx, tool.Cmd{Name: "mkfs.erofs", Args: args}); err != nil {
		os.Remove(image)
		return err
	}
	return nil
}

// toolSuite is the suite whose programs every build uses: the oldest that has
// mkfs.erofs with zstd and --tar (erofs-utils 1.8).
const toolSuite = "trixie"

// hostTools unpacks packages of the archive for this machine's architecture.
func hostTools(ctx context.Context, env Env, packages ...string) (*deb.Tools, error) {
	return Programs(ctx, env, toolSuite, packages...)
}
