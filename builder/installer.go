package builder

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/initramfs"
)

// InstallerSpec says what is in the RAM system.
type InstallerSpec struct {
	Item     string
	Suite    string
	Arch     string
	Kernel   []string // packages that bring the kernel
	Packages []string // packages that bring programs
	Programs []string // programs to keep of them, with their libraries
	Files    []string // further files to keep of them
	Modules  []string // module sets, see initramfs.Sets
	Early    []string // module sets in the initramfs too, beside its own
	Firmware []string // packages that bring firmware; empty: none
	// Features add to all of the above; see ParseFeatures.
	Features []Feature
	// Libraries are further shared libraries to keep of the packages: those
	// that programs load by themselves.
	Libraries []string
	// Config are files of vic's own, by their name in the image.
	Config map[string]string
	// Extra are further files of the image, see ApplianceSystem.
	Extra []initramfs.File
	// Hardware is of the machine that it is for: its modules are taken in place
	// of Modules, which are for any machine. Nil: any machine.
	Hardware *Hardware
	// Vic is the version of vic that builds it: what it shows on its consoles.
	Vic string `json:",omitempty"`
	// Quick saves time rather than size: the bundle goes nowhere.
	Quick bool `json:",omitempty"`

	featureModules []string // those that Features brought
}

// earlyModules is the module set that the initramfs itself needs, to mount the
// system image; all others are in the image, which stays compressed in RAM.
const earlyModules = "early"

// bundleRecipe changes whenever the same packages give another bundle, so that
// a cached one of an older vic is not taken for a new one.
const bundleRecipe = 9

// bundleCmdline is what every bundle needs: erofs can be mounted straight from
// a file on ramfs, not from one on tmpfs (fs/erofs/super.c, read_folio).
const bundleCmdline = "rootfstype=ramfs"

// BuildInstaller builds the RAM system into dir.
func BuildInstaller(ctx context.Context, env Env, spec InstallerSpec, dir string) (*Bundle, error) {
	b, err := newInstallerBuild(ctx, env, spec)
	if err != nil {
		return nil, err
	}
	return b.build(ctx, dir)
}

// newInstallerBuild finds out what will be built.
func newInstallerBuild(ctx context.Context, env Env, spec InstallerSpec) (*installerBuild, error) {
	spec, err := spec.withFeatures()
	if err != nil {
		return nil, err
	}
	b := &installerBuild{env: env, spec: spec}
	if err := env.step("resolve packages", func() error { return b.resolveKernel(ctx) }); err != nil {
		return nil, err
	}
	if err := b.choose(ctx); err != nil {
		return nil, err
	}
	return b, b.resolve(ctx)
}

