package builder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/builder/deb/debtest"
)

var testKernel = debtest.Package{Name: "linux-image-6.12-amd64", Files: map[string]string{
	"boot/vmlinuz-6.12-amd64":                        strings.Repeat("kernel", 100),
	"boot/config-6.12-amd64":                         "CONFIG_X=y\n",
	"usr/lib/modules/6.12-amd64/modules.order":       "",
	"usr/lib/modules/6.12-amd64/modules.builtin":     "kernel/fs/ext4/ext4.ko\n",
	"usr/lib/modules/6.12-amd64/kernel/fs/README.md": "no module\n",
}}

// kernelArchive has one kernel package.
func kernelArchive(t *testing.T, p debtest.Package) (Env, *deb.Archive, deb.Package) {
	t.Helper()
	env := testEnv(t, p)
	a, err := env.Archive(t.Context(), "trixie", testSpec().Arch)
	if err != nil {
		t.Fatal(err)
	}
	packages, err := a.Resolve(t.Context(), deb.Request{Packages: []string{p.Name}})
	if err != nil {
		t.Fatal(err)
	}
	return env, a, packages[0]
}

func TestKernelIsUnpackedOnce(t *testing.T) {
	env, a, p := kernelArchive(t, testKernel)
	k, err := openKernel(t.Context(), env, a, p)
	if err != nil {
		t.Fatal(err)
	}
	if k.Release != "6.12-amd64" || k.Size != 600 || k.Modules < 3 {
		t.Errorf("got %+v", k)
	}
	if got := files(t, k.dir); got != "kernel.json modules vmlinuz" {
		t.Errorf("got %s", got)
	}
	if _, err := os.Stat(filepath.Join(k.dir, "modules/modules.dep")); err != nil {
		t.Errorf("no index: %v", err)
	}
	before, err := os.Stat(k.image())
	if err != nil {
		t.Fatal(err)
	}
	again, err := openKernel(t.Context(), env, a, p)
	if err != nil || *again != *k {
		t.Errorf("got %+v, %v, want %+v", again, err, k)
	}
	if after, err := os.Stat(k.image()); err != nil || !os.SameFile(before, after) {
		t.Errorf("it was unpacked again: %v", err)
	}
}

// What was cut off while it was made, or thinned out since, is made again.
func TestIncompleteKernelIsUnpackedAgain(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"module gone":   func(dir string) error { return os.Remove(filepath.Join(dir, "modules/modules.dep")) },
		"modules gone":  func(dir string) error { return os.RemoveAll(filepath.Join(dir, "modules")) },
		"kernel gone":   func(dir string) error { return os.Remove(filepath.Join(dir, KernelFile)) },
		"kernel cut":    func(dir string) error { return os.Truncate(filepath.Join(dir, KernelFile), 5) },
		"manifest gone": func(dir string) error { return os.Remove(filepath.Join(dir, kernelManifest)) },
		"manifest cut":  func(dir string) error { return os.Truncate(filepath.Join(dir, kernelManifest), 5) },
		"one too many":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "modules/x"), nil, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			env, a, p := kernelArchive(t, testKernel)
			k, err := openKernel(t.Context(), env, a, p)
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(k.dir); err != nil {
				t.Fatal(err)
			}
			again, err := openKernel(t.Context(), env, a, p)
			if err != nil || *again != *k {
				t.Fatalf("got %+v, %v, want %+v", again, err, k)
			}
			if err := again.load(); err != nil {
				t.Error(err)
			}
			if left, err := filepath.Glob(filepath.Join(env.Cache, "kernel-*")); err != nil || len(left) > 0 {
				t.Errorf("left in the cache: %v, %v", left, err)
			}
		})
	}
}

func TestPackageWithoutKernelIsRefused(t *testing.T) {
	env, a, p := kernelArchive(t, debtest.Package{Name: "linux-image-6.12-amd64", Files: map[string]string{"boot/config": "x"}})
	_, err := openKernel(t.Context(), env, a, p)
	wantError(t, err, "unpack linux-image-6.12-amd64", "it has 0 files boot/vmlinuz-*, one is needed")
	if _, err := os.Stat(filepath.Join(env.Cache, "kernels", p.SHA256)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something stays in the cache: %v", err)
	}
}

func resolveAll(t *testing.T, b *installerBuild) error {
	if err := b.resolveKernel(t.Context()); err != nil {
		return err
	}
	return b.resolve(t.Context())
}

// An installer needs one kernel, whatever its packages bring.
func TestInstallerResolve(t *testing.T) {
	meta := func(depends string) debtest.Package {
		return debtest.Package{Name: "linux-image-amd64", Control: "Depends: " + depends, Files: map[string]string{"usr/share/doc/x": "x"}}
	}
	tools := debtest.Package{Name: "initramfs-tools", Files: map[string]string{"usr/sbin/mkinitramfs": "x"}}
	other := debtest.Package{Name: "linux-image-6.13-amd64", Files: map[string]string{"boot/vmlinuz-6.13-amd64": "x"}}
	for name, tt := range map[string]struct {
		depends string
		want    string // in the error; "" is none
	}{
		"one":  {"linux-image-6.12-amd64, initramfs-tools", ""},
		"none": {"initramfs-tools", "bring 0 kernels, one is needed"},
		"two":  {"linux-image-6.12-amd64, linux-image-6.13-amd64", "bring 2 kernels, one is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			env := testEnv(t, meta(tt.depends), tools, other, testKernel, baseFiles)
			b := installerBuild{env: env, spec: InstallerSpec{Suite: "trixie", Arch: testSpec().Arch, Kernel: []string{"linux-image-amd64"}, Packages: []string{"base-files"}}}
			err := resolveAll(t, &b)
			if tt.want != "" {
				var refused *RefusedError
				if wantError(t, err, tt.want); !errors.As(err, &refused) {
					t.Error("it is not refused")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(b.packages) != 2 || b.packages[0].Name != testKernel.Name || b.packages[1].Name != "base-files" {
				t.Errorf("got %v", b.packages)
			}
			locked := b
			lock := b.archive.Lock(b.resolved)
			locked.env.Archive = lockedArchive(t, env, lock)
			if err := resolveAll(t, &locked); err != nil || len(locked.packages) != 2 {
				t.Errorf("its lock does not resolve: %v, %v", locked.packages, err)
			}
		})
	}
}
