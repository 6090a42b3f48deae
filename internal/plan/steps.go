package plan

import (
	"fmt"
	"strings"

	"github.com/victorinix/vic/internal/event"
)

// steps is the whole install, phase by phase.
func (t target) steps() []Step {
	var s stepList
	s.add(event.Verify, t.verify()...)
	s.add(event.Partition,
		named{"wipe old signatures", WipeDisk{t.disk, t.table}},
		named{"write partition table", WriteTable{t.disk, t.table}})
	s.add(event.Format, t.format()...)
	s.add(event.Copy, t.copy()...)
	s.add(event.Inject, t.inject()...)
	s.add(event.Boot, t.boot()...)
	s.add(event.Finish, named{"unmount", Unmount{t.disk}})
	return s
}

type stepList []Step

type named struct {
	name   string
	action Action
}

func (s *stepList) add(phase event.Phase, actions ...named) {
	for _, a := range actions {
		*s = append(*s, Step{phase, a.name, a.action})
	}
}

// verify checks everything that can be checked before the first write.
func (t target) verify() []named {
	s := []named{
		{"memory", CheckMemory{minMemory}},
		{"tools", CheckTools{t.tools()}},
		{"disk " + t.disk.String(), CheckDisk{t.disk}},
	}
	if names := t.secrets(); len(names) > 0 {
		s = append(s, named{"secrets", CheckSecrets{names}})
	}
	return append(s, named{"payload", CheckPayload{t.req.Payload}})
}

// tools are the foreign programs that run outside the target.
func (t target) tools() []string {
	var names []string
	seen := map[string]bool{}
	for _, e := range t.table.Entries {
		if fs := e.Filesystem; fs != nil && !seen[fs.Format] {
			seen[fs.Format] = true
			names = append(names, "mkfs."+fs.Format)
		}
	}
	return names
}

func (t target) format() []named {
	var s []named
	for _, e := range t.table.Entries {
		if e.Filesystem != nil {
			s = append(s, named{fmt.Sprintf("mkfs.%s %s", e.Filesystem.Format, e.Name), Mkfs{t.disk, e}})
		}
	}
	return s
}

// copy mounts the target, parents first, and fills it.
func (t target) copy() []named {
	var s []named
	for _, e := range t.table.Mounts() {
		s = append(s, named{"mount " + e.Filesystem.Mountpoint, Mount{t.disk, e}})
	}
	return append(s, named{"payload", CopyPayload{t.req.Payload}})
}

// boot makes the disk bootable, and adds the firmware's entry last of all.
func (t target) boot() []named {
	var s []named
	arch, esp := t.req.Payload.Arch, t.esp()
	check := CheckBoot{Arch: arch, Release: t.req.Payload.Kernel, BIOS: t.biosBoot()}
	if esp != nil {
		check.ESP = esp.Filesystem.Mountpoint
		s = append(s, named{"systemd-boot", SystemdBoot{check.ESP, arch}})
	}
	s = append(s, named{"initramfs " + check.Release, Initramfs{check.Release}})
	if check.BIOS {
		s = append(s, named{"GRUB for BIOS", GRUB{t.disk}})
	}
	s = append(s, named{"check", check})
	if esp != nil && t.uefi() {
		s = append(s, named{"EFI boot entry", BootEntry{"vic " + t.req.Item, *esp, t.table.SectorSize, loader(arch)}})
	}
	return s
}

func loader(arch string) string {
	name := map[string]string{"amd64": "x64", "arm64": "aa64"}[arch]
	return `\EFI\systemd\systemd-boot` + name + `.efi`
}

// Describe renders the plan for people, one line a step.
func (p Plan) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "install %s onto %s\n", p.Item, p.Disk)
	fmt.Fprintf(&b, "everything on %s is lost\n\n", p.Disk.Device)
	for _, e := range p.Table.Entries {
		what := "(no file system)"
		if fs := e.Filesystem; fs != nil {
			what = strings.TrimSpace(fs.Format + " " + fs.Mountpoint)
		}
		fmt.Fprintf(&b, "  partition %d  %-8s %10s  %s\n", e.Number, e.Name, Bytes(e.Size(p.Table.SectorSize)), what)
	}
	for i, s := range p.Steps {
		if i == 0 || p.Steps[i-1].Phase != s.Phase {
			fmt.Fprintf(&b, "\n%s\n", s.Phase)
		}
		fmt.Fprintf(&b, "  %s\n", s.Name)
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "\nwarning: %s\n", w)
	}
	return b.String()
}
