package diskimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/disk/image"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
)

// systemdBoot does what bootctl-install(1) does, except for the firmware's
// variables and the random seed.
func (b *build) systemdBoot(a plan.SystemdBoot) error {
	names, err := plan.EFINamesFor(a.Arch)
	if err != nil {
		return err
	}
	b.esp = a.ESP
	from := names.Source()
	if signed := from + ".signed"; b.tree.exists(signed) {
		from = signed
	}
	loader, err := b.tree.read(from)
	if err != nil {
		return err
	}
	for _, to := range names.Paths() {
		if err := b.onESP(to, loader); err != nil {
			return err
		}
	}
	return errors.Join(b.onESP("loader/loader.conf", []byte(plan.LoaderConf)), b.onESP("loader/entries.srel", []byte(plan.LoaderLayout)))
}

func (b *build) onESP(name string, content []byte) error {
	return b.tree.put(path.Join(b.esp, name), owner{mode: 0o644}, content)
}

// entry puts a kernel with its initramfs on the ESP, and describes it as
// kernel-install(8) does: an update of the kernel replaces all of it.
//
//	ESP/debian/RELEASE/{linux,initrd.img-RELEASE}, ESP/loader/entries/debian-RELEASE.conf
func (b *build) entry(release string) error {
	kernel, err := b.tree.read("/boot/vmlinuz-" + release)
	if err != nil {
		return err
	}
	initrd, err := b.tree.read("/boot/initrd.img-" + release)
	if err != nil || b.esp == "" {
		return err
	}
	text, err := b.entryText(release)
	if err != nil {
		return err
	}
	dir := "debian/" + release
	return errors.Join(
		b.onESP(dir+"/linux", kernel),
		b.onESP(dir+"/initrd.img-"+release, initrd),
		b.onESP("loader/entries/debian-"+release+".conf", []byte(text)))
}

// entryText is a boot loader entry of type 1 (UAPI.1 Boot Loader Specification),
// as 90-loaderentry.install writes it.
func (b *build) entryText(release string) (string, error) {
	osRelease, err := b.tree.read("/etc/os-release")
	if err != nil {
		return "", err
	}
	cmdline, err := b.tree.read("/etc/kernel/cmdline")
	if err != nil {
		return "", err
	}
	about := shellVariables(osRelease)
	dir := "/debian/" + release
	return "# Boot Loader Specification type#1 entry\n" +
		"title      " + about["PRETTY_NAME"] + "\n" +
		"version    " + release + "\n" +
		"sort-key   " + about["ID"] + "\n" +
		"options    " + strings.Join(strings.Fields(string(cmdline)), " ") + "\n" +
		"linux      " + dir + "/linux\n" +
		"initrd     " + dir + "/initrd.img-" + release + "\n", nil
}

// shellVariables reads os-release(5): NAME=VALUE, the value in quotes or not.
func shellVariables(b []byte) map[string]string {
	vars := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			vars[name] = strings.Trim(value, `"'`)
		}
	}
	return vars
}

const (
	grubSource = "usr/lib/grub/i386-pc"
	grubTarget = "/boot/grub/i386-pc"
)

// grub makes what grub-install(8) and update-grub(8) would: GRUB's own modules of
// the target, in a core image that is the same on every disk, because it looks
// for its folder on the disk that it was started from.
func (b *build) grub(ctx context.Context, a plan.GRUB) error {
	if len(a.Disks) != 1 {
		return fmt.Errorf("GRUB on %d disks", len(a.Disks))
	}
	boot := b.plan.Storage.Find("/boot/grub")
	if boot == nil || len(boot.Parts) != 1 {
		return errors.New("nothing is mounted that /boot/grub is on")
	}
	modules, err := b.grubModules()
	if err != nil {
		return err
	}
	tools, err := b.programs(ctx, b.config.Tree.Suite, "grub-common")
	if err != nil {
		return err
	}
	core, err := image.BuildCore(ctx, tools, image.Core{
		Dir:     modules,
		Prefix:  fmt.Sprintf("(,gpt%d)%s", boot.Parts[0].Entry.Number, within(*boot, "/boot/grub")),
		Modules: []string{"biosdisk", "part_gpt", grubModule(boot.FSType), "normal", "search_fs_uuid"},
	})
	if err != nil {
		return err
	}
	bootImage, err := os.ReadFile(filepath.Join(modules, "boot.img"))
	if err != nil {
		return err
	}
	e := b.biosBoot()
	mbr, embedded, err := image.EmbedGRUB(bootImage, core, int64(e.FirstLBA), int64(e.LastLBA-e.FirstLBA+1))
	if err != nil {
		return err
	}
	b.mbr, b.core = mbr[:], embedded
	for name, content := range map[string][]byte{"i386-pc/boot.img": bootImage, "i386-pc/core.img": core, "grubenv": grubEnvironment(), "grub.cfg": []byte(b.grubConfig(*boot))} {
		if err := b.tree.put("/boot/grub/"+name, owner{mode: 0o644}, content); err != nil {
			return err
		}
	}
	return nil
}

