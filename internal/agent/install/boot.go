package install

import (
	"context"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/tool"
)

// systemdBoot does what bootctl-install(1) does, except for the firmware's
// variables and the random seed, which need the machine to be booted by UEFI.
// bootctl update, which the package runs at updates, takes over from here.
func (t target) systemdBoot(a plan.SystemdBoot) (note string, err error) {
	names, err := plan.EFINamesFor(a.Arch)
	if err != nil {
		return "", err
	}
	from := names.Source()
	if signed := from + ".signed"; t.exists(signed) {
		from = signed
	}
	for _, to := range names.Paths() {
		if err := t.copyFile(from, path.Join(a.ESP, to)); err != nil {
			return "", err
		}
	}
	for name, text := range map[string]string{"loader/loader.conf": plan.LoaderConf, "loader/entries.srel": plan.LoaderLayout} {
		if err := t.put(path.Join(a.ESP, name), file{mode: 0o644, content: strings.NewReader(text)}); err != nil {
			return "", err
		}
	}
	if err := t.mkdir(path.Join(a.ESP, "loader/entries")); err != nil {
		return "", fmt.Errorf("make loader entries: %w", err)
	}
	return from, nil
}

func (t target) copyFile(from, to string) error {
	in, err := t.root.Open(from, unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("copy to %s: %w", to, err)
	}
	defer in.Close()
	return t.put(to, file{mode: 0o644, content: in})
}

// grub installs GRUB into the BIOS boot partition and the first sector of each
// disk.
func (t target) grub(ctx context.Context, a plan.GRUB) (note string, err error) {
	var disks []plan.Disk
	for _, want := range a.Disks {
		d, err := t.findDisk(want)
		if err != nil {
			return "", err
		}
		disks = append(disks, d)
	}
	selections, note := grubSelections(disks)
	err = t.inside(ctx, func() error {
		for _, c := range grubCommands(disks, selections) {
			if _, err := t.run(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("install GRUB: %w", err)
	}
	return note, nil
}

func grubCommands(disks []plan.Disk, selections string) []tool.Cmd {
	var list []tool.Cmd
	for _, d := range disks {
		list = append(list, tool.Cmd{Name: "grub-install", Args: []string{"--target=i386-pc", "--boot-directory=/boot", "--no-floppy", d.Device}})
	}
	return append(list, tool.Cmd{Name: "update-grub"}, tool.Cmd{Name: "debconf-set-selections", Stdin: strings.NewReader(selections)})
}

// grubSelections answers grub-pc's questions, so that an update of the package
// installs GRUB on these disks again. That takes a name that udev gives to the
// disk at every boot; a disk that has none is left out, because /dev/sda may
// be another disk tomorrow.
func grubSelections(disks []plan.Disk) (selections, note string) {
	var names, nameless []string
	for _, d := range disks {
		if name := stableName(d); name != "" {
			names = append(names, name)
		} else {
			nameless = append(nameless, d.String())
		}
	}
	if len(nameless) > 0 {
		note = fmt.Sprintf("warning: %s has no name in /dev/disk/by-id that stays: after an update of grub-pc, run grub-install by hand", strings.Join(nameless, ", "))
	}
	return fmt.Sprintf("grub-pc grub-pc/install_devices multiselect %s\ngrub-pc grub-pc/install_devices_empty boolean %t\n",
		strings.Join(names, ", "), len(names) == 0), note
}

// stableName is the link that the rules of udev (60-persistent-storage.rules)
// make for a disk, as far as its identity alone tells; else empty.
func stableName(d plan.Disk) string {
	name := path.Base(d.Device)
	switch {
	case strings.HasPrefix(name, "vd") && plainID(d.Serial):
		return "/dev/disk/by-id/virtio-" + d.Serial
	case strings.HasPrefix(name, "nvme") && plainID(d.WWN):
		return "/dev/disk/by-id/nvme-" + d.WWN
	case strings.HasPrefix(name, "sd") && strings.HasPrefix(d.WWN, "0x") && plainID(d.WWN):
		return "/dev/disk/by-id/wwn-" + d.WWN
	case strings.HasPrefix(name, "sd") && strings.HasPrefix(d.WWN, "naa.") && plainID(d.WWN):
		return "/dev/disk/by-id/wwn-0x" + strings.TrimPrefix(d.WWN, "naa.")
	}
	return ""
}

// plainID says that udev keeps every character of an identity in a link's name.
func plainID(s string) bool {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("-._+:#=@", r) {
			return false
		}
	}
	return s != ""
}

// bootEntry adds the firmware's boot entry. What goes wrong is a warning: the
// loader at the fallback path starts as well.
func bootEntry(a plan.BootEntry, v efi.Variables) (note string) {
	if v == nil {
		return "warning: no boot entry: the firmware has no EFI variables; the fallback path boots"
	}
	p := a.Partition
	guid, err := efi.ParseGUID(p.GUID.String())
	if err != nil {
		return "warning: no boot entry: " + err.Error()
	}
	num, err := efi.AddBootEntry(v, efi.Entry{
		Label: a.Label,
		Partition: efi.HardDrive{
			Number: uint32(p.Number), Start: p.FirstLBA, Size: p.LastLBA - p.FirstLBA + 1,
			Partition: guid,
		},
		Path: a.Loader,
	}, true)
	if err != nil {
		return "warning: no boot entry, the fallback path boots: " + err.Error()
	}
	return fmt.Sprintf("Boot%04X", num)
}
