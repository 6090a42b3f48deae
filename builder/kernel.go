package builder

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/initramfs"
)

// kernel is a kernel package, unpacked into the cache together with the index
// of its modules that depmod(8) makes when the package is installed:
//
//	CACHE/kernels/SHA256/vmlinuz
//	CACHE/kernels/SHA256/modules/{kernel/..., modules.dep, modules.alias, ...}
//	CACHE/kernels/SHA256/kernel.json, written last
//
// Unpacking and indexing Debian's generic kernel takes half a minute; it is
// done once for each package.
type kernel struct {
	dir     string
	Release string `json:"release"` // uname -r
	Size    int64  `json:"size"`    // of vmlinuz
	Modules int    `json:"modules"` // how many files are in modules/
}

const kernelManifest = "kernel.json"

func (k *kernel) image() string  { return filepath.Join(k.dir, KernelFile) }
func (k *kernel) modules() fs.FS { return os.DirFS(filepath.Join(k.dir, "modules")) }

// openKernel takes a kernel package from the cache, or unpacks it into it.
func openKernel(ctx context.Context, env Env, a *deb.Archive, p deb.Package) (*kernel, error) {
	k := &kernel{dir: filepath.Join(env.Cache, "kernels", p.SHA256)}
	if k.load() == nil {
		return k, nil
	}
	paths, err := a.Fetch(ctx, []deb.Package{p})
	if err != nil {
		return nil, err
	}
	tree := deb.NewTree()
	if err := tree.AddDebs(ctx, paths, []deb.Package{p}, nil); err != nil {
		return nil, err
	}
	if err := k.unpack(env.Cache, tree); err != nil {
		return nil, fmt.Errorf("unpack %s: %w", p.Name, err)
	}
	return k, nil
}

// load reads the description, and checks that nobody has thinned the folder
// out since.
func (k *kernel) load() error {
	doc, err := os.ReadFile(filepath.Join(k.dir, kernelManifest))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(doc, k); err != nil {
		return err
	}
	st, err := os.Stat(k.image())
	if err != nil {
		return err
	}
	n, err := countFiles(k.modules())
	if err != nil {
		return err
	}
	if st.Size() != k.Size || n != k.Modules {
		return errors.New("kernel in the cache is incomplete")
	}
	return nil
}

func countFiles(fsys fs.FS) (n int, err error) {
	err = fs.WalkDir(fsys, ".", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	return n, err
}

// unpack makes the folder under another name and renames it.
func (k *kernel) unpack(cache string, tree *deb.Tree) error {
	tmp, err := os.MkdirTemp(cache, "kernel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	final := k.dir
	k.dir = filepath.Join(tmp, "kernel")
	if err := k.write(tree); err != nil {
		return err
	}
	if err := os.RemoveAll(final); err != nil { // incomplete: see load
		return err
	}
	if err := moveDir(k.dir, final); err != nil {
		return err
	}
	k.dir = final
	return nil
}

func (k *kernel) write(tree *deb.Tree) error {
	images, err := fs.Glob(tree.FS(), "boot/vmlinuz-*")
	if err != nil || len(images) != 1 {
		return fmt.Errorf("it has %d files boot/vmlinuz-*, one is needed", len(images))
	}
	k.Release = strings.TrimPrefix(images[0], "boot/vmlinuz-")
	root := "usr/lib/modules/" + k.Release + "/"
	err = tree.Walk(func(name string, e *deb.Entry) error {
		if e.Header.Typeflag != tar.TypeReg {
			return nil
		}
		if name == images[0] {
			k.Size = int64(len(e.Data))
			return k.put(KernelFile, e.Data)
		}
		if rel, ok := strings.CutPrefix(name, root); ok {
			return k.put(path.Join("modules", rel), e.Data)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return k.index()
}

func (k *kernel) put(name string, data []byte) error {
	file := filepath.Join(k.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// index adds what depmod(8) would have made, and the description.
func (k *kernel) index() (err error) {
	files, err := initramfs.Depmod(k.modules())
	if err != nil {
		return err
	}
	for name, data := range files {
		if err := k.put(path.Join("modules", name), data); err != nil {
			return err
		}
	}
	if k.Modules, err = countFiles(k.modules()); err != nil {
		return err
	}
	doc, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return k.put(kernelManifest, doc)
}
