package reinstall

import (
	"fmt"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/plan"
)

// complete adds what follows from the rest.
func (t *target) complete(p Plan) Plan {
	p.Warnings = append(append(t.warnings(), p.own()...), p.Install.Warnings...)
	p.Seconds = t.seconds(p)
	return p
}

// seconds is an estimate: two boots, and reading, writing and unpacking the payload
// at the speed of a disk that spins.
func (t *target) seconds(p Plan) int64 {
	const boot, perSecond = 60, 40 << 20
	content := t.Sizes.Payload + t.Request.Payload.TreeSize
	n := 2*boot + content/perSecond
	if p.Hop != nil {
		n += 30 + 2*t.need/perSecond
	}
	return n
}

// Describe is the whole plan, for people.
func (p Plan) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "reinstall %s, the disk that this system runs from: attempt %s\n", p.Disk, p.ID)
	fmt.Fprintf(&b, "\nroom for the stage: %s\n", p.room())
	for _, f := range p.Room.SwapFiles {
		fmt.Fprintf(&b, "  first the swap file %s (%s) is turned off and removed; what is swapped out to it (%s) goes into memory\n", f.Path, plan.Bytes(f.Size), plan.Bytes(f.Used))
	}
	for _, s := range p.Room.Passed {
		fmt.Fprintf(&b, "  not %s\n", s)
	}
	fmt.Fprintf(&b, "  stage: partition %d, %s at %s\n", p.Stage.Number, plan.Bytes(p.Stage.Size), plan.Bytes(p.Stage.Offset))
	if p.Room.Piece != nil {
		fmt.Fprintf(&b, "  or elsewhere in /dev/%s: where its file system has a free piece\n", p.Room.Device)
	}
	if p.Core != nil {
		fmt.Fprintf(&b, "  GRUB for it: partition %d, %s at %s\n", p.Core.Number, plan.Bytes(p.Core.Size), plan.Bytes(p.Core.Offset))
	}
	fmt.Fprintf(&b, "\ninto the RAM system: %s\n", p.enter())
	for _, s := range p.Enter.Passed {
		fmt.Fprintf(&b, "  not by %s\n", s)
	}
	b.WriteString("  if it hangs: the next power cycle starts this system again\n")
	list(&b, "lost, once the RAM system has verified everything", p.Lost)
	list(&b, "kept", p.Kept)
	fmt.Fprintf(&b, "\nback, until then: %s\n", p.back())
	if p.Grow != nil {
		fmt.Fprintf(&b, "at the end %s grows over the stage\n", p.Grow.Mountpoint)
	} else {
		b.WriteString("at the end the room of the stage stays free\n")
	}
	fmt.Fprintf(&b, "about %v until the new system runs\n\nthen, in RAM: %s", (time.Duration(p.Seconds) * time.Second).Round(10*time.Second), p.Install.Describe())
	return b.String()
}

func list(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, l := range lines {
		fmt.Fprintf(b, "  %s\n", l)
	}
}

func (p Plan) room() string {
	switch p.Room.Kind {
	case Free:
		return "free space of the disk"
	case Swap:
		return fmt.Sprintf("the swap partition /dev/%s, which is turned off", p.Room.Device)
	case LVM:
		return fmt.Sprintf("the physical volume /dev/%s of %s is shrunk to %s, online: what is behind that is free", p.Room.Device, p.Room.Group, plan.Bytes(p.Room.Size))
	case Btrfs:
		return fmt.Sprintf("the btrfs at %s (/dev/%s) is shrunk to %s, online", p.Room.Mountpoint, p.Room.Device, plan.Bytes(p.Room.Size))
	case Extent:
		return fmt.Sprintf("the file %s, in one piece: with the commit it becomes a partition, in the place of /dev/%s", p.Room.File, p.Room.Device)
	}
	return fmt.Sprintf("files in %s; the RAM system shrinks /dev/%s to %s and makes the stage behind it", p.Room.Folder, p.Room.Device, plan.Bytes(p.Room.Size))
}

// own are the warnings about the way itself.
func (p Plan) own() []string {
	var list []string
	if p.Hop != nil && p.Enter.Way != BootNext { // see stage.Hop
		list = append(list, fmt.Sprintf("while the RAM system shrinks /dev/%s, a power cut leaves a machine that does not start by itself: nothing but a boot entry of the firmware (--enter bootnext) would lead back into it", p.Room.Device))
	}
	if p.Room.Unused > 0 {
		list = append(list, fmt.Sprintf("%s at the beginning of %s stay unused by the new system: it lies behind the stage", plan.Bytes(p.Room.Unused), p.Disk.Device))
	}
	return list
}

func (p Plan) enter() string {
	from := "the stage"
	switch {
	case p.Enter.ESP != "":
		from = "the EFI system partition at " + p.Enter.ESP
	case p.Room.Folder != "":
		from = p.Room.Folder
	}
	switch p.Enter.Way {
	case Kexec:
		return "kexec; nothing of the firmware is changed before the RAM system has verified everything"
	case BootNext:
		return "the firmware starts it from " + from + ", once (BootNext)"
	case SystemdBoot:
		return "systemd-boot starts it from " + from + ", once (LoaderEntryOneShot)"
	}
	return "GRUB starts it from " + from + ", once (next_entry)"
}

// back is how the attempt is undone.
func (p Plan) back() string {
	undo := map[Room]string{
		Free:   "removes the stage's partition",
		Swap:   "removes the stage's partition, and makes the swap again with its UUID",
		LVM:    "removes the stage's partition, and grows the physical volume again",
		Btrfs:  "removes the stage's partition, and grows the btrfs again",
		Extent: "removes the file",
		Files:  "removes the files, and grows the file system again if it was shrunk",
	}[p.Room.Kind]
	if p.Enter.Way != Kexec {
		undo += ", and the boot entry"
	}
	if len(p.Room.SwapFiles) > 0 {
		undo += "; then it makes " + files(p.Room.SwapFiles) + " again (on, if /etc/fstab says so)"
	}
	return "`vic undo --all` " + undo
}

// Loss is what a person has to know before the answer yes.
func (p Plan) Loss() string {
	var b strings.Builder
	fmt.Fprintf(&b, "This system ends, and %s is installed anew by itself. This will be lost:\n", p.Disk)
	for _, l := range p.Lost {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	if len(p.Room.SwapFiles) > 0 {
		fmt.Fprintf(&b, "Removed before that, for room: %s.\n", files(p.Room.SwapFiles))
	}
	for _, d := range p.Install.Storage.Disks {
		if d.Disk.Device != p.Disk.Device {
			fmt.Fprintf(&b, "Everything on %s too.\n", d.Disk)
		}
	}
	return b.String()
}
