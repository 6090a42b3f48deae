package diskimage

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
)

const release = "6.12.1-test"

// debian is a tree of no more than an image needs: accounts, a kernel that is
// none, real boot loaders.
func debian(t *testing.T, env builder.Env) *builder.Tree {
	t.Helper()
	list := append(accounts(t), folders("usr", "usr/lib", "usr/lib/systemd", "usr/lib/systemd/boot", "usr/lib/systemd/boot/efi", "usr/lib/grub", "usr/lib/grub/i386-pc", "boot", "boot/efi", "etc/systemd", "etc/systemd/system")...)
	list = append(list, file("usr/lib/os-release", "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\n"), sample{"etc/os-release", "../usr/lib/os-release", tar.TypeSymlink, 0o777},
		file("boot/vmlinuz-"+release, strings.Repeat("kernel", 1000)), file("boot/initrd.img-"+release, strings.Repeat("initrd", 2000)),
		file("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "loader"))
	grub, err := builder.Programs(t.Context(), env, "", "grub-pc-bin")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Glob(grub.Path("usr/lib/grub/i386-pc") + "/*")
	if err != nil || len(modules) < 100 {
		t.Fatalf("grub-pc-bin has %d modules, %v", len(modules), err)
	}
	for _, m := range modules {
		b, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, file("usr/lib/grub/i386-pc/"+filepath.Base(m), string(b)))
	}
	return packed(t, list)
}

// packed is a tree as builder.CacheTree leaves it.
func packed(t *testing.T, list []sample) *builder.Tree { return packedFor(t, "amd64", list) }

func packedFor(t *testing.T, arch string, list []sample) *builder.Tree {
	t.Helper()
	tr := testTree(t, list...)
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, builder.TarFile))
	if err != nil {
		t.Fatal(err)
	}
	zw, err := zstd.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tr.writeTar(zw, "", tr.below("")), zw.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(builder.Tree{
		Version: builder.Version, Suite: "trixie", Arch: arch, Kernel: release, TreeSize: 20 * mib, Locale: "C.UTF-8", RootFS: "ext4",
		Files: []builder.File{{Name: builder.TarFile, Size: int64(len(b)), SHA256: fmt.Sprintf("%x", sha256.Sum256(b))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, builder.TreeFile), doc, 0o644); err != nil {
		t.Fatal(err)
	}
	tree, err := builder.OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func config(t *testing.T, tree *builder.Tree) Config {
	t.Helper()
	doc, err := images.Layout(images.DefaultLayout, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	return Config{Tree: tree, Item: "debian", Layout: parsed(t, string(doc)), System: request.System{
		Hostname: "image1", Timezone: "UTC", Locale: "C.UTF-8", Keymap: "us",
		Users: []request.User{{Name: "anna", Sudo: true, SSHKeys: []string{"ssh-ed25519 AAAA anna"}}}, Network: request.Network{Mode: request.NetworkDHCP},
	}}
}

// Foreign tools find an image sound and what it should have in its place; the
// same again is the same.
func TestImageIsSound(t *testing.T) {
	env := archive(t)
	c := config(t, debian(t, env))
	paths := []string{filepath.Join(t.TempDir(), "a.img"), filepath.Join(t.TempDir(), "b.img")}
	for _, path := range paths {
		res, err := Write(t.Context(), env, c, path)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(path); err != nil || st.Size() != res.Size || res.Size%(64*mib) != 0 || res.Size > 2<<30 || st.Mode() != 0o600 || len(res.Warnings) > 0 {
			t.Errorf("%+v, %v, %v", res, st, err)
		}
	}
	say(t, "cmp", paths...)
	if out := say(t, "sgdisk", "-v", paths[0]); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk:\n%s", out)
	}
	root := fmt.Sprintf("%s?offset=%d", paths[0], 514*mib)
	if out := say(t, "e2fsck", "-fn", root); !strings.Contains(out, "Pass 5") {
		t.Errorf("e2fsck:\n%s", out)
	}
	cmdline := say(t, "debugfs", "-R", "cat /etc/kernel/cmdline", root)
	for name, want := range map[string]string{
		"/etc/fstab": " / ext4 defaults,x-systemd.growfs 0 1\n", "/etc/hostname": "image1\n", "/boot/grub/grub.cfg": "linux /boot/vmlinuz-" + release + " root=UUID=",
		"/etc/shadow": "anna:!:20089:", "/home/anna/.ssh/authorized_keys": "ssh-ed25519 AAAA anna\n", "/boot/grub/grubenv": "# GRUB Environment Block\n",
	} {
		if got := say(t, "debugfs", "-R", "cat "+name, root); !strings.Contains(got, want) {
			t.Errorf("%s has %q", name, got)
		}
	}
	esp := fmt.Sprintf("%s@@%d", paths[0], 2*mib)
	say(t, "mdir", "-i", esp, "::EFI/systemd/systemd-bootx64.efi", "::EFI/BOOT/BOOTX64.EFI", "::loader/loader.conf", "::debian/"+release+"/linux")
	entry := say(t, "mtype", "-i", esp, "::loader/entries/debian-"+release+".conf")
	if want := "# Boot Loader Specification type#1 entry\ntitle      Debian GNU/Linux 13 (trixie)\nversion    " + release + "\nsort-key   debian\noptions    " + cmdline +
		"linux      /debian/" + release + "/linux\ninitrd     /debian/" + release + "/initrd.img-" + release + "\n"; entry != want {
		t.Errorf("the entry is\n%s\nwant\n%s", entry, want)
	}
	mbr := make([]byte, 512)
	f, err := os.Open(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(mbr, 0); err != nil || !bytes.Contains(mbr[:440], []byte("GRUB ")) || mbr[0x5c] != 0 || mbr[0x5d] != 8 {
		t.Errorf("the first sector does not start GRUB at sector 2048: %v", err)
	}
}

// A unit is enabled by systemctl, with all that its [Install] says; files of the
// item have their secrets in them.
func TestUnitsAndSecrets(t *testing.T) {
	env := archive(t)
	b := testBuild(t, append(accounts(t), folders("etc/systemd", "etc/systemd/system")...))
	b.programs = func(ctx context.Context, suite string, packages ...string) (programs, error) {
		return builder.Programs(ctx, env, suite, packages...)
	}
	for _, a := range []plan.Action{
		plan.WriteFile{Path: "/etc/systemd/system/app.service", Mode: 0o644, Content: "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nAlso=app.timer\nAlias=web.service\n"},
		plan.WriteFile{Path: "/etc/systemd/system/app.timer", Mode: 0o644, Content: "[Timer]\nOnBootSec=1\n[Install]\nWantedBy=timers.target\n"},
		plan.EnableUnit{Name: "app.service"},
		plan.PutFile{Path: "/etc/app/key", Mode: 0o640, Owner: "root", Group: "users", Content: []template.Segment{{Text: "key="}, {Secret: "password"}}},
	} {
		if err := b.do(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"etc/systemd/system/multi-user.target.wants/app.service": "/etc/systemd/system/app.service",
		"etc/systemd/system/timers.target.wants/app.timer":       "/etc/systemd/system/app.timer",
		"etc/systemd/system/web.service":                         "/etc/systemd/system/app.service",
	} {
		if e := b.tree.entries[name]; e == nil || e.Linkname != want {
			t.Errorf("%s is %+v", name, e)
		}
	}
	if e := b.tree.entries["etc/app/key"]; e == nil || e.Mode != 0o640 || e.Gid != 100 || string(e.data) != "key=$6$salt$hash" {
		t.Errorf("the file is %+v", e)
	}
	for want, a := range map[string]plan.Action{
		"none.service": plan.EnableUnit{Name: "none.service"}, "it was not given": plan.PutFile{Path: "/x", Owner: "root", Content: []template.Segment{{Secret: "other"}}},
		"made with the locale": plan.Locale{Name: "de_DE.UTF-8"}, `no way to do "host-keys"`: plan.HostKeys{},
	} {
		if want == "made with the locale" {
			b.config.Tree = &builder.Tree{Locale: "C.UTF-8"}
		}
		if err := b.do(t.Context(), a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// What fails leaves nothing behind, and what cannot be is refused before.
func TestNothingIsLeft(t *testing.T) {
	noTools := errors.New("no archive")
	env := builder.Env{Cache: t.TempDir(), Time: epoch, Sink: event.Discard}
	env.Tools = func(context.Context, string, string) (*deb.Archive, error) { return nil, noTools }
	tree := packed(t, append(accounts(t), folders("boot")...))
	path := filepath.Join(t.TempDir(), "disk.img")
	_, err := Write(t.Context(), env, config(t, tree), path)
	if err == nil || !strings.Contains(err.Error(), "systemd-boot: ") {
		t.Errorf("a tree without boot loader: %v", err)
	}
	c := config(t, tree)
	c.Size = 600 * mib
	var refused *builder.RefusedError
	if _, err := Write(t.Context(), env, c, path); !errors.As(err, &refused) || !strings.Contains(err.Error(), "too small") {
		t.Errorf("600 MiB: %v", err)
	}
	c = config(t, tree)
	c.Layout = parsed(t, onDisk(`root: {size: 100%, content: {type: filesystem, format: xfs, mountpoint: /}}`))
	if _, err := Write(t.Context(), env, c, path); !errors.As(err, &refused) || !errors.Is(err, ErrLayout) {
		t.Errorf("xfs: %v", err)
	}
	c = config(t, tree)
	c.Layout = layout.Layout{}
	if _, err := Write(t.Context(), env, c, path); !errors.As(err, &refused) {
		t.Errorf("no disk: %v", err)
	}
	for _, dir := range []string{filepath.Dir(path), env.Cache} {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("%s has %v, %v", dir, left, err)
		}
	}
}
