package finish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/volume"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

const (
	mib       = 1 << 20
	secret    = "canary-in-the-stage"
	rootEnd   = 401 * mib
	stageSize = 60 * mib
	diskSize  = 512 * mib
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// oneDisk is this machine with a loop device as its only disk.
type oneDisk struct {
	storage.Host
	disk plan.Disk
	fail string // the method that fails
}

var errCut = errors.New("the power is cut")

func (m oneDisk) Disks() ([]plan.Disk, error) { return []plan.Disk{m.disk}, nil }

func (m oneDisk) WriteTable(ctx context.Context, device string, t layout.Table, efiFirst bool) error {
	if m.fail == "before the table" {
		return errCut
	}
	err := m.Host.WriteTable(ctx, device, t, efiFirst)
	if m.fail == "after the table" {
		err = errors.Join(err, errCut)
	}
	return err
}

// system is a new system at its first boot: a root file system, mounted, and the
// stage behind it.
type system struct {
	task   Task
	m      Machine
	disks  *oneDisk
	said   strings.Builder
	device string
	stage  stage.Document
}

func newSystem(t *testing.T, format string) *system {
	t.Helper()
	tooltest.Need(t, "mkfs."+format)
	dev := tooltest.Loop(t, diskSize)
	d, err := storage.HostDisk(filepath.Base(dev))
	must(t, err)
	s := &system{device: dev, disks: &oneDisk{Host: storage.Host{Tools: tool.Exec{}, Programs: tool.Exec{}}, disk: d}}
	id := func() uuid.UUID { return uuid.New() }
	entry := func(n int, from, to int64, guid uuid.UUID) layout.Entry {
		return layout.Entry{Number: n, Type: layout.TypeESP, GUID: guid, FirstLBA: uint64(from) / 512, LastLBA: uint64(to)/512 - 1}
	}
	core, st := id(), id()
	table := layout.Table{Kind: layout.KindGPT, GUID: id(), Size: diskSize, SectorSize: 512, Entries: []layout.Entry{
		entry(1, mib, rootEnd, id()), entry(2, rootEnd, rootEnd+mib, core), entry(3, rootEnd+mib, rootEnd+mib+stageSize, st)}}
	must(t, s.disks.Host.WriteTable(t.Context(), dev, table, true))
	s.writeStage(t, stage.Place{Number: 3, GUID: st, Offset: rootEnd + mib, Size: stageSize})
	root := disk.PartitionPath(dev, 1)
	tooltest.Run(t, "mkfs."+format, root)
	dir := t.TempDir()
	must(t, disk.Mount(root, dir, format, nil))
	t.Cleanup(func() { must(t, disk.Unmount(dir)) })
	s.task = Task{Version: 1, ID: s.stage.ID, Item: "test", Disk: d, VolumeID: s.stage.VolumeID(), Grow: &stage.Grow{Mountpoint: "/"},
		Stage: []Partition{{st, Range{rootEnd + mib, stageSize}}, {core, Range{rootEnd, mib}}}}
	s.secrets(t)
	s.m = Machine{Root: dir, Disks: s.disks, Grow: Online, Say: func(f string, a ...any) { fmt.Fprintf(&s.said, f+"\n", a...) }}
	s.put(t)
	return s
}

func (s *system) writeStage(t *testing.T, p stage.Place) {
	t.Helper()
	file := func(name, text string) stage.File {
		return stage.File{Name: name, Size: int64(len(text)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))}
	}
	s.stage = stage.Document{Version: stage.Version, ID: uuid.New(), Firmware: "uefi", Disk: request.DiskSelector{Serial: "x"}, Stage: p,
		Files: []stage.File{file(stage.Payload, "payload"), file(stage.Request, "{}"), file(stage.Secrets, secret)}}
	dev, err := journal.OpenStage(s.device, p)
	must(t, err)
	defer dev.Close()
	must(t, volume.Write(t.Context(), dev, volume.Config{Document: s.stage, Open: func(name string) (volume.Source, error) {
		return volume.Bytes([]byte(map[string]string{stage.Payload: "payload", stage.Request: "{}", stage.Secrets: secret}[name])), nil
	}}))
}

// secrets finds the place of the secrets, as the RAM system does.
func (s *system) secrets(t *testing.T) {
	t.Helper()
	dev, err := journal.OpenStage(s.device, s.stage.Stage)
	must(t, err)
	defer dev.Close()
	v, err := volume.Open(dev)
	must(t, err)
	at, size, err := v.Extent(stage.InVolume(stage.Secrets))
	must(t, err)
	s.task.Secrets = []Range{{s.stage.Stage.Offset + at, size}}
}

// put puts the unit into the new system.
func (s *system) put(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(s.task)
	must(t, err)
	wants := filepath.Join(filepath.Dir(UnitFile), "multi-user.target.wants")
	for name, text := range map[string]string{Document: string(text), Program: "#!", UnitFile: UnitText} {
		must(t, os.MkdirAll(filepath.Dir(s.m.path(name)), 0o755))
		must(t, os.WriteFile(s.m.path(name), []byte(text), 0o600))
	}
	must(t, os.MkdirAll(s.m.path(wants), 0o755))
	must(t, os.Symlink(UnitFile, s.m.path(filepath.Join(wants, Unit))))
}

