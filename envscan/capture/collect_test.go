package capture

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestCollect(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"sys/a/b", "proc/12", "dev", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, content := range map[string]string{"sys/a/b/read": "1", "sys/a/b/other": "2", "sys/a/far": "3", "proc/1.x": ""} {
		if err := os.WriteFile(filepath.Join(root, path), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, target := range map[string]string{"sys/link": "a/b", "sys/loop": "loop", "sys/out": "../../../etc/passwd", "etc/abs": "/sys/a/far", "proc/self": "12", "sys/a/b/up": ".."} {
		if err := os.Symlink(target, filepath.Join(root, path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "dev/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked []string
	for _, p := range []string{"sys/link/read", "sys/link", "sys/out", "etc/abs", "proc/self/x", "proc", "dev/pipe", "sys/gone/x", "sys/a/b/up/far"} {
		asked = append(asked, filepath.Join(root, p))
	}
	entries, err := Collect(root, append(asked, "/etc/passwd", "/dev/null"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Path+map[fs.FileMode]string{0: "=", fs.ModeDir: "/", fs.ModeSymlink: "->"}[e.Mode]+e.Target+string(e.Content))
	}
	want := []string{
		"dev/", "dev/pipe=", "etc/", "etc/abs->/sys/a/far", "proc/", "proc/1.x=", "proc/self/", "sys/", "sys/a/", "sys/a/b/", "sys/a/b/other=", "sys/a/b/read=1", "sys/a/b/up->..",
		"sys/a/far=3", "sys/link->a/b", "sys/out->../../../etc/passwd",
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, err := Collect(root, []string{filepath.Join(root, "sys/loop")}); err == nil || !strings.Contains(err.Error(), "too many links") {
		t.Error(err)
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := WriteDir(to, entries); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "sys/link/up/far")); string(b) != "3" {
		t.Error(string(b), err)
	}
}

// TestUnreadable: in the tree it cannot be read either; a disk is one.
func TestUnreadable(t *testing.T) {
	tooltest.Root(t)
	root := t.TempDir()
	if err := unix.Mknod(filepath.Join(root, "disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 250))); err != nil {
		t.Skip("no device nodes here: ", err)
	}
	if err := unix.Mknod(filepath.Join(root, "tty"), unix.S_IFCHR|0o600, int(unix.Mkdev(4, 64))); err != nil {
		t.Fatal(err)
	}
	entries, err := Collect(root, []string{filepath.Join(root, "disk"), filepath.Join(root, "tty")})
	if err != nil || len(entries) != 2 || !entries[0].Mode.IsDir() || entries[1].Mode != 0 {
		t.Errorf("%+v %v", entries, err)
	}
}

func TestMarks(t *testing.T) {
	if got := string(marks([]byte("A=container=x\x00container=lxc\x00container_uuid=1\x00SECRET=2\x00"))); got != "container=lxc\x00container_uuid=1" {
		t.Errorf("%q", got)
	}
}

// TestWatch: what a program looks at, whatever threads it has; and what becomes
// of one that fails.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("WATCHED") == "yes" { // the program that is watched
		done := make(chan error)
		for _, look := range []func(string) error{
			func(p string) error { _, err := os.ReadFile(p); return err },
			func(p string) error { _, err := os.Stat(p + ".stat"); return err },
			func(p string) error { _, err := os.Readlink(p + ".link"); return err },
			func(p string) error { _, err := os.ReadDir(p + ".dir"); return err },
		} {
			go func() { done <- look(os.Getenv("LOOK")) }()
		}
		for range 4 {
			<-done
		}
		return
	}
	t.Setenv("WATCHED", "yes")
	t.Setenv("LOOK", file)
	paths, err := Watch(t.Context(), []string{os.Args[0], "-test.run=^TestWatch$"})
	if err != nil && strings.Contains(err.Error(), unix.EPERM.Error()) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"", ".stat", ".link", ".dir"} {
		if !slices.Contains(paths, file+end) {
			t.Errorf("%s was not seen among %d paths", file+end, len(paths))
		}
	}
	if _, err := Watch(t.Context(), []string{"/bin/sh", "-c", "echo no such luck >&2; exit 3"}); err == nil || !strings.Contains(err.Error(), "sh ended with 3: no such luck") {
		t.Error(err)
	}
	if _, err := Watch(t.Context(), []string{"/no/such/program"}); err == nil {
		t.Error("a program that is not there ran")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Watch(ctx, []string{"/bin/sh", "-c", "while :; do :; done"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
