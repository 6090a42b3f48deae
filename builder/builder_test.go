package builder

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/builder/deb/debtest"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var update = flag.Bool("update", false, "rewrite testdata")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// runnerFunc is a tool.Runner.
type runnerFunc func(context.Context, tool.Cmd) (tool.Output, error)

func (f runnerFunc) Run(ctx context.Context, c tool.Cmd) (tool.Output, error) { return f(ctx, c) }

// testEnv is an Env with an archive of these packages (trixie, for this
// machine), on which no program may be run.
func testEnv(t *testing.T, packages ...debtest.Package) Env {
	t.Helper()
	mirror, cache := t.TempDir(), t.TempDir()
	if err := (debtest.Archive{Suite: "trixie", Arch: runtime.GOARCH, Packages: packages}).Write(mirror); err != nil {
		t.Fatal(err)
	}
	open := func(ctx context.Context, suite, arch string) (*deb.Archive, error) {
		return deb.Open(ctx, deb.Config{Mirror: "file://" + mirror, Suite: suite, Arch: arch, CacheDir: cache,
			Keyrings: []string{filepath.Join(mirror, debtest.Keyring)}})
	}
	run := func(_ context.Context, c tool.Cmd) (tool.Output, error) {
		t.Errorf("%s was run", c)
		return tool.Output{}, errors.New("not in this test")
	}
	return Env{Cache: cache, Time: DefaultTime, Host: runnerFunc(run), Archive: open, Tools: open, Sink: event.Discard}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

// files lists the names below dir.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func writeFiles(t *testing.T, dir string, content map[string]string) {
	t.Helper()
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSourceDate(t *testing.T) {
	for in, want := range map[string]string{
		"": "2025-01-01T00:00:00Z", "0": "1970-01-01T00:00:00Z", "1700000000": "2023-11-14T22:13:20Z",
	} {
		if got, err := SourceDate(in); err != nil || got.Format("2006-01-02T15:04:05Z07:00") != want {
			t.Errorf("%q: got %v, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"now", "-1", "1.5", " 1", "99999999999999999999"} {
		if got, err := SourceDate(in); err == nil {
			t.Errorf("%q: accepted as %v", in, got)
		}
	}
}

func TestStagedIsAllOrNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "out")
	boom := errors.New("boom")
	half := func(out output) error {
		writeFiles(t, out.dir, map[string]string{"a": "1"})
		return boom
	}
	if err := staged(dir, half); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
	err := staged(dir, func(out output) error {
		writeFiles(t, out.dir, map[string]string{"a": "1", BundleFile: "2"})
		return nil
	})
	if err != nil || files(t, dir) != "a bundle.json" {
		t.Errorf("got %q, %v", files(t, dir), err)
	}
	// What was there stays as it was.
	if err := staged(dir, half); !errors.Is(err, boom) || files(t, dir) != "a bundle.json" {
		t.Errorf("got %q, %v", files(t, dir), err)
	}
}

// A manifest appears after what it describes: a run that is cut off leaves no
// artefact.
func TestPublishMovesTheManifestLast(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	writeFiles(t, from, map[string]string{BundleFile: "", "vmlinuz": "", "zzz": ""})
	writeFiles(t, to, map[string]string{"zzz/in the way": ""}) // a folder: rename(2) fails
	if err := publish(from, to); err == nil {
		t.Fatal("moved a file over a folder")
	}
	if got := files(t, to); got != "vmlinuz zzz" {
		t.Errorf("got %q", got)
	}
}

func TestMoveDirKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"from/a": "mine", "to/a": "theirs"})
	if err := moveDir(filepath.Join(dir, "from"), filepath.Join(dir, "to")); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "to/a")); err != nil || string(got) != "theirs" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := moveDir(filepath.Join(dir, "gone"), filepath.Join(dir, "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// smallDisk is a tmpfs.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	tooltest.Root(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}
