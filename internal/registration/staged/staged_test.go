package staged

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/file"
	"github.com/victorinix/vic/internal/registration/kinds"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/mirror"
	"github.com/victorinix/vic/internal/stage/volume"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var where = stage.Place{Number: 1, Offset: 1 << 20, Size: 64 << 20}

// staging is a disk with a stage, a host that has a folder of registrations, and a
// file that is registered in both.
type staging struct {
	*testing.T
	disk, dir, made string
	id              uuid.UUID
}

func newStaging(t *testing.T) *staging {
	t.Helper()
	tooltest.Root(t)
	tooltest.Need(t, "sfdisk")
	s := &staging{T: t, disk: tooltest.Loop(t, 128<<20), dir: t.TempDir(), id: uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001")}
	s.made = filepath.Join(s.dir, "made")
	s.table("label: dos\nstart=1MiB, size=64MiB, type=c\n")
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	d := stage.Document{
		Version: stage.Version, ID: s.id, Firmware: "uefi", Disk: request.DiskSelector{Serial: "LOOP0001"}, Stage: where,
		Files: []stage.File{{Name: stage.Payload, SHA256: empty}, {Name: stage.Request, SHA256: empty}},
	}
	s.onStage(func(dev *direct.Device) error {
		return volume.Write(t.Context(), dev, volume.Config{Document: d, Open: func(string) (volume.Source, error) { return volume.Bytes(nil), nil }})
	})
	s.note(journal.Staged)
	store, err := registration.Open(s.config("lock", s.own()))
	if err != nil {
		t.Fatal(err)
	}
	r := &Records{Store: store}
	if err := r.AddStage(s.disk, where); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Do(t.Context(), file.New(s.made, 0o600, []byte("made"))); err != nil {
		t.Fatal(err)
	}
	s.must(r.Close())
	return s
}

func (s *staging) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// table gives the disk another table.
func (s *staging) table(text string) {
	s.Helper()
	cmd := tool.Cmd{Name: "sfdisk", Args: []string{"--quiet", "--no-reread", "--no-tell-kernel", s.disk}, Stdin: strings.NewReader(text)}
	_, err := tooltest.Need(s.T, "sfdisk").Run(s.Context(), cmd)
	s.must(err)
	t, err := locate.ReadTable(s.disk)
	s.must(err)
	s.must(disk.Reread(s.Context(), s.disk, t))
}

func (s *staging) onStage(do func(*direct.Device) error) {
	s.Helper()
	dev, err := journal.OpenStage(s.disk, where)
	s.must(err)
	s.must(errors.Join(do(dev), dev.Close()))
}

func (s *staging) note(state journal.State) {
	s.Helper()
	s.onStage(func(dev *direct.Device) error {
		j, err := journal.Open(dev, s.id)
		if err != nil {
			return err
		}
		return j.Append(journal.Record{State: state, Time: time.Unix(1_700_000_000, 0)})
	})
}

// damage clears the first bytes of a file of the stage.
func (s *staging) damage(name string, n int) {
	s.Helper()
	s.onStage(func(dev *direct.Device) error {
		v, err := volume.Open(dev)
		if err != nil {
			return err
		}
		at, _, err := v.Extent(stage.InVolume(name))
		if err != nil {
			return err
		}
		_, err = dev.WriteAt(make([]byte, n), at)
		return err
	})
}

func (s *staging) own() string { return filepath.Join(s.dir, "registrations") }

func (s *staging) config(lock string, dirs ...string) registration.Config {
	return registration.Config{Dirs: dirs, Lock: filepath.Join(s.dir, lock), Kinds: kinds.All(), Group: "a run", Env: registration.Env{Run: tool.Exec{}}}
}

// open opens what a machine finds on the disk, and says what it was warned of.
func (s *staging) open(machine string) (*Records, string) {
	s.Helper()
	var warned error
	r, err := openHost(s.config("lock", s.own()), []string{s.disk}, machine, func(err error) { warned = errors.Join(warned, err) })
	s.must(err)
	s.Cleanup(func() { _ = r.Close() }) // again, where it was closed
	if warned == nil {
		return r, ""
	}
	return r, warned.Error()
}

func (s *staging) ids(r *Records) string {
	var ids []string
	for _, reg := range r.List(s.Context()) {
		ids = append(ids, reg.ID)
	}
	return strings.Join(ids, " ")
}

// A system whose folder was lost knows from its stage what was changed, has its
// folder again, and takes back all of it.
func TestFolderIsLost(t *testing.T) {
	s := newStaging(t)
	machine, err := machineID()
	s.must(err)
	s.must(os.RemoveAll(s.own()))
	r, warned := s.open(machine)
	if got := s.ids(r); got != "r1" || warned != "" || len(r.Stages) != 1 || r.Stages[0].Host.MachineID != machine {
		t.Fatalf("%q, warned of %s", got, warned)
	}
	if _, err := os.Stat(filepath.Join(s.own(), "r1.json")); err != nil {
		t.Error(err)
	}
	if _, err := r.Undo(t.Context(), registration.Selection{All: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.made); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was made is there: %v", err)
	}
}

// Elsewhere a stage is named by its partition, and is enough.
func TestStageIsNamed(t *testing.T) {
	s := newStaging(t)
	link := filepath.Join(s.dir, "vic-stage") // as in /dev/disk
	s.must(os.Symlink(s.disk+"p1", link))
	r, err := OpenNamed(s.config("lock"), []string{link})
	s.must(err)
	defer r.Close()
	if got := s.ids(r); got != "r1" {
		t.Errorf("%q", got)
	}
	list, err := r.Undo(t.Context(), registration.Selection{All: true})
	if err != nil || len(list) != 1 || list[0].Did != registration.TookBack {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := OpenNamed(s.config("other"), []string{s.disk}); err == nil || !strings.Contains(err.Error(), "neither a partition nor a volume") {
		t.Errorf("a disk: %v", err)
	}
}

// A device that is not there is no folder to be made: in another system the disks
// have other names.
func TestNamedIsNotThere(t *testing.T) {
	name := filepath.Join("/dev", "vic-test-none9")
	s := &staging{T: t, dir: t.TempDir()}
	if r, err := OpenNamed(s.config("lock"), []string{name}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), name) {
		t.Errorf("%v %v", r, err)
	}
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}

// Another system's stage is left alone, and told of.
func TestStageOfAnother(t *testing.T) {
	s := newStaging(t)
	s.must(os.RemoveAll(s.own()))
	r, warned := s.open("0123456789abcdef0123456789abcdef")
	if got := s.ids(r); got != "" || len(r.Stages) != 0 || !strings.Contains(warned, "is another system's") {
		t.Errorf("%q, warned of %q", got, warned)
	}
}

// A stage that has other records of the same numbers does not count.
func TestStageOfAnotherHistory(t *testing.T) {
	s := newStaging(t)
	machine, err := machineID()
	s.must(err)
	s.must(os.RemoveAll(s.own()))
	store, err := registration.Open(func() registration.Config {
		c := s.config("lock", s.own())
		c.Group = "another run"
		return c
	}())
	s.must(err)
	_, err = store.Do(t.Context(), file.New(filepath.Join(s.dir, "other"), 0o600, []byte("other")))
	s.must(errors.Join(err, store.Close()))
	r, warned := s.open(machine)
	if len(r.Stages) != 0 || !strings.Contains(warned, "the records of two machines") || !strings.Contains(warned, "--records") {
		t.Errorf("warned of %q", warned)
	}
}

// What is damaged on the stage is in the folder, and is written there again.
func TestCopyIsDamaged(t *testing.T) {
	s := newStaging(t)
	machine, err := machineID()
	s.must(err)
	s.damage(stage.Registrations, 68<<10)
	r, _ := s.open(machine)
	if got := s.ids(r); got != "r1" {
		t.Errorf("%q", got)
	}
	s.must(r.Close())
	s.must(os.RemoveAll(s.own()))
	if r, _ := s.open(machine); s.ids(r) != "r1" {
		t.Error("it was not written again")
	}
}

// A stage that cannot be read is told of: without the folder, what was changed is
// not known.
func TestStageIsDamaged(t *testing.T) {
	s := newStaging(t)
	machine, err := machineID()
	s.must(err)
	s.damage(stage.Self, 512)
	r, warned := s.open(machine)
	if got := s.ids(r); got != "r1" || len(r.Stages) != 0 || !strings.Contains(warned, "open the stage in "+s.disk+"p1: there is one, and it cannot be read: ") {
		t.Errorf("%q, warned of %q", got, warned)
	}
	s.must(r.Close())
	if _, err := OpenNamed(s.config("other"), []string{s.disk + "p1"}); !errors.Is(err, errUnreadable) {
		t.Errorf("%v", err)
	}
	s.onStage(func(dev *direct.Device) error {
		_, err := dev.WriteAt(make([]byte, 512), 0)
		return err
	})
	if _, warned := s.open(machine); warned != "" {
		t.Errorf("where no stage is, warned of %q", warned)
	}
	if _, err := OpenNamed(s.config("third"), []string{s.disk + "p1"}); !errors.Is(err, volume.ErrNone) || !strings.Contains(err.Error(), s.disk+"p1") {
		t.Errorf("%v", err)
	}
}

// What a finished install has left is not the new system's, also where nobody's
// name is on it.
func TestInstalled(t *testing.T) {
	s := newStaging(t)
	for _, state := range []journal.State{journal.Committed, journal.Installed} {
		s.note(state)
	}
	s.must(os.RemoveAll(s.own()))
	r, warned := s.open("")
	if got := s.ids(r); got != "" || len(r.Stages) != 0 || warned != "" {
		t.Errorf("%q, warned of %q", got, warned)
	}
	s.must(r.Committed())
}

// Once the system is being replaced nothing is taken back.
func TestCommitted(t *testing.T) {
	s := newStaging(t)
	machine, err := machineID()
	s.must(err)
	s.note(journal.Committing)
	r, _ := s.open(machine)
	s.must(r.Committed())
	s.must(r.Close())
	s.note(journal.Committed)
	r, _ = s.open(machine)
	if err := r.Committed(); err == nil || !strings.Contains(err.Error(), "has been committed (2023-11-14") {
		t.Errorf("%v", err)
	}
}

// Nothing is written to where the stage was, once its partition has gone.
func TestPartitionIsGone(t *testing.T) {
	s := newStaging(t)
	machine, err := machineID()
	s.must(err)
	r, _ := s.open(machine)
	s.table("label: dos\nstart=2MiB, size=32MiB, type=83\n")
	before, err := os.ReadFile(s.disk)
	s.must(err)
	if err := r.Stages[0].Write("r9.json", strings.NewReader("{}")); !errors.Is(err, mirror.ErrGone) {
		t.Errorf("written: %v", err)
	}
	after, err := os.ReadFile(s.disk)
	s.must(err)
	if string(after) != string(before) {
		t.Error("the disk was written to")
	}
	if _, err := r.Undo(t.Context(), registration.Selection{All: true}); err != nil {
		t.Errorf("the folder is enough: %v", err)
	}
}
