package within_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/within"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLinksStayInside(t *testing.T) {
	dir := t.TempDir()
	root := within.Root(filepath.Join(dir, "tree"))
	must(t, os.MkdirAll(filepath.Join(string(root), "real"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "outside"), 0o755))
	for link, to := range map[string]string{"absolute": "/real", "up": "../outside", "out": filepath.Join(dir, "outside")} {
		must(t, os.Symlink(to, filepath.Join(string(root), link)))
	}

	f, err := root.Mkdir("/absolute/made")
	must(t, err)
	f.Close()
	if _, err := os.Stat(filepath.Join(string(root), "real/made")); err != nil {
		t.Errorf("an absolute link leads inside the tree: %v", err)
	}
	for _, link := range []string{"up", "out"} {
		if f, err := root.Mkdir(link + "/made"); err == nil {
			f.Close()
		}
		if _, err := os.Stat(filepath.Join(dir, "outside/made")); err == nil {
			t.Errorf("%s led out of the tree", link)
		}
	}
}

func TestMountPoint(t *testing.T) {
	dir := t.TempDir()
	root := within.Root(dir)
	got, err := root.MountPoint("/a/b")
	if want := filepath.Join(dir, "a/b"); err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	st, err := os.Stat(got)
	must(t, err)
	if st.Mode().Perm() != 0o755 {
		t.Errorf("mode %o", st.Mode().Perm())
	}
	must(t, os.Symlink("a", filepath.Join(dir, "link")))
	if got, err := root.MountPoint("/link/b"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link is no mount point: %s, %v", got, err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	if got, err := root.MountPoint("/file"); err == nil {
		t.Errorf("a file is no mount point: %s", got)
	}
	if got, err := root.Plain("/../../file"); err != nil || got != filepath.Join(dir, "file") {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := root.Plain("/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
