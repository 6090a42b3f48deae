package reinstall

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/resize"
	"github.com/victorinix/vic/internal/agent/reinstall/finish"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	diskplan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/volume"
)

// hop makes the stage from the files that the system before has left in a file
// system of its own: it makes room, and writes them there.
//
// What a power cut in it is followed by: the system before, as long as no ext4 is
// being shrunk. resize2fs cannot be cut off: what it leaves is no file system
// until it has been finished. So while it works the RAM system comes first in the
// firmware's boot order, and finishes it. Where the firmware cannot be told (BIOS,
// a boot loader's one-shot entry), and so nothing would come back but the system
// before with a root that it cannot read, that window is said to be open.
func (r *run) hop(ctx context.Context) error {
	device, err := r.hopDevice()
	if err != nil {
		return err
	}
	steps, err := r.roomSteps()
	if err != nil {
		return err
	}
	cut, err := r.interrupted(device, steps)
	if err != nil {
		return err
	}
	if !cut {
		if err := r.verifyHop(ctx, device); err != nil {
			return err
		}
	}
	if err := r.makeRoom(ctx, steps, device); err != nil {
		return err
	}
	if err := r.scan(ctx); err != nil {
		return err
	}
	return r.writeStage(ctx, device)
}

// hopDevice finds the partition whose file system has the files.
func (r *run) hopDevice() (string, error) {
	var found []string
	for _, d := range r.facts.HW.Disk {
		for _, p := range d.Partition {
			for _, c := range p.Content {
				if c.UUID == r.Document.Hop.Filesystem && c.Type == r.Document.Hop.Format {
					found = append(found, disk.PartitionPath("/dev/"+d.Name, p.Number))
				}
			}
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("find the %s %s with the stage's files: %d partitions have it: %q", r.Document.Hop.Format, r.Document.Hop.Filesystem, len(found), found)
	}
	return found[0], nil
}

// room is the part of a storage plan that makes room.
type room struct {
	steps []diskplan.Step
	disks map[string]plan.Disk
}

func (r *run) roomSteps() (room, error) {
	if t := r.Document.Hop.Table; t != nil {
		return r.roomInMBR(*t)
	}
	l := r.Document.Hop.Layout
	asked := map[string]request.DiskSelector{}
	for name := range l.Disk {
		asked[name] = r.Document.Disk
	}
	if len(asked) != 1 {
		return room{}, fmt.Errorf("make room: the layout has %d disks instead of the one of the stage", len(asked))
	}
	states, err := plan.SelectDisks(l, asked, r.facts)
	if err != nil {
		return room{}, err
	}
	p, err := diskplan.New(diskplan.Config{Layout: l, Disks: states, Seed: r.Document.ID})
	if err != nil {
		return room{}, err
	}
	out := room{disks: map[string]plan.Disk{}}
	for _, d := range p.Disks {
		out.disks[d.Name] = d.Disk
		for _, e := range d.Lost {
			return out, fmt.Errorf("making room would lose something of the system before: %s", e)
		}
	}
	for _, s := range p.Create {
		if _, makes := s.Action.(diskplan.Mkfs); makes {
			return out, fmt.Errorf("making room would make a file system: %s", s.Name)
		}
		out.steps = append(out.steps, s)
	}
	return out, nil
}

// shrinks are the partitions of which an ext4 is made smaller.
func (r *run) shrinks(s room) []string {
	var list []string
	for _, step := range s.steps {
		a, ok := step.Action.(diskplan.Resize)
		if ok && a.To < a.From && len(a.Layers) == 1 && slices.Contains([]string{"ext2", "ext3", "ext4"}, a.Layers[0].Type) {
			list = append(list, disk.PartitionPath(s.disks[a.Device.Disk].Device, a.Device.Partition))
		}
	}
	return list
}

// interrupted says whether an earlier run was cut off while it shrank a file
// system: it had verified the files before, and if they are in that one they
// cannot be read now.
func (r *run) interrupted(_ string, s room) (bool, error) {
	for _, device := range r.shrinks(s) {
		if cut, err := resize.Interrupted(device); err != nil || cut {
			return cut, err
		}
	}
	return false, nil
}

// withHop mounts the file system with the files while f runs.
func (r *run) withHop(ctx context.Context, device string, options []string, f func(folder string) error) (err error) {
	dir := r.Dir + "-hop"
	if r.Document.Hop.Format == "btrfs" {
		options = append(options, "subvolid=5")
	}
	if err := r.Disks.Mount(ctx, device, dir, r.Document.Hop.Format, options); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Disks.Unmount(context.WithoutCancel(ctx), dir)) }()
	return f(filepath.Join(dir, r.Document.Hop.Folder))
}

// readOnly are options of a mount that writes nothing, not even a journal's replay
// where that can be left out.
var readOnly = []string{"ro", "nodev", "nosuid", "noexec"}

// verifyHop compares all files with their hashes. Nothing was changed yet.
func (r *run) verifyHop(ctx context.Context, device string) error {
	return r.withHop(ctx, device, readOnly, func(folder string) error {
		if err := r.completeFrom(folder); err != nil {
			return err
		}
		for _, f := range r.Document.Files {
			r.tell("verifying %s", f.Name)
			if err := verifyFile(ctx, filepath.Join(folder, stage.InVolume(f.Name)), f); err != nil {
				return err
			}
		}
		return nil
	})
}

// completeFrom completes the document by the one beside the files.
func (r *run) completeFrom(folder string) error {
	own, ok, err := Find(filepath.Join(folder, stage.InVolume(stage.Self)))
	if err == nil && !ok {
		err = fmt.Errorf("there is no %s in %s", stage.Self, r.Document.Hop.Folder)
	}
	if err == nil {
		r.Document, err = r.Document.Completed(own)
	}
	return err
}

