package builder

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// testBundle is a bundle whose files are no kernel and no archive.
func testBundle(t *testing.T, arch string) *Bundle {
	t.Helper()
	dir := t.TempDir()
	var early bytes.Buffer
	if err := initramfs.WriteSegment(&early, []initramfs.File{initramfs.Regular("init", 0o755, []byte("init"))}, DefaultTime); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, dir, map[string]string{KernelFile: "kernel", InitramfsFile: early.String(), SystemFile: strings.Repeat("erofs", 100)})
	return &Bundle{Version: Version, Arch: arch, Kernel: "6.12-test", Cmdline: bundleCmdline, dir: dir}
}

// cpioListing is what cpio(1) says of an archive.
func cpioListing(t *testing.T, archive []byte) string {
	t.Helper()
	run := tooltest.Need(t, "cpio")
	var all strings.Builder
	out, err := run.Run(t.Context(), tool.Cmd{Name: "cpio", Args: []string{"-itv", "--numeric-uid-gid"}, Stdin: bytes.NewReader(archive)})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out.Stdout)) {
		f := strings.Fields(line)
		fmt.Fprintln(&all, f[0], f[4], f[len(f)-1])
	}
	return all.String()
}

func TestWriteNetboot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	b := testBundle(t, "amd64")
	described, err := b.WriteNetboot(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); got != "boot.ipxe initrd vmlinuz" || len(described) != 3 {
		t.Errorf("got %s, %v", got, described)
	}
	for _, f := range described {
		if err := f.verify(dir); err != nil {
			t.Error(err)
		}
	}
	script, err := os.ReadFile(filepath.Join(dir, ScriptFile))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "boot.ipxe", string(script))
	golden(t, "boot-arm64.ipxe", testBundle(t, "arm64").netbootScript())
	// The initrd is the initramfs and a segment with the system, in one file.
	initrd, err := os.ReadFile(filepath.Join(dir, InitrdFile))
	if err != nil {
		t.Fatal(err)
	}
	early, err := os.ReadFile(b.Path(InitramfsFile))
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := bytes.CutPrefix(initrd, early)
	if !ok {
		t.Fatal("the initrd does not begin with the initramfs")
	}
	if got := cpioListing(t, rest); got != "-rw-r--r-- 500 system.erofs\n" {
		t.Errorf("got %s", got)
	}
}

func TestNetbootOfIncompleteBundleWritesNothing(t *testing.T) {
	b := testBundle(t, "amd64")
	if err := os.Remove(b.Path(SystemFile)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	_, err := b.WriteNetboot(dir)
	wantError(t, err, SystemFile, "no such file")
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is there: %v", err)
	}
}

func TestGrubConfig(t *testing.T) {
	b := testBundle(t, "amd64")
	img := &efi.Image{Sections: []efi.Section{{Name: ".linux", Offset: 4096, VirtualSize: 1000}, {Name: ".initrd", Offset: 8192, VirtualSize: 5000}}}
	blocks := func(path string, offset, size int64) (string, error) {
		return fmt.Sprintf("(%s:%d+%d)", path, offset, size), nil
	}
	got, err := b.grubConfig("EFI/BOOT/BOOTX64.EFI", img, blocks)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "grub.cfg", got)
	img.Sections = img.Sections[:1]
	_, err = b.grubConfig("x", img, blocks)
	wantError(t, err, "UKI has no section .initrd")
}

func TestRequestSegment(t *testing.T) {
	var with, without, again bytes.Buffer
	for w, secrets := range map[*bytes.Buffer][]byte{&with: []byte("SECRET"), &again: []byte("SECRET"), &without: nil} {
		if err := RequestSegment(w, []byte(`{"version":1}`), secrets); err != nil {
			t.Fatal(err)
		}
	}
	if got := cpioListing(t, with.Bytes()); got != "drwxr-xr-x 0 vic\n-rw------- 13 vic/request.json\n-rw------- 6 vic/secrets.json\n" {
		t.Errorf("got %s", got)
	}
	if got := cpioListing(t, without.Bytes()); got != "drwxr-xr-x 0 vic\n-rw------- 13 vic/request.json\n" {
		t.Errorf("got %s", got)
	}
	if !bytes.Contains(with.Bytes(), []byte(`{"version":1}`)) || !bytes.Contains(with.Bytes(), []byte("SECRET")) {
		t.Error("the content is not in it")
	}
	if !bytes.Equal(with.Bytes(), again.Bytes()) {
		t.Error("two segments differ")
	}
}

func TestFileOrigin(t *testing.T) {
	for _, tt := range []struct{ origin, name, want string }{
		{initramfs.OriginModule, "usr/lib/modules/6.12/kernel/fs/ext4/ext4.ko.xz", "module:ext4"},
		{initramfs.OriginFirmware, "usr/lib/firmware/intel/x.ucode", "firmware:intel/x.ucode"},
		{initramfs.OriginCommand, "bbin/ls", "command:ls"},
		{initramfs.OriginIndex, "usr/lib/modules/6.12/modules.dep", "vic:module index"},
		{initramfs.OriginInit, "bbin/bb", "vic:vic-init and its commands"},
		{"config", "etc/x", "vic:config"},
	} {
		if got := fileOrigin(tt.origin, tt.name); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}

func TestInstallerKey(t *testing.T) {
	key := func(change func(*installerBuild)) string {
		t.Helper()
		b := installerBuild{env: Env{Time: DefaultTime}, spec: InstallerSpec{Item: "installer", Arch: "amd64", Modules: []string{"storage"}},
			packages: []deb.Package{{Name: "linux", Version: "6.12", SHA256: "a"}}}
		change(&b)
		k, err := b.key()
		if err != nil {
			tooltest.Missing(t, err.Error())
		}
		return k
	}
	same := key(func(b *installerBuild) { b.env.Cache = "/elsewhere" })
	if other := key(func(*installerBuild) {}); other != same || len(same) != 32 {
		t.Errorf("got %s and %s", same, other)
	}
	seen := map[string]bool{same: true}
	for name, change := range map[string]func(*installerBuild){
		"modules":  func(b *installerBuild) { b.spec.Modules = nil },
		"programs": func(b *installerBuild) { b.spec.Programs = []string{"mkfs.ext4"} },
		"arch":     func(b *installerBuild) { b.spec.Arch = "arm64" },
		"version":  func(b *installerBuild) { b.spec.Vic = "v1" },
		"time":     func(b *installerBuild) { b.env.Time = b.env.Time.AddDate(1, 0, 0) },
		"hash":     func(b *installerBuild) { b.packages[0].SHA256 = "b" },
	} {
		k := key(change)
		if seen[k] {
			t.Errorf("%s does not change the key", name)
		}
		seen[k] = true
	}
}

func TestForeignFormatsNeedTheirPackages(t *testing.T) {
	env := testEnv(t, baseFiles)
	env.Tools = func(ctx context.Context, suite, arch string) (*deb.Archive, error) {
		return env.Archive(ctx, suite, testSpec().Arch)
	}
	dir := filepath.Join(t.TempDir(), "out")
	_, err := testBundle(t, "amd64").WriteUKI(t.Context(), env, dir)
	wantError(t, err, "systemd-boot-efi")
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is there: %v", err)
	}
}
