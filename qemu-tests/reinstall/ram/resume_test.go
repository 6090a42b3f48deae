package ram

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/extent"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/reinstall"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/logwrites"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// The power is cut at pseudo-random writes of a reinstall, with any part of what was
// not flushed lost or torn. From what is on the disk then, the system before boots
// as it was, or the installer goes on and ends in a whole new system, or that boots.
//
// It runs on this machine, on a loop device whose writes are recorded: so there can
// be many cuts. VIC_TEST_CUTS says how many of each of two stages, in a partition and in
// a file, by default 3; see scripts/reinstall-power-cuts.
func TestPowerCuts(t *testing.T) {
	lab.Need(t)
	max, err := strconv.Atoi(cmp.Or(os.Getenv("VIC_TEST_CUTS"), "3"))
	if err != nil || max < 2 {
		t.Fatalf("VIC_TEST_CUTS=%s is no number of cuts", os.Getenv("VIC_TEST_CUTS"))
	}
	tooltest.Root(t)
	t.Run("partition", func(t *testing.T) { localScene(t, false).powerCuts(t, max) })
	t.Run("file", func(t *testing.T) { localScene(t, true).powerCuts(t, max) })
}

func (s *scene) powerCuts(t *testing.T, max int) {
	base := s.copied(t)
	f, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	path, rec := logwrites.Record(t, logwrites.NewOverlay(f, diskSize, 512), logwrites.Faults{})
	s.run(t, path)
	want := s.state(t, path)
	log := rec.Log()
	s.saved(t, f, log)
	r := newRecording(t, s, f, log)
	r.order(t)
	r.cuts(t)
	count := map[string]int{}
	cuts := log.Cuts(logwrites.Sample{Others: max, Seed: 11, Max: max})
	err = log.Replay(f, diskSize, cuts, func(c logwrites.Cut, o *logwrites.Overlay) error {
		who, err := r.boots(o)
		if err != nil {
			t.Errorf("%v: %s: %v", c, who, err)
		}
		count[who]++
		start := time.Now()
		logwrites.With(t, o, func(path string) {
			if who == "installer" {
				s.run(t, path)
			}
			if got := s.state(t, path); who != "old" && got != want {
				t.Errorf("%v: the disk is\n%s\nundisturbed it is\n%s", c, got, want)
			}
		})
		t.Logf("%v: %s, whole after %v", c, who, time.Since(start).Round(time.Second))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d cuts: the system before was there after %d, the installer ended in the new one after %d, that was there after %d", len(cuts), count["old"], count["installer"], count["new"])
}

// saved makes the scene's disk what the log has made of it.
func (s *scene) saved(t *testing.T, base io.ReaderAt, log *logwrites.Log) {
	t.Helper()
	end := logwrites.NewOverlay(base, diskSize, 512)
	if err := log.Cut(len(log.Entries), logwrites.All()).Apply(end); err != nil {
		t.Fatal(err)
	}
	s.disk = filepath.Join(t.TempDir(), "after.img")
	if err := end.Save(s.disk); err != nil {
		t.Fatal(err)
	}
}

// localScene is a disk of this machine, which boots by BIOS. Its layout has no ESP,
// and its boot code and core image start nothing: no machine boots from it. Its stage
// is a partition, or the piece of the disk that a file of the system before keeps.
func localScene(t *testing.T, inFile bool) *scene {
	t.Helper()
	s := &scene{firmware: "bios", disk: filepath.Join(t.TempDir(), "disk.img")}
	code := func(b byte) []byte { return bytes.Repeat([]byte{b}, 440) }
	s.doc = stage.Document{
		Version: stage.Version, ID: uuid.New(), Created: time.Now().UTC().Truncate(time.Second), Firmware: "bios",
		Disk:        request.DiskSelector{Serial: serial, Size: diskSize},
		Stage:       stage.Place{Number: 2, GUID: uuid.New(), Offset: diskSize - 402*mib, Size: 400 * mib},
		Core:        &stage.Place{Number: 3, GUID: uuid.New(), Offset: diskSize - 403*mib, Size: mib},
		OldBootCode: append(bytes.Clone(oldCode), make([]byte, 440-len(oldCode))...), BootCode: code('s'),
	}
	if inFile {
		s.makeDiskWithFile(t)
	} else {
		s.makeDisk(t)
	}
	p := parts{files: map[string]string{}}
	s.add(t, &p, stage.Payload, lab.Payload(t).Path(builder.ImageFile))
	req := newRequest(t)
	delete(req.Layout.Disk["main"].Content.Spec.(*layout.GPT).Partitions, "esp")
	doc, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	s.addText(t, &p, stage.Request, doc)
	var secrets bytes.Buffer
	if err := secret.NewSet(map[string]string{"password": lab.Password}).EncodeForTarget(&secrets); err != nil {
		t.Fatal(err)
	}
	s.addText(t, &p, stage.Secrets, secrets.Bytes())
	s.addText(t, &p, stage.CoreImage, bytes.Repeat([]byte("core"), 10000))
	s.writeStage(t, p)
	return s
}

// makeDiskWithFile makes a disk that the system before fills, with a file in it that
// keeps the places of the stage and the core image.
func (s *scene) makeDiskWithFile(t *testing.T) {
	t.Helper()
	if err := vm.BlankDisk(s.disk, diskSize); err != nil {
		t.Fatal(err)
	}
	lab.Say(t, "sgdisk", "-n", "1:2048:0", "-c", "1:old", s.disk)
	s.makeOld(t, "5G")
	where := t.TempDir()
	lab.Say(t, "mount", "-o", "loop,offset=1048576,sizelimit=5G", s.disk, where)
	piece, err := extent.Allocate(where, extent.Want{Size: 401 * mib, From: 3 << 30, Align: mib})
	if err == nil {
		err = errors.Join(piece.Link(filepath.Join(where, "stage.img")), piece.Close())
	}
	lab.Say(t, "umount", where)
	if err != nil {
		t.Fatal(err)
	}
	s.doc.Core.Offset = mib + piece.Offset
	s.doc.Stage.Offset = s.doc.Core.Offset + mib
	d, err := disk.Open(s.disk, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	table, err := disk.ReadTable(d)
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	after := table
	after.Entries = nil
	for _, e := range []struct {
		stage.Place
		label string
	}{{s.doc.Stage, stage.Label}, {*s.doc.Core, stage.BootLabel}} {
		after.Entries = append(after.Entries, layout.Entry{
			Number: e.Number, Label: e.label, Type: layout.TypeESP, GUID: e.GUID, FirstLBA: uint64(e.Offset / 512), LastLBA: uint64((e.Offset+e.Size)/512) - 1,
		})
	}
	s.doc.Extent = &stage.Extent{Before: table, After: after}
}

// onlyDisk is this machine with one disk. Its kernel may have no vfat: the stage's
// files are shown as links to those that it was made of, which were compared with it.
type onlyDisk struct {
	storage.Host
	disk    plan.Disk
	payload string
}

func (m onlyDisk) Disks() ([]plan.Disk, error) { return []plan.Disk{m.disk}, nil }

// Mount implements storage.Machine.
func (m onlyDisk) Mount(ctx context.Context, source, dir, fstype string, options []string) error {
	if fstype != "vfat" {
		return m.Host.Mount(ctx, source, dir, fstype, options)
	}
	if err := m.Host.Mount(ctx, "tmpfs", dir, "tmpfs", nil); err != nil {
		return err
	}
	to := filepath.Join(dir, stage.InVolume(stage.Payload))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.Symlink(m.payload, to)
}

// run is the RAM system on this machine.
func (s *scene) run(t *testing.T, path string) {
	t.Helper()
	d, err := storage.HostDisk(filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	d.Serial, d.Path = serial, "pci-0000:00:04.0" // identifiers derive from it, and the loop device is another each time
	m := onlyDisk{storage.Host{Tools: tool.Exec{}, Programs: tool.Exec{}}, d, lab.Payload(t).Path(builder.ImageFile)}
	facts := func(context.Context) (f envscan.Facts, err error) {
		found, err := m.Table(path)
		if err != nil {
			return f, err
		}
		fact := envscan.Disk{Name: filepath.Base(path), Path: d.Path, Serial: serial, Size: d.Size, SectorSize: d.SectorSize}
		fact.Table = &found.Table
		f.HW.Disk, f.HW.Arch, f.HW.Firmware.Type = []envscan.Disk{fact}, "amd64", "bios"
		return f, nil
	}
	var said strings.Builder
	err = reinstall.Run(t.Context(), reinstall.Config{
		Document: s.doc, Facts: facts, Tools: tool.Exec{}, Disks: m, Machine: install.Host{Programs: tool.Exec{}},
		Dir: filepath.Join(t.TempDir(), "stage"), Self: "/bin/true", Root: filepath.Join(t.TempDir(), "target"),
		Hide: func(_ secret.Set, s event.Sink) event.Sink { return s },
		Sink: event.SinkFunc(func(e event.Event) {
			if e.Message != "" {
				fmt.Fprintln(&said, e.Phase, e.Step, e.State, e.Message)
			}
		}),
	})
	if err != nil {
		t.Fatalf("the installer: %v\n%s", err, said.String())
	}
	if _, found, ok := strings.Cut(said.String(), "found done: "); ok {
		t.Log("found done: " + strings.SplitN(found, "\n", 2)[0])
	}
}

// state is what has to be the same after every run: boot sector, table, and the
// files of the new system, which has to be sound. Of the system before, it is its
// file.
func (s *scene) state(t *testing.T, path string) string {
	t.Helper()
	if out, err := (tool.Exec{}).Run(t.Context(), tool.Cmd{Name: "partx", Args: []string{"--update", path}}); err != nil {
		t.Logf("partx: %v: %s", err, out.Stderr)
	}
	head := make([]byte, 512)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	lab.CheckTable(t, path, 512)
	root := disk.PartitionPath(path, 4)
	if bytes.Equal(head[:440], s.doc.OldBootCode) {
		old := disk.PartitionPath(path, 1)
		lab.Say(t, "e2fsck", "-fn", old)
		if got := lab.Say(t, "debugfs", "-R", "cat /letter", old); got != "precious" {
			t.Errorf("the system before has %q", got)
		}
		return "old"
	}
	lab.Say(t, "e2fsck", "-fn", root)
	var b strings.Builder
	fmt.Fprintf(&b, "%x\n", sha256.Sum256(head))
	b.WriteString(strings.ReplaceAll(lab.Say(t, "sfdisk", "--dump", path), path, "disk"))
	for _, name := range []string{"/etc/hostname", "/etc/fstab", "/usr/lib/vic/vic-init", "/etc/systemd/system/multi-user.target.wants/vic-finish.service"} {
		out := lab.Say(t, "debugfs", "-R", "stat "+name, root)
		_, size, _ := strings.Cut(out, "Size: ")
		fmt.Fprintf(&b, "%s %s\n", name, strings.Fields(size + " missing")[0])
	}
	tree := lab.Say(t, "debugfs", "-R", "ls -p /boot", root)
	fmt.Fprintf(&b, "%d kernels\n", strings.Count(tree, "vmlinuz-"))
	return b.String()
}
