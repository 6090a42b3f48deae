package reinstall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/agent/reinstall/finish"
	"github.com/victorinix/vic/internal/agent/within"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/volume"
)

// leaveFinish puts into the new system what takes the stage away at its first
// boot.
func (r *run) leaveFinish(p prepared) error {
	task, err := r.task(p)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(task, "", "  ")
	if err != nil {
		return err
	}
	self, err := os.Open(r.Self)
	if err != nil {
		return fmt.Errorf("leave %s in the new system: %w", finish.Unit, err)
	}
	defer self.Close()
	root := within.Root(r.Root)
	err = errors.Join(
		leave(root, finish.Program, 0o755, self),
		leave(root, finish.UnitFile, 0o644, bytes.NewReader([]byte(finish.UnitText))),
		leave(root, finish.Document, 0o600, bytes.NewReader(append(text, '\n'))),
		enable(root))
	if err != nil {
		return fmt.Errorf("leave %s in the new system: %w", finish.Unit, err)
	}
	return nil
}

// leave writes a file into the new system, in the place of one with its name.
func leave(root within.Root, name string, mode uint32, content io.Reader) error {
	dir, err := root.Mkdir(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	at, base := int(dir.Fd()), path.Base(name)
	if err := unix.Unlinkat(at, base, 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	fd, err := unix.Openat(at, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = io.Copy(f, content)
	return errors.Join(err, unix.Fchmod(fd, mode), f.Close())
}

// enable does what systemctl enable would.
func enable(root within.Root) error {
	wants, err := root.Mkdir(path.Join(path.Dir(finish.UnitFile), "multi-user.target.wants"))
	if err != nil {
		return err
	}
	defer wants.Close()
	if err := unix.Symlinkat(finish.UnitFile, int(wants.Fd()), finish.Unit); err != nil && err != unix.EEXIST {
		return fmt.Errorf("enable %s: %w", finish.Unit, err)
	}
	return nil
}

// task is what is left to do.
func (r *run) task(p prepared) (finish.Task, error) {
	t := finish.Task{
		Version: 1, ID: r.Document.ID, Item: p.plan.Item, Installed: time.Now().UTC().Truncate(time.Second),
		Disk: r.disk, VolumeID: r.Document.VolumeID(), Grow: r.Document.Grow,
	}
	places := []stage.Place{r.Document.Stage}
	if r.Document.Core != nil {
		places = append(places, *r.Document.Core)
	}
	for i, place := range places {
		t.Stage = append(t.Stage, finish.Partition{GUID: r.guid(place, keptNames[i]), Range: finish.Range{Offset: place.Offset, Size: place.Size}})
	}
	if r.Document.Firmware == "uefi" {
		e, err := r.stageEntry()
		if err != nil {
			return t, err
		}
		t.EFI = &finish.Entry{Partition: uuid.UUID(t.Stage[0].GUID), Path: e.Path}
	}
	var err error
	t.Secrets, err = r.secretPlaces()
	return t, err
}

// secretPlaces are the places of the secrets, and of everything that has their
// hash: all of the stage but the payload.
func (r *run) secretPlaces() ([]finish.Range, error) {
	v, err := volume.Open(r.dev)
	if err != nil {
		return nil, err
	}
	names := []string{stage.Self, stage.Journal, stage.Registrations}
	for _, f := range r.Document.Files {
		if f.Name != stage.Payload {
			names = append(names, f.Name)
		}
	}
	var list []finish.Range
	for _, name := range names {
		offset, size, err := v.Extent(stage.InVolume(name))
		if name == stage.Registrations && errors.Is(err, fs.ErrNotExist) {
			continue // an older vic has made the stage
		}
		if err != nil {
			return nil, err
		}
		if size > 0 {
			list = append(list, finish.Range{Offset: r.Document.Stage.Offset + offset, Size: size})
		}
	}
	return list, nil
}