// makeRoom executes the steps. As long as a file system is between two sizes, the
// RAM system is what boots, where the firmware can be told so.
func (r *run) makeRoom(ctx context.Context, s room, device string) error {
	shrinks := r.shrinks(s)
	if len(shrinks) > 0 {
		closed, err := r.boot.hold()
		if err != nil {
			return err
		}
		r.hopped = closed
		if !closed {
			r.tell("warning: while %s is shrunk a power cut leaves a system that does not boot by itself: only this RAM system can finish it, and this firmware cannot be told to start it by itself", shrinks[0])
		}
	}
	err := storage.Run(ctx, storage.Config{Steps: s.steps, Disks: s.disks, Tools: r.Tools, Machine: r.Disks, Sink: asScan{r.Sink}})
	syncAll()
	if cut, lost := r.interrupted(device, s); cut || lost != nil {
		r.hopped = true // the system before needs this one
		return errors.Join(err, lost, fmt.Errorf("shrink %s: it is unfinished", shrinks[0]))
	}
	r.hopped = false
	return errors.Join(err, r.boot.release())
}

// asScan has what makes room be told as part of the scan: the phases that write
// the new system come later.
type asScan struct{ event.Sink }

// Emit implements event.Sink.
func (a asScan) Emit(e event.Event) {
	if e.Step == "" {
		return
	}
	e.Phase, e.Exit = event.Scan, 0
	if e.State == event.Failed {
		e.State = event.Progress
	}
	a.Sink.Emit(e)
}

// writeStage writes the stage from the files, and verifies it.
func (r *run) writeStage(ctx context.Context, device string) error {
	if err := r.placed(r.Document.Stage, stage.Label); err != nil {
		return err
	}
	err := r.withHop(ctx, device, readOnly, func(folder string) (err error) {
		if err := r.completeFrom(folder); err != nil {
			return err
		}
		d, err := direct.Open(r.disk.Device, os.O_RDWR, r.Document.Stage.Offset, r.Document.Stage.Size)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		r.tell("writing the stage")
		return volume.Write(ctx, d, volume.Config{Document: r.Document, SectorSize: d.SectorSize(), Open: func(name string) (volume.Source, error) {
			return os.Open(filepath.Join(folder, stage.InVolume(name)))
		}})
	})
	if err != nil {
		return err
	}
	if err := r.openStage(); err != nil {
		return err
	}
	if err := r.note(journal.Record{State: journal.Staged}); err != nil {
		return err
	}
	// What follows opens it again, as after a stage that was there.
	err = r.dev.Close()
	r.dev, r.journal = nil, nil
	return err
}

// forgetHopSecrets overwrites the secrets that the stage has now. The file
// systems that put what is written elsewhere, btrfs among them, keep the old ones
// until the room is used again.
func (r *run) forgetHopSecrets(ctx context.Context) error {
	f, ok := r.Document.File(stage.Secrets)
	if r.Document.Hop == nil || !ok || f.Size == 0 || r.history.Has(journal.Committed) {
		return nil
	}
	device, err := r.hopDevice()
	if err != nil {
		return err
	}
	return r.withHop(ctx, device, []string{"rw", "nodev", "nosuid", "noexec"}, func(folder string) error {
		file, err := os.OpenFile(filepath.Join(folder, stage.InVolume(stage.Secrets)), os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = file.Write(make([]byte, f.Size))
		return errors.Join(err, file.Sync(), file.Close())
	})
}

// leaveOutcome tells the system before why there is no stage, in the folder that
// it has left the files in. Without one there is no place to tell.
func (r *run) leaveOutcome(ctx context.Context, why string) error {
	if r.Document.Hop == nil || r.hopped || r.disk == (plan.Disk{}) {
		return nil
	}
	device, err := r.hopDevice()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(stage.Ended{ID: r.Document.ID, Time: time.Now().UTC().Truncate(time.Second), Error: why}, "", "  ")
	if err != nil {
		return err
	}
	return r.withHop(ctx, device, []string{"rw", "nodev", "nosuid", "noexec"}, func(folder string) error {
		return finish.WriteFile(filepath.Join(folder, stage.Outcome), append(text, '\n'), 0o644)
	})
}

// verifyFile compares a file with its hash; what was read leaves the page cache,
// for the machine may have less memory than the payload has bytes.
func verifyFile(ctx context.Context, path string, want stage.File) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // advice: the disk counts, not the cache
	sum, n, err := hash(ctx, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("verify %s: %w", path, err)
	}
	if n != want.Size || sum != want.SHA256 {
		return fmt.Errorf("verify %s: expected %d bytes with SHA-256 %s, found %d with %s: it was altered or damaged", path, want.Size, want.SHA256, n, sum)
	}
	return nil
}

// hash reads a file to its end.
func hash(ctx context.Context, f *os.File) (sum string, n int64, err error) {
	h, buf := sha256.New(), make([]byte, 1<<20)
	for {
		if err := context.Cause(ctx); err != nil {
			return "", n, err
		}
		k, err := f.Read(buf)
		h.Write(buf[:k])
		n += int64(k)
		_ = unix.Fadvise(int(f.Fd()), 0, n, unix.FADV_DONTNEED)
		if errors.Is(err, io.EOF) {
			return fmt.Sprintf("%x", h.Sum(nil)), n, nil
		}
		if err != nil {
			return "", n, err
		}
	}
}
