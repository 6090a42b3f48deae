package diskimage

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// trixie is the archive, opened once.
var trixie = sync.OnceValues(func() (*deb.Archive, error) {
	mirror := os.Getenv("VIC_MIRROR")
	if mirror == "" {
		var err error
		if mirror, err = deb.HostMirror("/"); err != nil {
			return nil, err
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	return deb.Open(context.Background(), deb.Config{Mirror: mirror, CacheDir: filepath.Join(cache, "vic"), Suite: "trixie", Arch: runtime.GOARCH, Components: []string{"main"}})
})

// archive are the real programs of Debian's archive.
func archive(t *testing.T) builder.Env {
	t.Helper()
	if testing.Short() {
		t.Skip("takes programs from a Debian mirror")
	}
	a, err := trixie()
	if err != nil {
		t.Fatal(err)
	}
	open := func(context.Context, string, string) (*deb.Archive, error) { return a, nil }
	return builder.Env{Cache: t.TempDir(), Time: epoch, Host: tool.Exec{}, Archive: open, Tools: open, Sink: event.Discard}
}

// blank is an image of 64 MiB.
func blank(t *testing.T, b *build) {
	t.Helper()
	b.path = filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(b.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(64*mib), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func say(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := tooltest.Need(t, name).Run(t.Context(), tool.Cmd{Name: name, Args: args})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Stdout)
	}
	return string(out.Stdout)
}

var testFS = storage.Mkfs{Format: "ext4", UUID: "5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10", Label: "root"}

// Everything that a tar says of a file is in the file system, and the same is the
// same.
func TestExtIsFilled(t *testing.T) {
	env := archive(t)
	make := func() string {
		b := testBuild(t, append(folders("", "bin", "home"), file("bin/one", "shared"), sample{"bin/two", "bin/one", tar.TypeLink, 0o644},
			sample{"long", strings.Repeat("x/", 100), tar.TypeSymlink, 0o777}, file("big", strings.Repeat("0123456789abcdef", 1<<17))))
		b.tree.entries["null"] = &entry{Header: tar.Header{Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666, ModTime: epoch, Format: tar.FormatPAX}}
		b.tree.entries["bin/one"].Uid, b.tree.entries["bin/one"].Gid, b.tree.entries["bin/one"].Mode = 7, 70000, 0o4755
		b.tree.entries["bin/one"].PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
		b.programs = func(ctx context.Context, suite string, packages ...string) (programs, error) {
			return builder.Programs(ctx, env, suite, packages...)
		}
		blank(t, b)
		if err := b.ext(t.Context(), testFS, area{8 * mib, 48 * mib}, "", b.tree.below("")); err != nil {
			t.Fatal(err)
		}
		return b.path
	}
	path := make()
	at := fmt.Sprintf("%s?offset=%d", path, 8*mib)
	if out := say(t, "e2fsck", "-fn", at); !strings.Contains(out, "Pass 5") {
		t.Errorf("e2fsck:\n%s", out)
	}
	for request, want := range map[string][]string{
		"stat /bin/one":                          {"Mode:  04755", "User:     7", "Group: 70000", "Links: 2", "mtime: 0x67748580"},
		"ea_get -x /bin/one security.capability": {"01 00 00 02 00 20"},
		"stat /null":                             {"Type: character special", "01:03"},
		"cat /bin/two":                           {"shared"},
		"stat /long":                             {"Type: symlink", "Size: 200"},
		"stat /big":                              {"Size: 2097152"},
		"stat /home":                             {"Type: directory", "Mode:  0755"},
		"stats":                                  {"Filesystem volume name:   root", "Filesystem UUID:          5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10", "metadata_csum"},
	} {
		out := say(t, "debugfs", "-R", request, at)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s lacks %q:\n%s", request, w, out)
			}
		}
	}
	a, errA := os.ReadFile(path)
	b, errB := os.ReadFile(make())
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("two builds differ: %v %v", errA, errB)
	}
	if !bytes.Equal(a[:8*mib], bytes.Repeat([]byte{0}, 8*mib)) || !bytes.Equal(a[56*mib:], bytes.Repeat([]byte{0}, 8*mib)) {
		t.Error("something outside of the partition was written")
	}
}

// What has no room is an error, not half a file system.
func TestExtThatIsFull(t *testing.T) {
	env := archive(t)
	b := testBuild(t, append(folders(""), file("big", strings.Repeat("0123456789abcdef", 1<<20))))
	b.programs = func(ctx context.Context, suite string, packages ...string) (programs, error) {
		return builder.Programs(ctx, env, suite, packages...)
	}
	blank(t, b)
	err := b.ext(t.Context(), testFS, area{8 * mib, 8 * mib}, "", b.tree.below(""))
	var failed *tool.Error
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "mkfs.ext4") {
		t.Errorf("got %v", err)
	}
}

// fakePrograms stand for those of the archive.
type fakePrograms struct {
	tool.Runner
	err error
}

func (fakePrograms) Path(name string) string { return "/" + name }
func (f fakePrograms) Run(context.Context, tool.Cmd) (tool.Output, error) {
	return tool.Output{}, f.err
}

