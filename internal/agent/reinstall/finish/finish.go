// Package finish is what the new system does once, at its first boot after a
// reinstall, as vic-finish.service: it takes away the stage that it was installed
// from, and lets a file system grow over it, while that is mounted.
//
//	secrets overwritten, the stage discarded
//	the stage's boot entry removed
//	one new partition table: without the stage, with the partition before larger
//	the kernel's partitions and the file system follow
//	Installed is written, and the unit removes itself
//
// Each step looks whether it is done: a power cut in between is followed by the
// next boot, which goes on.
package finish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/stage"
)

// Where things are in the new system.
const (
	Dir       = "/usr/lib/vic"
	Program   = Dir + "/vic-init"
	Document  = Dir + "/finish.json"
	Unit      = "vic-finish.service"
	UnitFile  = "/etc/systemd/system/" + Unit
	Installed = "/var/lib/vic/installed.json"
)

// UnitText is vic-finish.service.
const UnitText = `[Unit]
Description=Take away what vic has installed this system from
Documentation=https://github.com/victorinix/vic
ConditionPathExists=` + Document + `
RequiresMountsFor=/var/lib/vic

[Service]
Type=oneshot
ExecStart=` + Program + ` vic finish
StandardOutput=journal+console

[Install]
WantedBy=multi-user.target
`

// Range is a piece of the disk, in bytes.
type Range struct {
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
}

// Task is what there is to do: finish.json.
type Task struct {
	Version int       `json:"version"` // 1
	ID      uuid.UUID `json:"id"`
	Item    string    `json:"item"`
	// Installed is when the RAM system was done.
	Installed time.Time `json:"installed"`
	Disk      plan.Disk `json:"disk"`
	// Stage are the partitions that go, the stage first.
	Stage    []Partition `json:"stage"`
	VolumeID uint32      `json:"volumeId"`
	// Secrets are the places of what has secrets.
	Secrets []Range     `json:"secrets,omitempty"`
	Grow    *stage.Grow `json:"grow,omitempty"`
	// EFI is the boot entry that goes; nil with BIOS.
	EFI *Entry `json:"efi,omitempty"`
}

// Partition is one that goes.
type Partition struct {
	GUID uuid.UUID `json:"guid"`
	Range
}

// Entry is a boot entry, by the file that it starts.
type Entry struct {
	Partition uuid.UUID `json:"partition"`
	Path      string    `json:"path"`
}

// Record is installed.json: what was done.
type Record struct {
	Task
	Finished time.Time `json:"finished"`
	// Grown is the file system that has taken the room, From and To bytes of its
	// partition; empty Grown: Why says why none has.
	Grown string `json:"grown,omitempty"`
	From  int64  `json:"from,omitempty"`
	To    int64  `json:"to,omitempty"`
	Why   string `json:"why,omitempty"`
}

// Machine is what the package needs of the machine.
type Machine struct {
	Root      string // "" is /
	Disks     storage.Machine
	Variables efi.Variables // nil: BIOS
	// Grow has the file system that is mounted there take all of its device.
	Grow func(mountpoint string) error
	// Say is for people: standard output of the unit.
	Say func(format string, args ...any)
}

func (m Machine) path(name string) string { return filepath.Join("/", m.Root, name) }

// Run does everything. After an error it is to be run again.
func Run(ctx context.Context, m Machine) error {
	text, err := os.ReadFile(m.path(Document))
	if err != nil {
		return fmt.Errorf("finish reinstall: %w", err)
	}
	var t Task
	if err := json.Unmarshal(text, &t); err != nil || t.Version != 1 || len(t.Stage) == 0 {
		return fmt.Errorf("finish reinstall: read %s: version %d, %d partitions: %w", Document, t.Version, len(t.Stage), errors.Join(err, errTask))
	}
	rec, err := t.run(ctx, m)
	if err != nil {
		return fmt.Errorf("finish reinstall: %w", err)
	}
	if err := m.record(rec); err != nil {
		return fmt.Errorf("finish reinstall: %w", err)
	}
	return m.vanish()
}

var errTask = errors.New("not a task of this vic")

func (t Task) run(ctx context.Context, m Machine) (Record, error) {
	rec := Record{Task: t}
	disks, err := m.Disks.Disks()
	if err != nil {
		return rec, err
	}
	d, err := storage.FindDisk(t.Disk, disks)
	if err != nil {
		return rec, err
	}
	found, err := m.Disks.Table(d.Device)
	if err != nil {
		return rec, err
	}
	if found == nil || found.Kind != layout.KindGPT {
		return rec, fmt.Errorf("%s has no GPT", storage.Describe(d))
	}
	if e := t.stage(found.Table); e != nil {
		if err := t.erase(d.Device, m); err != nil {
			return rec, err
		}
	}
	if err := t.forgetEntry(m); err != nil {
		return rec, err
	}
	return rec, t.grow(ctx, m, d.Device, found.Table, &rec)
}

// stage is the entry of the stage, if it is still there.
func (t Task) stage(table layout.Table) *layout.Entry { return entryOf(table, t.Stage[0]) }

func entryOf(table layout.Table, p Partition) *layout.Entry {
	for i, e := range table.Entries {
		if e.GUID == p.GUID && int64(e.FirstLBA)*int64(table.SectorSize) == p.Offset && e.Size(table.SectorSize) == p.Size {
			return &table.Entries[i]
		}
	}
	return nil
}

// forgetEntry removes the stage's boot entry. A firmware without variables has
// none.
func (t Task) forgetEntry(m Machine) error {
	if t.EFI == nil || m.Variables == nil {
		return nil
	}
	list, err := efi.ListBootEntries(m.Variables)
	if err != nil {
		return err
	}
	guid, err := efi.ParseGUID(t.EFI.Partition.String())
	if err != nil {
		return err
	}
	for _, b := range list {
		if b.Err == nil && b.Starts(efi.Entry{Partition: efi.HardDrive{Partition: guid}, Path: t.EFI.Path}) {
			if err := efi.RemoveBootEntry(m.Variables, b.Number); err != nil {
				return err
			}
			m.Say("removed Boot%04X, which started the installer", b.Number)
		}
	}
	return nil
}

// record writes installed.json.
func (m Machine) record(rec Record) error {
	rec.Finished = time.Now().UTC().Truncate(time.Second)
	text, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	path := m.path(Installed)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return err
	}
	m.Say("wrote %s", Installed)
	return nil
}

// vanish removes the unit and everything of it, the task last: as long as that is
// there, the next boot tries again.
func (m Machine) vanish() error {
	wanted := filepath.Join(filepath.Dir(UnitFile), "multi-user.target.wants", Unit)
	for _, name := range []string{wanted, UnitFile, Program, Document} {
		if err := os.Remove(m.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("finish reinstall: %w", err)
		}
	}
	if err := os.Remove(m.path(Dir)); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
		m.Say("%s stays: %v", Dir, err) // somebody else has something there
	}
	return nil
}

// WriteFile writes a file in one step: it is there wholly, and on the disk, or
// not at all.
func WriteFile(path string, text []byte, mode os.FileMode) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