// grubModules copies GRUB's folder of the target to where grub-mkimage reads it,
// and in the target to where GRUB does.
func (b *build) grubModules() (dir string, err error) {
	if !b.tree.exists("/" + grubSource + "/boot.img") {
		return "", fmt.Errorf("the root file system has no /%s: it lacks the package grub-pc", grubSource)
	}
	if dir, err = os.MkdirTemp(b.tmp, "grub-"); err != nil {
		return "", err
	}
	for _, name := range b.tree.below(grubSource) {
		base := path.Base(name)
		if !slices.Contains([]string{".img", ".mod", ".lst"}, path.Ext(base)) {
			continue
		}
		content, err := b.tree.read(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, base), content, 0o600)
		}
		if err == nil && path.Ext(base) != ".img" {
			err = b.tree.put(grubTarget+"/"+base, owner{mode: 0o644}, content)
		}
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}

// grubModule is GRUB's name of a file system.
func grubModule(fstype string) string {
	if fstype == "vfat" {
		return "fat"
	}
	return "ext2" // and 3 and 4
}

// within is a path as the file system that it is on has it.
func within(f storage.Filesystem, name string) string {
	return path.Join("/", strings.TrimPrefix(name, strings.TrimSuffix(f.Mountpoint, "/")))
}

// grubEnvironment is an empty environment block: 1024 bytes (GRUB's manual,
// "Environment block").
func grubEnvironment() []byte {
	const head = "# GRUB Environment Block\n# WARNING: Do not edit this file by tools other than grub-editenv!!!\n"
	return append([]byte(head), bytes.Repeat([]byte{'#'}, 1024-len(head))...)
}

// grubConfig starts the kernel as the configuration does that update-grub makes,
// at the first update of a kernel, in its place.
func (b *build) grubConfig(boot storage.Filesystem) string {
	osRelease, _ := b.tree.read("/etc/os-release") // entryText has told
	cmdline, _ := b.tree.read("/etc/kernel/cmdline")
	options, release := strings.Join(strings.Fields(string(cmdline)), " "), b.config.Tree.Kernel
	return fmt.Sprintf(`# Made with the image. update-grub makes another one.
set default=0
set timeout=3
terminal_input console
terminal_output console
insmod part_gpt
insmod %s
search --no-floppy --fs-uuid --set=root %s
menuentry '%s' --class debian {
	insmod gzio
	linux %s %s
	initrd %s
}
`, grubModule(boot.FSType), boot.UUID, shellVariables(osRelease)["PRETTY_NAME"],
		within(boot, "/boot/vmlinuz-"+release), options, within(boot, "/boot/initrd.img-"+release))
}

// checkBoot refuses to call the image done if the firmware would not find
// something.
func (b *build) checkBoot(a plan.CheckBoot) error {
	want := []string{"/boot/vmlinuz-" + a.Release, "/boot/initrd.img-" + a.Release}
	if a.Board != nil {
		files, err := boardFiles(*a.Board, a.Release)
		if err != nil {
			return err
		}
		want = append(want, files...)
	}
	if a.ESP != "" {
		names, err := plan.EFINamesFor(a.Arch)
		if err != nil {
			return err
		}
		for _, name := range append(names.Paths(), "debian/"+a.Release+"/linux", "debian/"+a.Release+"/initrd.img-"+a.Release, "loader/entries/debian-"+a.Release+".conf") {
			want = append(want, path.Join(a.ESP, name))
		}
	}
	if a.BIOS {
		want = append(want, "/boot/grub/grub.cfg", grubTarget+"/normal.mod")
	}
	var errs []error
	for _, name := range want {
		if _, e := b.tree.lookup(name); e == nil || b.tree.open(e).Size() == 0 {
			errs = append(errs, fmt.Errorf("%s is missing or empty: %w", name, fs.ErrNotExist))
		}
	}
	if a.BIOS && b.mbr == nil {
		errs = append(errs, errors.New("GRUB is missing"))
	}
	return errors.Join(errs...)
}

// boardFiles are what the firmware of a board reads.
func boardFiles(b request.Board, release string) ([]string, error) {
	board, ok := raspberry.Find(b.Name)
	if !ok {
		return nil, fmt.Errorf("unknown board %s", b.Name)
	}
	names := append([]string{"config.txt", "cmdline.txt", "vmlinuz-" + release, "initrd.img-" + release, board.DeviceTree}, board.Firmware...)
	for _, o := range b.Overlays {
		name, _, _ := strings.Cut(o, ",")
		names = append(names, "overlays/"+name+".dtbo")
	}
	for i, name := range names {
		names[i] = path.Join("/boot/firmware", name)
	}
	return names, nil
}
