package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/oneshot"
	"github.com/victorinix/vic/internal/plan/reinstall"
	"github.com/victorinix/vic/internal/registration/file"
	"github.com/victorinix/vic/internal/registration/staged"
	"github.com/victorinix/vic/internal/registration/storage"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/volume"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/kexec"
)

// run makes the attempt, and leaves. Whatever fails before this system has begun to
// end takes back all that was changed.
func (r *reinstallRun) run(ctx context.Context) error {
	// A connection that breaks leaves nothing half done: what was agreed to goes on.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	r.clock.Emit(event.Event{Phase: event.Enter, State: event.Start})
	group := attemptGroup + r.id.String()
	store, err := registrations(group, "vic install "+r.req.Item+" --disk "+r.plan.Disk.Device)
	if err != nil {
		return err
	}
	records := &staged.Records{Store: store}
	changing, err := r.attempt(ctx, records)
	if err == nil {
		return records.Close()
	}
	if !changing {
		return errors.Join(err, records.Close())
	}
	undone := undoAttempt(ctx, store, group)
	err = errors.Join(err, r.unload(), records.Close())
	if undone != nil {
		return fail(exitUntouched, errors.Join(err, fmt.Errorf("take back what was changed: %w", undone)), "`vic list registrations` shows what is left, `vic undo --all` takes it back")
	}
	return fail(exitUntouched, err, "everything that was changed for it was taken back: this machine is as it was")
}

// attempt does all that is done before this system begins to end. changing: something
// of it was registered.
func (r *reinstallRun) attempt(ctx context.Context, to *staged.Records) (changing bool, err error) {
	changing = r.plan.Room.Piece != nil
	if err := r.hold(ctx, to); err != nil {
		return changing, err
	}
	files, err := r.files(ctx)
	if err != nil {
		return changing, err
	}
	if r.plan.Enter.Way == reinstall.Kexec {
		if err = r.load(files); err != nil && !changing {
			err = fail(exitRefused, err, "nothing was changed")
		}
	}
	if err == nil {
		changing = true
		err = r.make(ctx, to, files)
	}
	if err := errors.Join(err, files.close()); err != nil {
		return changing, err
	}
	// Told first: whoever reads it may go with the system.
	r.clock.Emit(event.Event{Phase: event.Enter, State: event.Done})
	if err := r.told(); err != nil {
		return changing, err
	}
	return changing, r.leave(ctx)
}

