package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan/reinstall"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/registration/staged"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// packedDisk is a loop device that two partitions fill: a small root, and a mounted
// file system that has room.
func packedDisk(t *testing.T) (dev, mount string, d envscan.Disk) {
	t.Helper()
	dev = tooltest.Loop(t, 4<<30)
	cmd := tool.Cmd{Name: "sfdisk", Args: []string{"--quiet", "--no-reread", "--no-tell-kernel", dev}, Stdin: strings.NewReader("label: dos\nstart=1MiB, size=100MiB, type=83, bootable\nstart=101MiB, size=3995MiB, type=83\n")}
	if _, err := tooltest.Need(t, "sfdisk").Run(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	table, err := locate.ReadTable(dev)
	if err == nil {
		err = disk.Reread(t.Context(), dev, table)
	}
	if err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, "mke2fs", "-q", "-t", "ext4", dev+"p2")
	mount = t.TempDir()
	tooltest.Run(t, "mount", dev+"p2", mount)
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	name := filepath.Base(dev)
	d = envscan.Disk{Name: name, Serial: "LOOP0001", Size: table.Size, SectorSize: 512}
	d.Table = &table
	content := []probe.Result{{Type: "ext4", UUID: strings.TrimSpace(string(tooltest.Run(t, "blkid", "-s", "UUID", "-o", "value", dev+"p2")))}}
	d.Partition = []envscan.Partition{
		{Number: 1, Name: name + "p1", Offset: 1 << 20, Size: 100 << 20, Use: envscan.Use{Mounts: []string{"/"}}},
		{Number: 2, Name: name + "p2", Offset: 101 << 20, Size: 3995 << 20, Content: content, Use: envscan.Use{Mounts: []string{mount}}},
	}
	return dev, mount, d
}

// A stage in a file: the table stays as it is, the stage is what its document says,
// its journal is found by the registration, and the file goes without a trace.
func TestStageInAFile(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "sfdisk", "mke2fs", "blkid")
	dev, mount, d := packedDisk(t)
	name := filepath.Base(dev)
	running := reinstall.Running{Filesystems: []reinstall.Filesystem{
		{Mountpoint: "/", Device: name + "p1", Type: "ext4"}, {Mountpoint: mount, Device: name + "p2", Type: "ext4", Free: 3 << 30},
	}}
	before, free := tables(t, dev), freeIn(t, mount)
	r, err := planFor(t, d, running, reinstall.Extent)
	t.Cleanup(r.letGo)
	if err != nil {
		t.Fatal(err)
	}
	if r.piece == nil || r.plan.Room.File != mount+"/vic-stage.img" || r.plan.Stage.Offset < 2<<30 || r.plan.Room.Unused > 0 {
		t.Fatalf("the stage is at %d, in %+v", r.plan.Stage.Offset, r.plan.Room)
	}
	store := attemptStore(t, r)
	f := filesOf(t, r)
	if err := r.make(t.Context(), &staged.Records{Store: store}, f); err != nil {
		t.Fatal(err)
	}
	if tables(t, dev) != before {
		t.Error("the ends of the disk are not as they were")
	}
	found := map[string]journal.Attempt{}
	for _, reg := range store.List(t.Context()) {
		if err := stageInFile(reg, found); err != nil {
			t.Error(err)
		}
	}
	a := found[r.plan.Room.File]
	if a.Document.ID != r.id || a.Document.Extent == nil || len(a.History) != 1 || a.History[0].State != journal.Staged {
		t.Errorf("the stage in %v: %+v", found, a)
	}
	if err := undoAttempt(t.Context(), store, attemptGroup+r.id.String()); err != nil {
		t.Fatal(err)
	}
	r.letGo()
	unix.Sync()
	for limit := time.Now().Add(10 * time.Second); freeIn(t, mount) != free && time.Now().Before(limit); {
		time.Sleep(10 * time.Millisecond)
	}
	if left, err := os.ReadDir(mount); err != nil || len(left) != 1 || tables(t, dev) != before || freeIn(t, mount) != free {
		t.Errorf("%v is left, %d bytes are free and were %d, %v", left, freeIn(t, mount), free, err)
	}
}

