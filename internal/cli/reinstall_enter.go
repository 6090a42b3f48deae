package cli

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/oneshot"
	"github.com/victorinix/vic/internal/plan/reinstall"
	"github.com/victorinix/vic/internal/registration/boot"
	"github.com/victorinix/vic/internal/registration/staged"
	"github.com/victorinix/vic/internal/stage"
)

// arm has the machine start the RAM system once.
func (r *reinstallRun) arm(ctx context.Context, to *staged.Records, f *attemptFiles) error {
	do := to.Do
	name, _ := r.holder(f)
	esp := r.plan.Enter.ESP
	if err := r.announceEntry(ctx, to); err != nil {
		return err
	}
	if esp != "" {
		if err := oneshot.PutUKI(ctx, do, esp, r.id, f.content(name)); err != nil {
			return err
		}
	}
	switch r.plan.Enter.Way {
	case reinstall.BootNext:
		part, path, err := r.executable(name)
		if err != nil {
			return err
		}
		return oneshot.BootNext(ctx, do, part, path)
	case reinstall.SystemdBoot:
		return oneshot.SystemdBoot(ctx, do, esp, r.id)
	case reinstall.GRUB:
		folder, err := oneshot.GRUBFolder("/")
		if err != nil {
			return err
		}
		return oneshot.GRUB(ctx, do, folder, r.id, r.grubStart(name, f))
	}
	return nil // kexec is loaded
}

// announceEntry registers the boot entry that the RAM system makes for the stage
// just before it commits, unless it finds the one that it was started by.
func (r *reinstallRun) announceEntry(ctx context.Context, to *staged.Records) error {
	if r.plan.Firmware != "uefi" || r.plan.Enter.Way == reinstall.BootNext && r.plan.Enter.ESP == "" {
		return nil
	}
	part, err := hardDrive(r.stageEntry())
	if err != nil {
		return err
	}
	_, err = to.Announce(ctx, &boot.Entry{
		Label: stage.EntryLabel, Partition: part, Path: oneshot.FirmwarePath(stage.UKI(r.facts.HW.Arch)), Place: boot.Last, Floating: true,
	})
	return err
}

// stageEntry is the stage's in the table that there will be.
func (r *reinstallRun) stageEntry() layout.Entry {
	table := r.plan.After
	if r.plan.Room.Table != nil {
		table = *r.plan.Room.Table
	}
	i := slices.IndexFunc(table.Entries, func(e layout.Entry) bool { return e.Number == r.plan.Stage.Number })
	return table.Entries[i]
}

// hardDrive is how the firmware finds a partition.
func hardDrive(e layout.Entry) (efi.HardDrive, error) {
	guid, err := efi.ParseGUID(e.GUID.String())
	return efi.HardDrive{Number: uint32(e.Number), Start: e.FirstLBA, Size: e.LastLBA - e.FirstLBA + 1, Partition: guid}, err
}

// executable is where the firmware finds the RAM system.
func (r *reinstallRun) executable(name string) (part efi.HardDrive, path string, err error) {
	entry, path := layout.Entry{}, name
	if r.plan.Enter.ESP == "" {
		entry = r.entry(r.plan.Stage)
	} else {
		path = oneshot.UKI(r.id)
		d, err := r.disk()
		if err != nil {
			return part, "", err
		}
		for _, p := range d.Partition {
			if slices.Contains(p.Mounts, r.plan.Enter.ESP) {
				i := slices.IndexFunc(r.plan.Before.Entries, func(e layout.Entry) bool { return e.Number == p.Number })
				entry = r.plan.Before.Entries[i]
			}
		}
	}
	part, err = hardDrive(entry)
	return part, path, err
}

// grubStart is what GRUB starts: from the stage, or from the files of the hop.
func (r *reinstallRun) grubStart(holder string, f *attemptFiles) oneshot.Start {
	s := oneshot.Start{Filesystem: f.doc.FilesystemUUID(), Format: "vfat", Table: grubTable(r.plan.Before), Cmdline: f.cmdline}
	top := "/"
	switch {
	case r.plan.Hop != nil:
		s.Filesystem, s.Format, top = r.plan.Hop.Filesystem, r.plan.Hop.Format, r.plan.Hop.Folder
	case r.plan.Extent != nil:
		s.Filesystem, s.Format, top = r.plan.Room.UUID, r.plan.Room.Format, filepath.Join("/", strings.TrimPrefix(r.plan.Room.Folder, r.plan.Room.Mountpoint))
	}
	at := func(name string) string { return filepath.Join(top, stage.InVolume(name)) }
	if r.plan.Firmware == "uefi" {
		s.Executable = at(holder)
	} else {
		s.Kernel, s.Initrd = at(stage.Kernel), at(stage.Initrd)
	}
	return s
}
