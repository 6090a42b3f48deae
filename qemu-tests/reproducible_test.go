package qemutests

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/qemu-tests/lab"
)

// Two builds in different folders, with different caches, at different times,
// are the same byte for byte. The first took what it could from the user's
// cache, so that also what is cached is what would be built today.
func TestReproducible(t *testing.T) {
	lab.Need(t)
	cache := filepath.Join(t.TempDir(), "cache")
	shareDownloads(t, cache)
	for _, tt := range []struct{ item, format string }{
		{"installer", "bundle"}, {"installer", "uki"}, {"installer", "usb"}, {"installer", "netboot"}, {"debian", ""},
	} {
		t.Run(tt.item+" "+tt.format, func(t *testing.T) {
			first := lab.Built(t, tt.item, tt.format)
			second := filepath.Join(t.TempDir(), "elsewhere")
			args := append(lab.BuildArgs(tt.item, tt.format, second), "--cache", cache, "--offline")
			if r := lab.VicWith(t.Context(), t, []string{"TZ=Pacific/Auckland", "LC_ALL=C", "HOME=" + t.TempDir()}, args...); r.Exit != 0 {
				t.Fatalf("exit code %d: %s", r.Exit, r.Stderr)
			}
			a, b := digests(t, first), digests(t, second)
			if len(a) == 0 {
				t.Fatal("nothing was built")
			}
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("the builds differ (or what is cached is no longer what is built: then raise the recipe's number):\n%s", diff)
				keepDifferent(t, tt.item+tt.format, first, second)
			}
		})
	}
}

// shareDownloads makes a cache that has what was downloaded for another, and
// nothing that was built.
func shareDownloads(t *testing.T, cache string) {
	t.Helper()
	lab.Built(t, "installer", "usb") // has everything downloaded
	lab.Built(t, "debian", "")
	from, err := lab.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"sha256", "release"} {
		err := filepath.WalkDir(filepath.Join(from, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			to := filepath.Join(cache, rel)
			if e.IsDir() {
				return os.MkdirAll(to, 0o755)
			}
			if os.Link(path, to) == nil {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(to, b, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// digests are those of all files below dir, by name.
func digests(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			all[e.Name()] = lab.Digest(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// keepDifferent keeps two builds that should be the same, where the consoles
// of failed machines are kept too.
func keepDifferent(t *testing.T, name, first, second string) {
	t.Helper()
	out := os.Getenv("VIC_TEST_OUT")
	if out == "" {
		out = filepath.Join("..", "out", "test")
	}
	for which, dir := range map[string]string{"first": first, "second": second} {
		to := filepath.Join(out, "TestReproducible-"+name, which)
		if err := os.RemoveAll(to); err != nil {
			t.Error(err)
		}
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Error(err)
		}
		t.Logf("the %s build is kept in %s", which, to)
	}
}
