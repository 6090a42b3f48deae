package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/victorinix/vic/builder"
)

// Kernel is the kernel ("cloud" or "generic") of the RAM system, which vic leaves
// unpacked in its cache. modules is what is /usr/lib/modules/RELEASE elsewhere.
func Kernel(t *testing.T, name string) (image, modules, release string) {
	t.Helper()
	dir := Dir(t, name)
	if _, err := os.Stat(filepath.Join(dir, builder.KernelFile)); err != nil {
		func() {
			defer lockBuilds(t)()
			MustVic(t, "build", "installer", "-o", "kernel="+name, "--out", dir)
		}()
	}
	bundle, err := builder.OpenBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(filepath.Join(cache, "kernels", "*", "kernel.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range manifests {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var k struct{ Release string }
		if err := json.Unmarshal(b, &k); err != nil {
			t.Fatal(err)
		}
		if k.Release == bundle.Kernel {
			return bundle.Path(builder.KernelFile), filepath.Join(filepath.Dir(path), "modules"), bundle.Kernel
		}
	}
	t.Fatalf("no kernel %s in %s", bundle.Kernel, cache)
	return "", "", ""
}
