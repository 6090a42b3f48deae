package builder

import (
	"runtime"
	"testing"

	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/initramfs/programs"
)

// Bundles whose own files differ are different bundles.
func TestKeyCountsExtraFiles(t *testing.T) {
	if _, err := programs.Init(runtime.GOARCH); err != nil {
		t.Skip(err)
	}
	key := func(files ...initramfs.File) string {
		t.Helper()
		b := installerBuild{env: Env{Time: DefaultTime}, spec: InstallerSpec{Arch: runtime.GOARCH, Extra: files}}
		k, err := b.key()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	seen := map[string]bool{}
	for _, files := range [][]initramfs.File{
		nil,
		{initramfs.Regular("a", 0o644, []byte("x"))}, {initramfs.Regular("a", 0o644, []byte("y"))},
		{initramfs.Regular("a", 0o755, []byte("x"))}, {initramfs.Regular("b", 0o644, []byte("x"))}, {initramfs.Symlink("a", "x")},
	} {
		if k := key(files...); seen[k] || k != key(files...) {
			t.Errorf("%v: the key %s is another's, or not the same twice", files, k)
		} else {
			seen[k] = true
		}
	}
}
