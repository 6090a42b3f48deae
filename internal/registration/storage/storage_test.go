package storage

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/registration/regtest"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

const mib = 1 << 20

var kinds = registration.Kinds{
	PartitionKind:  {Version: Version, New: func() registration.Change { return new(Partition) }},
	TableKind:      {Version: Version, New: func() registration.Change { return new(Table) }},
	FilesystemKind: {Version: Version, New: func() registration.Change { return new(Filesystem) }},
	PhysicalKind:   {Version: Version, New: func() registration.Change { return new(PhysicalVolume) }},
	SwapKind:       {Version: Version, New: func() registration.Change { return new(Swap) }},
	SwapFileKind:   {Version: Version, New: func() registration.Change { return new(SwapFile) }},
	StageFileKind:  {Version: Version, New: func() registration.Change { return new(StageFile) }},
	regtest.Act:    {Version: 1, New: func() registration.Change { return new(act) }},
}

// The disks are in memory: there a flush costs nothing.
func TestMain(m *testing.M) {
	if _, err := os.Stat("/dev/shm"); err == nil && os.Getenv("TMPDIR") == "" {
		if err := os.Setenv("TMPDIR", "/dev/shm"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// act is what a caller does between changes, such as mkfs; it is no change.
type act struct{ do func() }

func (*act) Kind() string                                       { return regtest.Act }
func (*act) String() string                                     { return regtest.Act }
func (a *act) Prepare(context.Context, *registration.Env) error { a.do(); return nil }
func (*act) Apply(context.Context, *registration.Env) error     { return nil }
func (*act) Revert(context.Context, *registration.Env) error    { return nil }
func (*act) Check(context.Context, *registration.Env) (registration.Standing, error) {
	return registration.Standing{Is: registration.Before}, nil
}

var (
	linux   = uuid.MustParse("0fc63daf-8483-4772-8e79-3d69d8477de4")
	stageID = uuid.MustParse("6c6f6f70-0000-4000-8000-000000000001")
)

const stageFS = "8f1d1bd6-1111-4222-8333-123456789abc"

// table makes a disk with a script of sfdisk, and has the kernel show it.
func table(t *testing.T, size int64, script string, options ...string) string {
	t.Helper()
	dev := tooltest.Loop(t, size, options...)
	feed(t, script, "sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", dev)
	reread(t, dev)
	return dev
}

func feed(t *testing.T, input, name string, args ...string) {
	t.Helper()
	if _, err := tooltest.Need(t, name).Run(t.Context(), tool.Cmd{Name: name, Args: args, Stdin: strings.NewReader(input)}); err != nil {
		t.Fatal(err)
	}
}

func reread(t *testing.T, dev string) {
	t.Helper()
	now, err := locate.ReadTable(dev)
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.Reread(t.Context(), dev, now); err != nil {
		t.Fatal(err)
	}
}

const gptScript = `label: gpt
first-lba: 2048
start=2048, size=20480, type=U, name="EFI system", uuid=aaaaaaaa-0000-4000-8000-000000000001
start=22528, size=40960, type=L, name="root ÄÖ", uuid=aaaaaaaa-0000-4000-8000-000000000002, attrs="GUID:63"
start=63488, size=20480, type=S, name="swap", uuid=aaaaaaaa-0000-4000-8000-000000000003
`

const mbrScript = `label: dos
start=2048, size=20480, type=83, bootable
start=22528, size=102400, type=5
start=24576, size=20480, type=82
start=47104, size=20480, type=83
`

// snapshot is everything that has to be as it was on a disk: its table, byte by
// byte and as others read it, what the partitions are and hold, and what the
// kernel shows.
func snapshot(t *testing.T, dev string) string {
	t.Helper()
	var s strings.Builder
	s.WriteString(tooltest.Run(t, "sfdisk", "--dump", dev))
	now, err := locate.ReadTable(dev)
	if err != nil {
		t.Fatal(err)
	}
	ends := []int{0, 34 * now.SectorSize}
	if now.Kind == layout.KindGPT {
		s.WriteString(tooltest.Run(t, "sgdisk", "--print", "--verify", dev))
	}
	parts := slices.Clone(now.Entries)
	slices.SortFunc(parts, func(a, b layout.Entry) int { return int(a.FirstLBA) - int(b.FirstLBA) })
	for _, e := range parts {
		if isLogical(e) { // its record lies before it
			ends = append(ends, int(e.FirstLBA)*512-1024*512, int(e.FirstLBA)*512)
		}
	}
	ends = append(ends, int(now.Size)-33*now.SectorSize, int(now.Size))
	for i := 0; i < len(ends); i += 2 {
		b, err := readAt(dev, int64(ends[i]), ends[i+1]-ends[i])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&s, "bytes %d to %d: %x\n", ends[i], ends[i+1], sha256.Sum256(b))
	}
	for _, e := range parts {
		if isExtended(e) {
			continue
		}
		list, err := locate.Contents(disk.PartitionPath(dev, e.Number))
		fmt.Fprintf(&s, "%d: ", e.Number)
		for _, r := range list {
			fmt.Fprintf(&s, "%s %s %s %d;", r.Type, r.UUID, r.Label, r.Size)
		}
		fmt.Fprintln(&s, err)
	}
	return s.String() + shown(t, dev)
}

// shown is what the kernel shows, and what it swaps to.
func shown(t *testing.T, dev string) string {
	t.Helper()
	name := filepath.Base(dev)
	root := sysfs.Root("/")
	parts, err := root.Partitions(name)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(parts)
	var s strings.Builder
	for _, p := range parts {
		start, err := root.Number("sys/block", name, p, "start")
		size, err2 := root.Number("sys/block", name, p, "size")
		on, err3 := swappedTo("/dev/" + p)
		fmt.Fprintln(&s, p, start, size, on, err, err2, err3)
	}
	return s.String()
}

func stage(first, last uint64) layout.Entry {
	return layout.Entry{Type: linux, GUID: stageID, Label: "vic-stage", FirstLBA: first, LastLBA: last, MBR: nil}
}

func mkfs(t *testing.T, node string) *act {
	return &act{func() { tooltest.Run(t, "mkfs.ext4", "-q", "-F", "-U", stageFS, node) }}
}

func host(t *testing.T, dev string, changes ...func() registration.Change) regtest.Host {
	h := regtest.Host{
		Kinds: kinds, Env: registration.Env{Run: tool.Exec{}, Root: t.TempDir()},
		Snapshot: func() string { return snapshot(t, dev) },
		Changes: func() (list []registration.Change) {
			for _, c := range changes {
				list = append(list, c())
			}
			return list
		},
	}
	if os.Getenv("VIC_TEST_MATRIX") == "" {
		h.Step = 17
	}
	return h
}

// mounted mounts a partition for the test: the disk is in use.
func mounted(t *testing.T, node, format string) string {
	t.Helper()
	dir := t.TempDir()
	if err := disk.Mount(node, dir, format, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestAddGPT(t *testing.T) {
	for _, sector := range []string{"512", "4096"} {
		script := gptScript
		if sector == "4096" {
			script = "label: gpt\nstart=256, size=2560, name=a\nstart=2816, size=5120, name=b\n"
		}
		dev := table(t, 64*mib, script, "--sector-size", sector)
		tooltest.Run(t, "mkfs.ext4", "-q", "-F", dev+"p2")
		mounted(t, dev+"p2", "ext4")
		first, last := uint64(83968), uint64(124927)
		if sector == "4096" {
			first, last = 8192, 12287
		}
		regtest.Run(t, host(t, dev,
			func() registration.Change { return Add(dev, stage(first, last), stageFS) },
			func() registration.Change {
				nodes, err := filepath.Glob(dev + "p*")
				if err != nil {
					t.Fatal(err)
				}
				return mkfs(t, dev+"p"+fmt.Sprint(len(nodes)+1))
			},
		))
	}
}

func TestAddLogical(t *testing.T) {
	dev := table(t, 64*mib, mbrScript)
	tooltest.Run(t, "mkfs.ext4", "-q", "-F", dev+"p6")
	mounted(t, dev+"p6", "ext4")
	e := layout.Entry{FirstLBA: 69632, LastLBA: 110591, MBR: &layout.MBREntry{Type: 0x83}}
	regtest.Run(t, host(t, dev,
		func() registration.Change { return Add(dev, e, stageFS) },
		func() registration.Change { return mkfs(t, dev+"p7") },
		func() registration.Change {
			return Add(dev, layout.Entry{FirstLBA: 126976, LastLBA: 129023, MBR: &layout.MBREntry{Type: 0xda, Bootable: true}}, "")
		},
	))
}

// The swap partition becomes the stage.
func TestReplaceSwap(t *testing.T) {
	for _, script := range []string{gptScript, mbrScript} {
		number := 3
		if script == mbrScript {
			number = 5
		}
		dev := table(t, 64*mib, script)
		node := disk.PartitionPath(dev, number)
		tooltest.Run(t, "mkswap", "--quiet", "--label", "SWAP", "--uuid", "8f1d1bd6-0000-4222-8333-123456789abc", node)
		h := host(t, dev,
			func() registration.Change { return GiveUp(node, stageFS) },
			func() registration.Change {
				p := Change(dev, number, func(e *layout.Entry) {
					if e.MBR != nil {
						e.MBR.Type = 0x83
						return
					}
					e.Type, e.Label = linux, "vic-stage"
				})
				p.Holds = stageFS
				return p
			},
			func() registration.Change { return mkfs(t, node) },
		)
		// It was on, by fstab.
		line := "LABEL=SWAP none swap sw,pri=7 0 0\n"
		if err := os.MkdirAll(h.Env.Path("/etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.Env.Path("/etc/fstab"), []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
		priority := 7
		if err := disk.SwapOn(node, &priority, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = disk.SwapOff(node) })
		regtest.Run(t, h)
		if out := tooltest.Run(t, "swapon", "--show=NAME,PRIO", "--noheadings"); !strings.Contains(out, node) || !strings.Contains(out, "7") {
			t.Errorf("swapon shows %q", out)
		}
	}
}

// The swap partition makes room for two others, where an old file system was
// once. It is the only logical one, as Debian makes it.
func TestRemoveSwap(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const mbr = "label: dos\nstart=2048, size=20480, type=83, bootable\nstart=22528, size=102400, type=5\nstart=24576, size=61440, type=82\n"
	for _, script := range []string{gptScript, mbr} {
		dev := table(t, 64*mib, script)
		number, first, last := 3, uint64(63488), uint64(83967)
		e := stage(first, last-8192)
		core := layout.Entry{Type: linux, GUID: uuid.MustParse("6c6f6f70-0000-4000-8000-000000000002"), FirstLBA: last - 4095, LastLBA: last}
		if script == mbr {
			number, first, last = 5, 24576, 86015
			e, core = layout.Entry{FirstLBA: first, LastLBA: last - 8192}, layout.Entry{FirstLBA: last - 4095, LastLBA: last}
			e.MBR, core.MBR = &layout.MBREntry{Type: 0x0c}, &layout.MBREntry{Type: 0xda}
		}
		node := disk.PartitionPath(dev, number)
		tooltest.Run(t, "mkfs.ext4", "-q", "-F", node)
		superblock, err := readAt(node, 0, 4096)
		if err != nil {
			t.Fatal(err)
		}
		tooltest.Run(t, "mkswap", "--quiet", node)
		write(t, dev, int64(core.FirstLBA)*512, superblock)
		stageNumber := 0
		regtest.Run(t, host(t, dev,
			func() registration.Change { return GiveUp(node, stageFS) },
			func() registration.Change { return Remove(dev, number) },
			func() registration.Change { return &noted{Add(dev, e, stageFS), &stageNumber} },
			func() registration.Change { return Add(dev, core, "") },
			func() registration.Change {
				return &act{func() {
					tooltest.Run(t, "mkfs.ext4", "-q", "-F", "-U", stageFS, disk.PartitionPath(dev, stageNumber))
				}}
			},
		))
	}
}

// noted is a partition whose number is noted when it is known.
type noted struct {
	*Partition
	number *int
}

func (n *noted) Prepare(ctx context.Context, env *registration.Env) error {
	err := n.Partition.Prepare(ctx, env)
	if err == nil {
		*n.number = n.Number()
	}
	return err
}

// A file system is shrunk, its partition too, and the stage comes into the
// room.
func TestShrink(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, tt := range []struct {
		format string
		online bool
		size   int64
	}{{"ext4", false, 64}, {"btrfs", true, 300}} {
		t.Run(tt.format, func(t *testing.T) {
			sectors := uint64(tt.size) * 2048
			dev := table(t, (tt.size+8)*mib, fmt.Sprintf("label: gpt\nstart=2048, size=%d, name=root\n", sectors))
			tooltest.Run(t, "mkfs."+tt.format, "-q", dev+"p1")
			dir := ""
			if tt.online {
				dir = mounted(t, dev+"p1", tt.format)
			}
			less := uint64(20 * 2048)
			last := 2048 + sectors - 1
			h := host(t, dev,
				func() registration.Change { return Resize(dev+"p1", int64(sectors-less)*512) },
				func() registration.Change {
					return Change(dev, 1, func(e *layout.Entry) { e.LastLBA = last - less })
				},
				func() registration.Change { return Add(dev, stage(last-less+1, last), stageFS) },
				func() registration.Change { return mkfs(t, dev+"p2") },
			)
			plain := h.Snapshot
			h.Snapshot = func() string { // what a mounted one has in its superblock is of a moment before
				if dir != "" {
					if err := syncFilesystem(dir); err != nil {
						t.Fatal(err)
					}
				}
				return plain()
			}
			regtest.Run(t, h)
		})
	}
}