func (b *installerBuild) build(ctx context.Context, dir string) (*Bundle, error) {
	err := staged(dir, func(out output) error {
		b.out = out
		for _, s := range []struct {
			name string
			run  func(context.Context) error
		}{
			{"unpack packages", b.unpack},
			{"system image", b.system},
			{"initramfs", b.initramfs},
			{"bundle.json", b.describe},
		} {
			if err := b.env.step(s.name, func() error { return s.run(ctx) }); err != nil {
				return fmt.Errorf("build %s: %w", b.spec.Item, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.bundle.dir = dir
	return b.bundle, nil
}

// installerBuild is one build.
type installerBuild struct {
	env  Env
	spec InstallerSpec
	out  output

	archive  *deb.Archive
	resolved []deb.Package // for the lock: all that the requests led to
	packages []deb.Package // to unpack: the kernel's, then the others

	kernel *kernel
	chosen chosen
	tree   *deb.Tree // what the other packages unpack to

	files  []File // of the bundle, described
	bundle *Bundle
}

// described adds a finished file to the bundle.
func (b *installerBuild) described(name string, weights []Part) error {
	f, err := b.out.file(name, weights)
	b.files = append(b.files, f)
	return err
}

func (b *installerBuild) firmware() (fs.FS, error) {
	if len(b.spec.Firmware) == 0 {
		return nil, nil
	}
	return fs.Sub(b.tree.FS(), "usr/lib/firmware")
}

// system makes system.erofs: programs with their libraries, modules, firmware.
func (b *installerBuild) system(ctx context.Context) error {
	firmware, err := b.firmware()
	if err != nil {
		return err
	}
	// Mounted, the image lies over the initramfs, whose modules stay visible.
	files, _, err := initramfs.ModuleFiles(initramfs.Config{
		Modules: b.kernel.modules(), Release: b.kernel.Release, Sets: b.chosen.all, Elsewhere: b.chosen.early, Firmware: firmware,
	})
	if err != nil {
		return err
	}
	keep, err := programClosure(b.tree, b.spec.Arch, b.spec.Programs, b.spec.Libraries)
	if err != nil {
		return err
	}
	image := deb.NewTree()
	for _, name := range append(keep, b.spec.Files...) {
		e, ok := b.tree.Lookup(name)
		if !ok {
			return fmt.Errorf("file %s is in none of the packages", name)
		}
		if err := image.Add(name, *e); err != nil {
			return err
		}
	}
	for _, f := range slices.Concat(files, configFiles(b.spec.Config), b.spec.Extra) {
		e, err := systemEntry(f)
		if err == nil {
			err = image.Add(f.Path, e)
		}
		if err != nil {
			return err
		}
	}
	return b.writeSystem(ctx, image)
}

// compression is that of the system image.
func (s InstallerSpec) compression() string {
	if s.Hardware != nil {
		return compressSent
	}
	return compressSystem
}

// configFiles are files of vic's own.
func configFiles(texts map[string]string) []initramfs.File {
	var files []initramfs.File
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		f := initramfs.Regular(name, 0o644, []byte(texts[name]))
		f.Origin = originConfig
		files = append(files, f)
	}
	return files
}

func (b *installerBuild) writeSystem(ctx context.Context, image *deb.Tree) error {
	tar, err := os.CreateTemp(b.env.Cache, "system-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(tar.Name())
	defer tar.Close()
	if err := image.WriteTar(tar, b.env.Time); err != nil {
		return err
	}
	if err := tar.Close(); err != nil {
		return fmt.Errorf("write %s: %w", tar.Name(), err)
	}
	if err := makeErofs(ctx, b.env, b.spec.compression(), tar.Name(), b.out.path(SystemFile)); err != nil {
		return err
	}
	weights, err := treeWeights(image, b.packages)
	if err != nil {
		return err
	}
	return b.described(SystemFile, weights)
}

// systemRef is /vic/system.json in the initramfs: which system image belongs
// to it. vic-init mounts no other.
type systemRef struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Chunks are the hashes of the image's parts of ChunkSize bytes, so that
	// vic-init can verify them on all processors at once.
	ChunkSize int64    `json:"chunkSize"`
	Chunks    []string `json:"chunks"`
}

// systemChunk is small enough that every processor gets several, and large
// enough that their hashes are nothing beside the image.
const systemChunk = 256 << 10

// newSystemRef describes a system image.
func newSystemRef(path string) (systemRef, error) {
	whole, err := hashFile(path)
	if err != nil {
		return systemRef{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return systemRef{}, err
	}
	defer f.Close()
	ref := systemRef{Size: whole.Size, SHA256: whole.SHA256, ChunkSize: systemChunk}
	for at := int64(0); at < ref.Size; at += systemChunk {
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, at, systemChunk)); err != nil {
			return systemRef{}, fmt.Errorf("read %s: %w", path, err)
		}
		ref.Chunks = append(ref.Chunks, hex.EncodeToString(h.Sum(nil)))
	}
	return ref, nil
}

// initramfs writes two archives: vic-init, which is the same in all bundles, and
// what belongs to this one.
func (b *installerBuild) initramfs(ctx context.Context) error {
	system, err := newSystemRef(b.out.path(SystemFile))
	if err != nil {
		return err
	}
	ref, err := json.Marshal(system)
	if err != nil {
		return err
	}
	level := zstdLevel
	if b.spec.Quick {
		level = quickLevel
	}
	zstd, err := newCompressor(ctx, b.env, level)
	if err != nil {
		return err
	}
	first, err := startConfig(ctx, b.env, b.spec.Arch, level)
	if err != nil {
		return err
	}
	own := initramfs.Config{
		Modules: b.kernel.modules(), Release: b.kernel.Release, Sets: b.chosen.early, Time: b.env.Time,
		Files:     append(systemLinks(), initramfs.Regular("vic/system.json", 0o644, append(ref, '\n')), versionFile(b.spec.Vic)),
		Continues: true, Compress: zstd.pack,
	}
	var weights []Part
	err = b.out.write(InitramfsFile, func(f *os.File) error {
		for _, cfg := range []initramfs.Config{first, own} {
			contents, err := initramfs.Write(f, cfg)
			if err != nil {
				return err
			}
			parts, err := initramfsWeights(contents)
			if err != nil {
				return err
			}
			weights = append(weights, parts...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return b.described(InitramfsFile, weights)
}

// versionFile is where vic-init, which is compiled without one, finds its version.
func versionFile(version string) initramfs.File {
	return initramfs.Regular("vic/version", 0o644, []byte(cmp.Or(version, "(development)")+"\n"))
}

// systemLinks make the programs of the system image, which is mounted on /usr,
// appear where their dynamic loader and scripts expect them, and modprobe where
// LVM runs it.
func systemLinks() []initramfs.File {
	links := []initramfs.File{initramfs.Symlink("usr/sbin/modprobe", "/bbin/modprobe")}
	for _, dir := range []string{"bin", "sbin", "lib64"} {
		links = append(links, initramfs.Symlink(dir, "usr/"+dir))
	}
	return links
}

// describe writes lock.json and bundle.json, which names all the others.
func (b *installerBuild) describe(context.Context) error {
	if err := b.out.write(LockFile, func(f *os.File) error { return b.archive.Lock(b.resolved).Write(f) }); err != nil {
		return err
	}
	if err := b.described(LockFile, nil); err != nil {
		return err
	}
	b.bundle = &Bundle{
		Version: Version, Item: b.spec.Item, Arch: b.spec.Arch, Kernel: b.kernel.Release,
		Cmdline: bundleCmdline, Features: b.spec.Features, Drivers: b.chosen.drivers, Files: b.files,
	}
	return b.out.writeManifest(BundleFile, b.bundle)
}
