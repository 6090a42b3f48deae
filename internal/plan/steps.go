package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan/storage"
)

// steps is the whole install, phase by phase.
func (t target) steps() []Step {
	var s stepList
	s.add(event.Verify, t.verify()...)
	for _, step := range t.storage.Create {
		if _, verified := step.Action.(storage.CheckState); !verified {
			s = append(s, step)
		}
	}
	s = append(s, t.mounts()...)
	s.add(event.Copy, t.copy()...)
	s.add(event.Inject, t.inject()...)
	s.add(event.Boot, t.boot()...)
	return append(s, t.unmounts()...)
}

type stepList []Step

type named struct {
	name   string
	action Action
}

func (s *stepList) add(phase event.Phase, actions ...named) {
	for _, a := range actions {
		*s = append(*s, Step{Phase: phase, Name: a.name, Action: a.action})
	}
}

// verify checks everything that can be checked before the first write.
func (t target) verify() []named {
	s := []named{
		{"memory", CheckMemory{minMemory}},
		{"tools", CheckTools{t.storage.Programs}},
	}
	for _, step := range t.storage.Create {
		if check, ok := step.Action.(storage.CheckState); ok {
			s = append(s, named{"disk " + check.Disk.String(), check})
		}
	}
	if names := t.secrets(); len(names) > 0 {
		s = append(s, named{"secrets", CheckSecrets{names}})
	}
	if t.oldHostKeys() {
		s = append(s, named{"SSH host keys", CheckHostKeys{}})
	}
	if p := t.req.Payload; p.Source.URL != "" {
		s = append(s, named{"payload at " + p.Source.URL, CheckDownload{p.Source.URL, p.Size}})
	}
	if t.req.Payload.Source.Arrives() {
		return s // when there is a place for it
	}
	return append(s, named{"payload", CheckPayload{Payload: t.req.Payload}})
}

// payloadFile is where a payload is that arrives: on the disk, for the machine may
// have less memory than the payload has bytes.
const payloadFile = "/.vic-payload"

// copy fills the target with the payload's tree.
func (t target) copy() []named {
	p := t.req.Payload
	if p.Source.Arrives() {
		arrival := named{"receive " + Bytes(p.Size) + " into " + payloadFile, ReceivePayload{payloadFile, p.Size}}
		if p.Source.URL != "" {
			arrival = named{"download " + Bytes(p.Size) + " into " + payloadFile, DownloadPayload{payloadFile, p.Source.URL, p.Size}}
		}
		return []named{
			arrival,
			{"verify " + payloadFile, CheckPayload{p, payloadFile}},
			{"payload", CopyPayload{p, payloadFile}},
			{"remove " + payloadFile, RemovePayload{payloadFile}},
		}
	}
	return []named{{"payload", CopyPayload{Payload: p}}}
}

// mounts are the steps that mount the target. What has no device of its own
// (tmpfs, bind) matters only when the system runs, and nothing is swapped to
// the disks that are written.
func (t target) mounts() []Step {
	return slices.DeleteFunc(slices.Clone(t.storage.Mount), func(s Step) bool {
		switch a := s.Action.(type) {
		case storage.SwapOn:
			return true
		case storage.Mount:
			return a.Device == storage.Device{} && a.UUID == "" && a.FSType != "zfs"
		}
		return false
	})
}

func (t target) unmounts() []Step {
	return slices.DeleteFunc(slices.Clone(t.storage.Unmount), func(s Step) bool {
		_, swap := s.Action.(storage.SwapOff)
		return swap
	})
}

// boot makes the disk bootable, and adds the firmware's entry last of all.
func (t target) boot() []named {
	var s []named
	arch, esp := t.req.Payload.Arch, t.esp()
	check := CheckBoot{Arch: arch, Release: t.req.Payload.Kernel, BIOS: len(t.biosDisks()) > 0, Board: t.req.System.Board}
	if check.Board != nil {
		return []named{{"initramfs " + check.Release, Initramfs{check.Release, t.keepsInitramfs()}}, {"check", check}}
	}
	if esp != nil {
		check.ESP = esp.Mountpoint
		s = append(s, named{"systemd-boot", SystemdBoot{check.ESP, arch}})
	}
	s = append(s, named{"initramfs " + check.Release, Initramfs{check.Release, t.keepsInitramfs()}})
	if check.BIOS {
		s = append(s, named{"GRUB for BIOS", GRUB{t.biosDisks()}})
	}
	s = append(s, named{"check", check})
	if esp != nil && t.uefi() {
		s = append(s, t.bootEntries(*esp)...)
	}
	return s
}

// keepsInitramfs tells whether what this target would make is the initramfs
// that the payload has: with the drivers of any machine, for a root file system
// on a partition. More gets into one for encrypted disks, volumes, arrays,
// other file systems, hibernation, and the names of network cards; and an
// item's files may change what its hooks find.
func (t target) keepsInitramfs() bool {
	root := t.root()
	if root.FSType != t.req.Payload.RootFS || root.Device.Disk == "" || t.at("/usr") != nil {
		return false
	}
	for path, content := range t.storage.Boot.Files {
		switch {
		case path == "/etc/fstab", path == "/etc/initramfs-tools/conf.d/resume" && content == "RESUME=none\n":
		default:
			return false
		}
	}
	return len(t.storage.Boot.Keys)+len(t.links())+len(t.injected) == 0
}

// bootEntries has one for each partition that the ESP is on: of an ESP on a
// RAID 1, the firmware sees every member as one by itself.
func (t target) bootEntries(esp storage.Filesystem) []named {
	var s []named
	for i, p := range slices.Backward(esp.Parts) { // each goes first: the first disk's last
		label, name := "vic "+t.req.Item, "EFI boot entry"
		if i > 0 {
			label, name = fmt.Sprintf("%s (disk %d)", label, i+1), fmt.Sprintf("%s %d", name, i+1)
		}
		s = append(s, named{name, BootEntry{label, p.Entry, p.SectorSize, loader(t.req.Payload.Arch)}})
	}
	return s
}

func loader(arch string) string {
	name := map[string]string{"amd64": "x64", "arm64": "aa64"}[arch]
	return `\EFI\systemd\systemd-boot` + name + `.efi`
}

// Describe renders the plan for people: each disk before and after, and one
// line a step.
func (p Plan) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "install %s onto %s\n", p.Item, p.Disks())
	for _, d := range p.Storage.Disks {
		b.WriteString("\n" + d.Picture())
	}
	b.WriteString(p.describeNames())
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

// Disks names all disks that are written, for people.
func (p Plan) Disks() string {
	var names []string
	for _, d := range p.Storage.Disks {
		names = append(names, d.Disk.String())
	}
	return strings.Join(names, " and ")
}

// Devices are the paths of all disks that are written, as they are now: what a
// person types to confirm.
func (p Plan) Devices() string {
	var names []string
	for _, d := range p.Storage.Disks {
		names = append(names, d.Disk.Device)
	}
	return strings.Join(names, " ")
}

// Loss says for people what will not be there any more, a line each.
func (p Plan) Loss() string {
	var b strings.Builder
	for _, d := range p.Storage.Disks {
		kept := d.After != nil && slices.ContainsFunc(d.After.Entries, func(e layout.Entry) bool { return e.Kept })
		if !kept {
			fmt.Fprintf(&b, "Everything on %s will be lost.\n", d.Disk)
			continue
		}
		fmt.Fprintf(&b, "On %s, what is kept stays; this will be lost:\n", d.Disk)
		for _, l := range d.Lost {
			fmt.Fprintf(&b, "  %s\n", l)
		}
	}
	return b.String()
}
