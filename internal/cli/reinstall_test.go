package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/oneshot"
	"github.com/victorinix/vic/internal/plan/reinstall"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/boot"
	"github.com/victorinix/vic/internal/registration/kinds"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/registration/staged"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// oldDisk is a loop device with a mounted ext4, a swap area, and nothing else.
func oldDisk(t *testing.T) (dev, mount string) {
	t.Helper()
	dev = tooltest.Loop(t, 4<<30)
	cmd := tool.Cmd{Name: "sfdisk", Args: []string{"--quiet", "--no-reread", "--no-tell-kernel", dev}, Stdin: strings.NewReader("label: dos\nstart=1MiB, size=100MiB, type=83, bootable\nstart=101MiB, size=3900MiB, type=82\n")}
	if _, err := tooltest.Need(t, "sfdisk").Run(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	table, err := locate.ReadTable(dev)
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.Reread(t.Context(), dev, table); err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, "mkswap", "--label", "before", dev+"p2")
	tooltest.Run(t, "mke2fs", "-q", "-t", "ext4", dev+"p1")
	mount = t.TempDir()
	tooltest.Run(t, "mount", dev+"p1", mount)
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(mount+"/mine", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dev, mount
}

// attemptOn plans an attempt on a disk as if the system ran from it, with the swap
// as the room.
func attemptOn(t *testing.T, dev string) *reinstallRun {
	t.Helper()
	table, err := locate.ReadTable(dev)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(dev)
	swap, err := locate.Contents(dev + "p2")
	if err != nil {
		t.Fatal(err)
	}
	d := envscan.Disk{Name: name, Serial: "LOOP0001", Size: table.Size, SectorSize: 512}
	d.Table = &table
	d.Partition = []envscan.Partition{
		{Number: 1, Name: name + "p1", Offset: 1 << 20, Size: 100 << 20, Content: []probe.Result{{Type: "ext4"}}, Use: envscan.Use{Mounts: []string{"/"}}},
		{Number: 2, Name: name + "p2", Offset: 101 << 20, Size: 3900 << 20, Content: swap},
	}
	r, err := planFor(t, d, reinstall.Running{Filesystems: []reinstall.Filesystem{{Mountpoint: "/", Device: name + "p1", Type: "ext4"}}}, reinstall.Swap)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// planFor plans an attempt on the disk of a BIOS machine, with a kind of room.
func planFor(t *testing.T, d envscan.Disk, running reinstall.Running, room reinstall.Room) (*reinstallRun, error) {
	t.Helper()
	r, c := plannedFor(t, d, running, room)
	return r, r.choose(c)
}

// plannedFor is planFor without a plan, and what one is made from.
func plannedFor(t *testing.T, d envscan.Disk, running reinstall.Running, room reinstall.Room) (*reinstallRun, reinstall.Config) {
	t.Helper()
	facts := envscan.Facts{
		Schema: envscan.Schema, State: envscan.State{MemoryAvailable: 1 << 30}, OS: envscan.OS{Kexec: envscan.Kexec{Allowed: true}},
		HW: envscan.HW{Arch: "amd64", Firmware: envscan.Firmware{Type: "bios"}, Memory: envscan.Memory{Total: 2 << 30}, Disk: []envscan.Disk{d}},
	}
	doc, err := images.Layout("default", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	l, err := layout.Parse("default.yaml", doc)
	if err != nil {
		t.Fatal(err)
	}
	selectors := map[string]request.DiskSelector{"main": {Serial: "LOOP0001"}}
	req := request.Request{
		Version: request.Version, Item: "debian", Layout: l, Disks: selectors, Finish: request.FinishReboot,
		Payload: request.Payload{Format: "erofs", Size: 3 << 20, TreeSize: 4 << 20, Arch: "amd64", Kernel: "6.12.1", SHA256: strings.Repeat("ab", 32)},
		System:  request.System{Hostname: "old", Timezone: "UTC", Locale: "C.UTF-8", Keymap: "us", Network: request.Network{Mode: request.NetworkDHCP}},
	}
	req.Payload.Source.Path = "/payload"
	id := uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001")
	c := reinstall.Config{ID: id, Facts: facts, Request: req, Disk: "main", Sizes: reinstall.Sizes{Payload: 3 << 20}, Running: running, Room: room}
	job := &installJob{app: &app{stdout: io.Discard, stderr: io.Discard}, flags: &installFlags{}, clock: newClock(event.Discard)}
	return &reinstallRun{installJob: job, id: id, facts: facts, name: "main", disks: selectors, req: req}, c
}

// filesOf are small files in the place of large ones.
func filesOf(t *testing.T, r *reinstallRun) *attemptFiles {
	t.Helper()
	f := &attemptFiles{dir: t.TempDir(), doc: r.document(), at: map[string]string{}}
	f.doc.BootCode, f.doc.OldBootCode = make([]byte, 440), make([]byte, 440)
	for _, name := range []string{stage.Payload, stage.Request, stage.Kernel, stage.Initrd, stage.CoreImage} {
		content := bytes.Repeat([]byte(name), 100_000)
		if err := f.write(name, func(w io.Writer) error { _, err := w.Write(content); return err }); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// The RAM system that shrinks a file system is told which boot entry leads back into
// it: the one that is made.
func TestHopKnowsItsBootEntry(t *testing.T) {
	r := &reinstallRun{id: uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001")}
	r.plan.Hop = &stage.Hop{Filesystem: "x", Folder: "/x"}
	r.plan.Enter = reinstall.EnterPlan{Way: reinstall.BootNext, ESP: "/boot/efi"}
	var made []string
	do := func(_ context.Context, s registration.Change) (string, error) {
		if e, ok := s.(*boot.Entry); ok {
			made = append(made, e.Path)
		}
		return "", nil
	}
	if err := oneshot.BootNext(t.Context(), do, efi.HardDrive{}, oneshot.UKI(r.id)); err != nil {
		t.Fatal(err)
	}
	if got := r.document().Hop.Loader; len(made) != 1 || got != made[0] {
		t.Errorf("the hop knows %q, the entry is %q", got, made)
	}
	if r.plan.Enter.Way = reinstall.Kexec; r.document().Hop.Loader != "" {
		t.Error("kexec leaves no boot entry")
	}
}

// look is everything of a disk that an attempt changes.
func look(t *testing.T, dev string) string {
	t.Helper()
	text := tooltest.Run(t, "sfdisk", "--dump", dev) + tooltest.Run(t, "blkid", "-p", dev+"p2")
	head := make([]byte, 1<<20)
	f, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	return text + string(head)
}

// The stage is made beside a mounted file system, is what its document says, and
// goes without a trace.
func TestStageBesideAMountedRoot(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "sfdisk", "mkswap", "mke2fs", "blkid", "fsck.vfat")
	dev, mount := oldDisk(t)
	before := look(t, dev)
	r := attemptOn(t, dev)
	dir := t.TempDir()
	store, err := registration.Open(registration.Config{
		Dirs: []string{dir + "/registrations"}, Lock: dir + "/lock", Kinds: kinds.All(), Group: attemptGroup + r.id.String(), Env: registration.Env{Run: tool.Exec{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	f := filesOf(t, r)
	if err := r.make(t.Context(), &staged.Records{Store: store}, f); err != nil {
		t.Fatal(err)
	}
	part := dev + "p3"
	if r.plan.Stage.Number != 3 {
		t.Fatalf("the stage is partition %d", r.plan.Stage.Number)
	}
	tooltest.Run(t, "fsck.vfat", "-n", part)
	a, err := journal.Read(part)
	if err != nil || a.Document.ID != r.id || len(a.History) != 1 || a.History[0].State != journal.Staged {
		t.Errorf("the stage: %+v, %v", a.History, err)
	}
	copied, err := staged.OpenNamed(registration.Config{ReadOnly: true, Kinds: kinds.All(), Env: registration.Env{Run: tool.Exec{}}}, []string{part})
	if err != nil {
		t.Fatal(err)
	}
	if on, own := len(copied.List(t.Context())), len(store.List(t.Context())); on != own || own == 0 {
		t.Errorf("%d registrations are on the stage, of %d", on, own)
	}
	if err := copied.Close(); err != nil {
		t.Error(err)
	}
	if err := undoAttempt(t.Context(), store, attemptGroup+r.id.String()); err != nil {
		t.Fatal(err)
	}
	if after := look(t, dev); after != before {
		t.Errorf("the disk is not as it was:\n%q\nand was\n%q", after[:600], before[:600])
	}
	if mine, err := os.ReadFile(mount + "/mine"); err != nil || string(mine) != "mine" {
		t.Errorf("the file system that was mounted: %q %v", mine, err)
	}
}

// A system without a folder of registrations takes all back from what is on the
// stage alone, the stage with it; a stage that has been committed stays.
func TestUndoFromTheStageAlone(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "sfdisk", "mkswap", "mke2fs", "blkid")
	vic := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if exit := Main(t.Context(), args, strings.NewReader(""), &out, &out); exit != want {
			t.Fatalf("vic %s ends with %d:\n%s", strings.Join(args, " "), exit, &out)
		}
		return out.String()
	}
	for _, committed := range []bool{false, true} {
		dev, _ := oldDisk(t)
		before, part := look(t, dev), dev+"p3"
		r := attemptOn(t, dev)
		store := attemptStore(t, r)
		records := &staged.Records{Store: store}
		if err := r.make(t.Context(), records, filesOf(t, r)); err != nil {
			t.Fatal(err)
		}
		if err := records.Stages[0].Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(store.Dir()); err != nil {
			t.Fatal(err)
		}
		if list := vic(exitDone, "list", "registrations", "--records", part); !strings.Contains(list, "r1 ") || !strings.Contains(list, " yes ") {
			t.Errorf("%s", list)
		}
		if committed {
			noteOnStage(t, dev, r, journal.Committed)
			if said := vic(exitRefused, "undo", "--all", "--records", part); !strings.Contains(said, "has been committed") {
				t.Errorf("%s", said)
			}
			continue
		}
		said := vic(exitDone, "undo", "--all", "--records", part)
		if after := look(t, dev); after != before || strings.Contains(said, "warning") {
			t.Errorf("the disk is not as it was:\n%q\nand was\n%q\n%s", after[:600], before[:600], said)
		}
	}
	if said := vic(exitRefused, "undo", "--all", "--records", "/dev/vic-test-none9"); !strings.Contains(said, "no such file or directory") || !strings.Contains(said, "hint: --records takes") {
		t.Errorf("%s", said)
	}
}

// noteOnStage has the journal say how far an attempt is.
func noteOnStage(t *testing.T, dev string, r *reinstallRun, state journal.State) {
	t.Helper()
	d, err := journal.OpenStage(dev, r.plan.Stage)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(d, r.id)
	if err == nil {
		err = j.Append(journal.Record{State: state, Time: time.Unix(1_700_000_000, 0)})
	}
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
}

// Whatever fails takes back what was made before it.
func TestStageThatFailsIsTakenBack(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "sfdisk", "mkswap", "mke2fs", "blkid")
	dev, _ := oldDisk(t)
	before := look(t, dev)
	r := attemptOn(t, dev)
	dir := t.TempDir()
	group := attemptGroup + r.id.String()
	store, err := registration.Open(registration.Config{Dirs: []string{dir + "/registrations"}, Lock: dir + "/lock", Kinds: kinds.All(), Group: group, Env: registration.Env{Run: tool.Exec{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	f := filesOf(t, r)
	if err := os.WriteFile(f.at[stage.Payload], bytes.Repeat([]byte("?"), int(f.doc.Files[0].Size)), 0o600); err != nil {
		t.Fatal(err)
	}
	err = r.make(t.Context(), &staged.Records{Store: store}, f)
	if err == nil || !strings.Contains(err.Error(), "altered or damaged") {
		t.Fatalf("%v", err)
	}
	if err := undoAttempt(t.Context(), store, group); err != nil {
		t.Fatal(err)
	}
	if look(t, dev) != before {
		t.Error("the disk is not as it was")
	}
}

// Of a mounted ext4 what it can be shrunk to is known without unmounting it: not less
// than resize2fs finds out afterwards, and not much more.
func TestMinSizeOfAMountedRoot(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "mke2fs", "resize2fs", "losetup")
	dev := tooltest.Loop(t, 3<<30)
	tooltest.Run(t, "mke2fs", "-q", "-t", "ext4", dev)
	dir := t.TempDir()
	tooltest.Run(t, "mount", dev, dir)
	err := os.WriteFile(dir+"/data", make([]byte, 700<<20), 0o600)
	var f reinstall.Filesystem
	if err == nil {
		f, err = filesystem(filepath.Base(dev), sysfs.Mount{Target: dir, Type: "ext4", Root: "/"}, nil)
	}
	if err := errors.Join(err, unix.Unmount(dir, 0)); err != nil {
		t.Fatal(err)
	}
	// Of the file behind it: the device may be looked at by others just then.
	image := strings.TrimSpace(tooltest.Run(t, "losetup", "--noheadings", "--output", "BACK-FILE", dev))
	said := tooltest.Run(t, "resize2fs", "-P", image)
	blocks, err := strconv.ParseInt(strings.TrimSpace(said[strings.LastIndex(said, ":")+1:]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if least := blocks * 4096; f.MinSize < least || f.MinSize > least+least/8 {
		t.Errorf("%d MiB while it was mounted, resize2fs says %d", f.MinSize>>20, least>>20)
	}
}

func TestRunsFrom(t *testing.T) {
	mounted := func(at string) envscan.Use { return envscan.Use{Mounts: []string{at}} }
	plain := envscan.Disk{Name: "sda", Contents: envscan.Contents{Partition: []envscan.Partition{{Name: "sda1", Use: mounted("/")}}}}
	data := envscan.Disk{Name: "sdb", Contents: envscan.Contents{Partition: []envscan.Partition{{Name: "sdb1", Use: mounted("/srv")}}}}
	deep := envscan.Disk{Name: "sdc", Contents: envscan.Contents{Partition: []envscan.Partition{{Name: "sdc1"}}}}
	facts := envscan.Facts{HW: envscan.HW{Volume: []envscan.Volume{
		{Name: "dm-0", From: []string{"dm-1"}, Contents: envscan.Contents{Use: mounted("/")}}, {Name: "dm-1", From: []string{"sdc1"}},
	}}}
	if !runsFrom(plain, envscan.Facts{}) || runsFrom(data, facts) || !runsFrom(deep, facts) || runsFrom(deep, envscan.Facts{}) {
		t.Error("the disk that the system is on is another")
	}
}

func TestLooks(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"sys/fs/ext4/sda1/errors_count": "0\n", "sys/fs/ext4/sda2/errors_count": "3\n",
		"root/.ssh/authorized_keys": "# me\n" + testKey + " me\ncommand=\"/bin/true\" " + testKey + " less\n",
		"etc/passwd":                "anna:x:1000:1000::/home/anna:/bin/sh\n", "home/anna/.ssh/authorized_keys2": testKey + " anna\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"sda1": "", "sda2": "the kernel has counted 3", "sda3": ""} {
		if got, err := extErrors(root, name); err != nil || got != want {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	for user, want := range map[string]string{"root": testKey + " me", "anna": testKey + " anna", "eve": testKey + " me"} {
		if got, err := ownKeys(root, user); user != "eve" && (err != nil || strings.Join(got, "|") != want) {
			t.Errorf("%s: %q %v", user, got, err)
		}
	}
	for cmdline, want := range map[string]string{"quiet": "", "resume=/dev/sda3 quiet": "sda3", "resume=/dev/sda3 noresume": ""} {
		if got := resumesFrom(root, cmdline); got != want {
			t.Errorf("%s: %q", cmdline, got)
		}
	}
}

const testKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// What a RAM system leaves in the folder of its files is told.
func TestOutcomes(t *testing.T) {
	folder := t.TempDir()
	id := uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001")
	text, err := json.Marshal(stage.Ended{ID: id, Error: "not enough memory"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(folder, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "x", stage.Outcome), text, 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := outcomes(folder)
	if e := found[filepath.Join(folder, "x")]; err != nil || e.ID != id || e.Error != "not enough memory" {
		t.Errorf("%+v %v", found, err)
	}
	var b strings.Builder
	s := attemptStatus{ID: id, State: journal.Failed, Error: "not enough memory"}
	s.Todo = s.todo()
	b.WriteString(s.describe())
	if !strings.Contains(b.String(), "it gave up: not enough memory") || !strings.Contains(b.String(), "vic undo --all") {
		t.Error(b.String())
	}
}

// Flags of a reinstall are refused where there is none, and when they say nothing
// that exists.
func TestReinstallFlags(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"--disk /dev/x --room attic", "--room attic: expected one of free, swap, lvm, btrfs, extent, files"},
		{"--disk /dev/x --enter door", "--enter door: expected one of kexec, bootnext, systemd-boot, grub"},
		{"--vm --disk x.img,size=8G --room swap", "--room is for the disk that this system runs from"},
	} {
		var stderr strings.Builder
		args := append([]string{"install", "debian"}, strings.Fields(tt.args)...)
		if exit := Main(t.Context(), args, strings.NewReader(""), io.Discard, &stderr); exit != exitUsage || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%s: exit code %d, %s", tt.args, exit, stderr.String())
		}
	}
}