// A program that ends before it has read everything does not stop the build for
// ever, and its error is the one that is told.
func TestProgramThatDoesNotRead(t *testing.T) {
	b := testBuild(t, append(folders(""), file("big", strings.Repeat("x", 1<<20))))
	blank(t, b)
	died := errors.New("killed")
	b.programs = func(context.Context, string, ...string) (programs, error) { return fakePrograms{err: died}, nil }
	if err := b.ext(t.Context(), testFS, area{0, 8 * mib}, "", b.tree.below("")); !errors.Is(err, died) || strings.Contains(err.Error(), "has ended") {
		t.Errorf("got %v", err)
	}
	b.programs = func(context.Context, string, ...string) (programs, error) { return fakePrograms{}, nil }
	if err := b.ext(t.Context(), testFS, area{0, 8 * mib}, "", b.tree.below("")); err == nil {
		t.Error("a program that reads nothing, and says it has done all, is believed")
	}
	missing := errors.New("not in the archive")
	b.programs = func(context.Context, string, ...string) (programs, error) { return nil, missing }
	if err := b.ext(t.Context(), testFS, area{0, 8 * mib}, "", nil); !errors.Is(err, missing) {
		t.Errorf("got %v", err)
	}
}

// The header is mkswap's.
func TestSwapAgreesWithMkswap(t *testing.T) {
	b := testBuild(t, nil)
	blank(t, b)
	a := storage.Mkfs{Format: "swap", UUID: "5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10", Label: "swap1"}
	if err := b.swap(a, area{8 * mib, 16 * mib}); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(t.TempDir(), "swap")
	if err := errors.Join(os.WriteFile(theirs, nil, 0o600), os.Truncate(theirs, 16*mib)); err != nil {
		t.Fatal(err)
	}
	say(t, "mkswap", "-U", a.UUID, "-L", a.Label, theirs)
	want, errWant := os.ReadFile(theirs)
	got, errGot := os.ReadFile(b.path)
	if errWant != nil || errGot != nil || !bytes.Equal(got[8*mib:24*mib], want) {
		t.Errorf("it is not what mkswap writes: %v %v", errWant, errGot)
	}
	for want, change := range map[string]storage.Mkfs{
		"arguments": {UUID: a.UUID, Args: []string{"-p", "65536"}}, "UUID": {UUID: "x"}, "more than 16 bytes": {UUID: a.UUID, Label: "a label that is too long"},
	} {
		if err := b.swap(change, area{0, mib}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := b.swap(a, area{0, 4096}); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("got %v", err)
	}
}

func TestVfat(t *testing.T) {
	b := testBuild(t, append(folders("", "boot", "boot/efi", "boot/efi/EFI"), file("boot/efi/EFI/X.EFI", "loader"), sample{"boot/efi/EFI/Y.EFI", "boot/efi/EFI/X.EFI", tar.TypeLink, 0o644}))
	blank(t, b)
	a := storage.Mkfs{Format: "vfat", UUID: "12AB-34CD", Label: "ESP", Args: []string{"-F", "32"}}
	if err := b.vfat(a, area{mib, 40 * mib}, "boot/efi", b.tree.below("boot/efi")); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(t.TempDir(), "esp")
	say(t, "dd", "status=none", "bs=1M", "skip=1", "count=40", "if="+b.path, "of="+part)
	say(t, "fsck.vfat", "-n", part)
	for _, name := range []string{"X", "Y"} {
		if got := say(t, "mtype", "-i", part, "::EFI/"+name+".EFI"); got != "loader" {
			t.Errorf("%s has %q", name, got)
		}
	}
	if got := say(t, "blkid", "-p", part); !strings.Contains(got, `UUID="12AB-34CD"`) || !strings.Contains(got, `LABEL="ESP"`) {
		t.Errorf("blkid says %s", got)
	}
	b.tree.entries["boot/efi/link"] = &entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: "x"}}
	for want, refused := range map[string]storage.Mkfs{
		"/boot/efi/link: a FAT can have files and folders only": a, "a plain FAT32": {UUID: a.UUID, Args: []string{"-F", "16"}}, "volume id": {UUID: "none"},
	} {
		if err := b.vfat(refused, area{mib, 40 * mib}, "boot/efi", b.tree.below("boot/efi")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Files go to the file system that is mounted nearest above them; the folder that
// one is mounted on is on both.
func TestFilesOfEachFilesystem(t *testing.T) {
	device := func(n int) storage.Device { return storage.Device{Disk: "main", Partition: n} }
	b := testBuild(t, append(folders("", "srv", "srv/a", "srv2", "home", "var"), file("srv/a/x", ""), file("srv2/y", "")))
	b.plan = plan.Plan{Storage: storage.Plan{Filesystems: []storage.Filesystem{
		{Device: device(1), Mountpoint: "/"}, {Device: device(2), Mountpoint: "/srv"}, {Device: device(3), Mountpoint: "/srv/a"},
		{Source: "tmpfs", Mountpoint: "/var"}, {Device: device(4), Mountpoint: "/mnt/new"},
	}}}
	if err := b.mountpoints(); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{1: "/ home mnt mnt/new srv srv2 srv2/y var", 2: "srv srv/a", 3: "srv/a srv/a/x", 4: "mnt/new", 5: ""} {
		names := b.filesOn(device(n))
		if len(names) > 0 && names[0] == "" {
			names[0] = "/"
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("partition %d has %q, want %q", n, got, want)
		}
	}
}