// told is the last word of the old system.
func (r *reinstallRun) told() error {
	if r.flags.json {
		return nil
	}
	// Nobody may be left to read it.
	_, err := fmt.Fprintf(r.stdout, "this system ends now; %s is installed onto %s by itself, in about %d minutes\nif this system comes back instead, `vic status` says why\n",
		r.req.Item, r.plan.Disk, (r.plan.Seconds+59)/60)
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

func (r *reinstallRun) unload() error {
	if !r.loaded {
		return nil
	}
	return kexec.Unload()
}

// load gives the kernel what it jumps into. The documents in this initrd know all
// files of the stage.
func (r *reinstallRun) load(f *attemptFiles) (err error) {
	kernel, err := os.Open(r.bundle.Path(builder.KernelFile))
	if err != nil {
		return err
	}
	defer kernel.Close()
	initrd, err := kexec.Memory("vic-initrd")
	if err != nil {
		return err
	}
	defer initrd.Close()
	if err := r.bundle.StageInitrd(initrd, f.boot); err != nil {
		return err
	}
	_, err = kexec.Load(kexec.Kernel{Image: kernel, Initrd: initrd, Cmdline: f.cmdline})
	r.loaded = err == nil
	return err
}

// make changes the host: room, stage, and what is started once, in this order.
func (r *reinstallRun) make(ctx context.Context, to *staged.Records, f *attemptFiles) error {
	for _, s := range []struct {
		name string
		run  func(context.Context, *staged.Records, *attemptFiles) error
	}{{"make room", r.makeRoom}, {"write the stage", r.writeStage}, {"set what starts next", r.arm}} {
		r.clock.Emit(event.Event{Phase: event.Enter, Step: s.name, State: event.Start})
		if err := s.run(ctx, to, f); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		r.clock.Emit(event.Event{Phase: event.Enter, Step: s.name, State: event.Done})
	}
	return nil
}

func (r *reinstallRun) makeRoom(ctx context.Context, to *staged.Records, f *attemptFiles) error {
	p, room, do := r.plan, r.plan.Room, to.Do
	device := "/dev/" + room.Device
	for _, f := range room.SwapFiles {
		if _, err := do(ctx, storage.GiveUpFile(f.Path)); err != nil {
			return err
		}
	}
	var err error
	switch room.Kind {
	case reinstall.Files:
		return nil
	case reinstall.Extent:
		if !r.held {
			_, err = do(ctx, storage.KeepPiece(room.File, r.piece))
		}
		return err
	case reinstall.Swap:
		if _, err = do(ctx, storage.GiveUp(device, f.doc.FilesystemUUID())); err == nil {
			_, err = do(ctx, storage.Remove(p.Disk.Device, room.Partition))
		}
	case reinstall.LVM:
		if _, err = do(ctx, storage.ResizePhysical(device, room.Size)); err == nil {
			_, err = do(ctx, r.shrinkPartition())
		}
	case reinstall.Btrfs:
		if _, err = do(ctx, storage.Resize(device, room.Size)); err == nil {
			_, err = do(ctx, r.shrinkPartition())
		}
	}
	if err != nil {
		return err
	}
	if p.Core != nil {
		if _, err := do(ctx, storage.Add(p.Disk.Device, r.entry(*p.Core), "")); err != nil {
			return err
		}
	}
	_, err = do(ctx, storage.Add(p.Disk.Device, r.entry(p.Stage), f.doc.FilesystemUUID()))
	return err
}

// shrinkPartition has the partition end with what has shrunk in it.
func (r *reinstallRun) shrinkPartition() *storage.Partition {
	sectors := uint64(r.plan.Room.Size) / uint64(r.plan.After.SectorSize)
	return storage.Change(r.plan.Disk.Device, r.plan.Room.Partition, func(e *layout.Entry) { e.LastLBA = e.FirstLBA + sectors - 1 })
}

// entry is the plan's for a place.
func (r *reinstallRun) entry(at stage.Place) layout.Entry {
	i := slices.IndexFunc(r.plan.After.Entries, func(e layout.Entry) bool { return e.Number == at.Number })
	return r.plan.After.Entries[i]
}

// writeStage writes the stage, and reads it back from the disk; or it leaves its
// files for the RAM system, which makes room for it.
func (r *reinstallRun) writeStage(ctx context.Context, to *staged.Records, f *attemptFiles) error {
	if r.plan.Hop != nil {
		if err := r.leaveFiles(ctx, to.Do, f); err != nil {
			return err
		}
		return r.announceRoom(ctx, to, f)
	}
	dev, err := r.openStage()
	if err != nil {
		return err
	}
	err = r.fillStage(ctx, dev, f)
	if err := errors.Join(err, dev.Close()); err != nil {
		return err
	}
	if r.plan.Extent != nil { // it goes with the file system that has the registrations
		return r.leaveForGRUB(ctx, to.Do, f)
	}
	return to.AddStage(r.plan.Disk.Device, r.plan.Stage) // what is changed from here on is recorded there too
}

// openStage opens the stage's partition, or its place on the disk as long as that is
// in a file.
func (r *reinstallRun) openStage() (*direct.Device, error) {
	if r.plan.Extent != nil {
		return direct.Open(r.plan.Disk.Device, os.O_RDWR, r.plan.Stage.Offset, r.plan.Stage.Size)
	}
	return direct.Open(disk.PartitionPath(r.plan.Disk.Device, r.plan.Stage.Number), os.O_RDWR, 0, 0)
}

// leaveForGRUB leaves what GRUB starts beside a stage that is in no partition.
func (r *reinstallRun) leaveForGRUB(ctx context.Context, do oneshot.Do, f *attemptFiles) error {
	if r.plan.Enter.Way != reinstall.GRUB {
		return nil
	}
	holder, _ := r.holder(f)
	for _, s := range f.doc.Files {
		if s.Name != holder && s.Name != stage.Kernel {
			continue
		}
		if _, err := do(ctx, file.FromReader(r.hopPath(s.Name), 0o600, f.content(s.Name))); err != nil {
			return err
		}
	}
	return nil
}

func (r *reinstallRun) fillStage(ctx context.Context, dev *direct.Device, f *attemptFiles) error {
	progress := func(step string) func(done, total int64) {
		return func(done, total int64) {
			r.clock.Emit(event.Event{Phase: event.Enter, Step: step, State: event.Progress, Done: done, Total: total})
		}
	}
	if dev.Size() != f.doc.Stage.Size {
		return fmt.Errorf("the stage's place has %d bytes, expected %d", dev.Size(), f.doc.Stage.Size)
	}
	if err := volume.Write(ctx, dev, volume.Config{Document: f.doc, SectorSize: dev.SectorSize(), Open: f.open, Progress: progress("write the stage")}); err != nil {
		return err
	}
	if err := volume.Verify(ctx, dev, f.doc, progress("verify the stage")); err != nil {
		return err
	}
	j, err := journal.Open(dev, r.id)
	if err != nil {
		return err
	}
	if err := j.Append(journal.Record{State: journal.Staged}); err != nil {
		return err
	}
	return dev.Sync()
}

// leaveFiles puts the files where the RAM system finds them (room Files).
func (r *reinstallRun) leaveFiles(ctx context.Context, do oneshot.Do, f *attemptFiles) error {
	var doc strings.Builder
	if err := f.doc.Encode(&doc); err != nil {
		return err
	}
	if _, err := do(ctx, file.New(r.hopPath(stage.Self), 0o600, []byte(doc.String()))); err != nil {
		return err
	}
	for _, s := range f.doc.Files {
		if _, err := do(ctx, file.FromReader(r.hopPath(s.Name), 0o600, f.content(s.Name))); err != nil {
			return err
		}
	}
	return nil
}

// announceRoom registers what the RAM system does to make room: it goes by the same
// plan. A power cut behind it leaves the system before with less room.
func (r *reinstallRun) announceRoom(ctx context.Context, to *staged.Records, f *attemptFiles) error {
	room := r.plan.Room
	if _, err := to.Announce(ctx, storage.ShrinkUnmounted("/dev/"+room.Device, room.Size)); err != nil {
		return err
	}
	holds := map[int]string{r.plan.Stage.Number: f.doc.FilesystemUUID()}
	_, err := to.Announce(ctx, storage.Rewrite(r.plan.Disk.Device, *room.Table, holds))
	return err
}

func (r *reinstallRun) hopPath(name string) string {
	return filepath.Join(r.plan.Room.Folder, stage.InVolume(name))
}

func (f *attemptFiles) content(name string) oneshot.Content {
	return func() (io.ReadCloser, error) { return os.Open(f.at[name]) }
}

// leave ends this system. It returns when that has begun.
func (r *reinstallRun) leave(ctx context.Context) error {
	if r.plan.Enter.Way == reinstall.Kexec {
		return kexec.Running(tool.Exec{}).Leave(ctx)
	}
	cmd := tool.Cmd{Name: "reboot"}
	if _, err := os.Stat("/run/systemd/system"); err == nil { // sd_booted(3)
		cmd = tool.Cmd{Name: "systemctl", Args: []string{"reboot"}}
	}
	if _, err := (tool.Exec{}).Run(ctx, cmd); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	return nil
}