// Where files need a name, the piece is held when the attempt has begun: until then
// there is no file, and from there on it is registered.
func TestStageInANamedFile(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "sfdisk", "mke2fs", "blkid")
	dev, mount, d := packedDisk(t)
	name := filepath.Base(dev)
	d.Partition[1].Content[0].Type = "vfat"
	running := reinstall.Running{Filesystems: []reinstall.Filesystem{
		{Mountpoint: "/", Device: name + "p1", Type: "ext4"}, {Mountpoint: mount, Device: name + "p2", Type: "vfat", Free: 3 << 30},
	}}
	before := tables(t, dev)
	r, err := planFor(t, d, running, reinstall.Extent)
	t.Cleanup(r.letGo)
	if err != nil {
		t.Fatal(err)
	}
	file := mount + "/vic-stage.img"
	if _, err := os.Lstat(file); r.piece != nil || r.plan.Room.Piece == nil || r.plan.Room.File != file || !os.IsNotExist(err) {
		t.Fatalf("planned are %+v, there is %v, %v", r.plan.Room, r.piece, err)
	}
	store := attemptStore(t, r)
	to := &staged.Records{Store: store}
	if err := r.hold(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if r.plan.Room.Piece != nil || r.plan.Stage.Offset < 2<<30 || r.plan.Core.Offset != 101<<20+r.piece.Offset {
		t.Errorf("held at %d, the stage is at %d, in %+v", r.piece.Offset, r.plan.Stage.Offset, r.plan.Room)
	}
	if err := r.make(t.Context(), to, filesOf(t, r)); err != nil {
		t.Fatal(err)
	}
	list := store.List(t.Context())
	found := map[string]journal.Attempt{}
	if len(list) != 1 || list[0].Standing.Is != registration.Stands || stageInFile(list[0], found) != nil || found[file].Document.ID != r.id {
		t.Errorf("%+v, %v", list, found)
	}
	if err := undoAttempt(t.Context(), store, attemptGroup+r.id.String()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(mount); err != nil || len(left) != 1 || tables(t, dev) != before {
		t.Errorf("%v is left, %v", left, err)
	}
}

// What the file system has then may not serve: all is as it was.
func TestNamedFileElsewhere(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "sfdisk", "mke2fs", "blkid")
	dev, mount, d := packedDisk(t)
	name := filepath.Base(dev)
	d.Partition[1].Content[0].Type = "vfat"
	running := reinstall.Running{Filesystems: []reinstall.Filesystem{
		{Mountpoint: "/", Device: name + "p1", Type: "ext4"}, {Mountpoint: mount, Device: name + "p2", Type: "vfat", Free: 3 << 30},
	}}
	r, err := planFor(t, d, running, reinstall.Extent)
	t.Cleanup(r.letGo)
	if err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, "fallocate", "-l", "3700M", mount+"/large")
	store := attemptStore(t, r)
	if err := r.hold(t.Context(), &staged.Records{Store: store}); err == nil || !strings.Contains(err.Error(), "no free piece of that size there") {
		t.Error(err)
	}
	if err := undoAttempt(t.Context(), store, attemptGroup+r.id.String()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(mount); err != nil || len(left) != 2 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// Where there is no piece the next kind of room is tried, with the reason.
func TestNoPiece(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "sfdisk", "mke2fs", "blkid")
	dev, mount, d := packedDisk(t)
	name := filepath.Base(dev)
	running := reinstall.Running{Filesystems: []reinstall.Filesystem{
		{Mountpoint: "/", Device: name + "p1", Type: "ext4"}, {Mountpoint: mount, Device: name + "p2", Type: "ext4", Free: 3 << 30},
	}}
	tooltest.Run(t, "fallocate", "-l", "3600M", mount+"/large")
	r, err := planFor(t, d, running, "")
	t.Cleanup(r.letGo)
	if err == nil || !strings.Contains(err.Error(), "no free piece of that size there") || !strings.Contains(err.Error(), "files in the root file system: ") {
		t.Error(err)
	}
}

// tables is what the ends of a disk have.
func tables(t *testing.T, dev string) string {
	t.Helper()
	f, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 2<<20)
	for i, at := range []int64{0, 4<<30 - 1<<20} {
		if _, err := f.ReadAt(b[i<<20:(i+1)<<20], at); err != nil {
			t.Fatal(err)
		}
	}
	return string(b)
}

func freeIn(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bfree) * st.Bsize
}