func (s *system) room(t *testing.T) int64 {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(s.m.Root, &st))
	return int64(st.Blocks) * st.Bsize
}

// finished checks what is left.
func (s *system) finished(t *testing.T, before int64) {
	t.Helper()
	found, err := s.disks.Table(s.device)
	must(t, err)
	if len(found.Entries) != 1 || len(found.Damage) > 0 || found.Entries[0].Size(512) < 508*mib {
		t.Errorf("the table is %+v", found)
	}
	if got := s.room(t); got < before+80*mib {
		t.Errorf("the file system has %d MiB, and had %d MiB", got/mib, before/mib)
	}
	f, err := os.Open(s.device)
	must(t, err)
	defer f.Close()
	was := make([]byte, stageSize)
	if _, err := f.ReadAt(was, rootEnd+mib); err != nil || bytes.Contains(was, []byte(secret)) {
		t.Errorf("the secret is still there (%v)", err)
	}
	for _, name := range []string{Document, Program, UnitFile, "/etc/systemd/system/multi-user.target.wants/" + Unit, Dir} {
		if _, err := os.Lstat(s.m.path(name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	var rec Record
	text, err := os.ReadFile(s.m.path(Installed))
	must(t, err)
	must(t, json.Unmarshal(text, &rec))
	if rec.Grown != "/" || rec.To <= 400*mib || rec.Why != "" || rec.ID != s.task.ID {
		t.Errorf("%s tells %+v", Installed, rec)
	}
}

func TestFinish(t *testing.T) {
	for _, format := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(format, func(t *testing.T) {
			if format == "ext4" && !mayResize(t) {
				t.Skip("growing an ext4 takes CAP_SYS_RESOURCE, which is missing here; the test in a virtual machine does it")
			}
			s := newSystem(t, format)
			before := s.room(t)
			must(t, Run(t.Context(), s.m))
			s.finished(t, before)
		})
	}
}

// mayResize says whether this process has CAP_SYS_RESOURCE (24).
func mayResize(t *testing.T) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	must(t, unix.Capget(&header, &data[0]))
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// Cut off at any step, the next boot goes on.
func TestAgain(t *testing.T) {
	for _, cut := range []string{"before the table", "after the table", "growing"} {
		t.Run(cut, func(t *testing.T) {
			s := newSystem(t, "btrfs")
			before := s.room(t)
			s.disks.fail = cut
			if cut == "growing" {
				s.m.Grow = func(string) error { return errCut }
			}
			if err := Run(t.Context(), s.m); !errors.Is(err, errCut) {
				t.Fatalf("got %v", err)
			}
			s.disks.fail, s.m.Grow = "", Online
			must(t, Run(t.Context(), s.m))
			s.finished(t, before)
		})
	}
}

// What is not the stage any more is left alone; so is a file system that does not
// end where the stage begins.
func TestLeftAlone(t *testing.T) {
	s := newSystem(t, "btrfs")
	s.task.VolumeID++
	text, err := json.Marshal(s.task)
	must(t, err)
	must(t, os.WriteFile(s.m.path(Document), text, 0o600))
	if err := Run(t.Context(), s.m); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("got %v", err)
	}
	s.task.VolumeID--
	s.task.Stage = s.task.Stage[:1] // the core image's partition stays in between
	if text, err = json.Marshal(s.task); err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(s.m.path(Document), text, 0o600))
	before := s.room(t)
	s.task.Stage[0].Offset += 8 * mib
	number, why, err := s.task.grows(s.m, s.device, mustTable(t, s))
	if err != nil || number != 0 || !strings.Contains(why, "does not begin there") || s.room(t) != before {
		t.Errorf("got %d, %q, %v", number, why, err)
	}
}

func mustTable(t *testing.T, s *system) layout.Table {
	t.Helper()
	found, err := s.disks.Table(s.device)
	must(t, err)
	return found.Table
}

// The stage's boot entry goes, and no other.
func TestForgetEntry(t *testing.T) {
	v, guid := efi.MapVariables{}, uuid.New()
	entry := func(path string) uint16 {
		g, err := efi.ParseGUID(guid.String())
		must(t, err)
		n, err := efi.AddBootEntry(v, efi.Entry{Label: path, Partition: efi.HardDrive{Number: 1, Start: 2048, Size: 100, Partition: g}, Path: path}, true)
		must(t, err)
		return n
	}
	stays := entry(`\EFI\other.efi`)
	entry(`\EFI\BOOT\BOOTX64.EFI`)
	task := Task{EFI: &Entry{Partition: guid, Path: `\EFI\BOOT\BOOTX64.EFI`}}
	for range 2 {
		must(t, task.forgetEntry(Machine{Variables: v, Say: t.Logf}))
	}
	list, err := efi.ListBootEntries(v)
	if err != nil || len(list) != 1 || list[0].Number != stays {
		t.Errorf("left are %+v (%v)", list, err)
	}
}
