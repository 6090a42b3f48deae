// Package reinstall plans how the disk is installed anew that the machine is
// running from: where the stage (package stage) goes, how room is made for it,
// how the machine gets into the RAM system, and how all of that is undone. It is
// pure: facts and sizes in, a plan or everything that stands in the way out.
//
//	room, the first that works        way, the first that works
//	  free    a gap of the table        kexec         the running kernel starts the next
//	  swap    a swap partition          bootnext      the firmware does, once
//	  lvm     a physical volume ends    systemd-boot  its one-shot entry
//	          earlier
//	  btrfs   the root shrinks          grub          next_entry in its environment
//	  extent  a file in one piece
//	  files   in the root; the RAM
//	          system shrinks ext4
//
// Where files have too little that is free, swap files of the root go first; before
// a btrfs shrinks, in any case.
//
// Every way is one-shot: a machine that hangs starts the old system at the next
// power cycle.
package reinstall

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/plan/handover"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
)

// Room is how room for the stage is made.
type Room string

// The rooms, in the order in which they are tried.
const (
	Free   Room = "free"
	Swap   Room = "swap"
	LVM    Room = "lvm"
	Btrfs  Room = "btrfs"
	Extent Room = "extent"
	Files  Room = "files"
)

// Way is how the machine gets into the RAM system.
type Way string

// The ways, in the order in which they are tried.
const (
	Kexec       Way = "kexec"
	BootNext    Way = "bootnext"
	SystemdBoot Way = "systemd-boot"
	GRUB        Way = "grub"
)

// Rooms and Ways are all of them, in order.
var (
	rooms = []Room{Free, Swap, LVM, Btrfs, Extent, Files}
	ways  = []Way{Kexec, BootNext, SystemdBoot, GRUB}
)

// Rooms are all rooms, in the order in which they are tried.
func Rooms() []Room { return append([]Room(nil), rooms...) }

// Ways are all ways, in the order in which they are tried.
func Ways() []Way { return append([]Way(nil), ways...) }

// Config is what a plan is computed from.
type Config struct {
	// ID is the attempt's.
	ID      uuid.UUID
	Facts   envscan.Facts
	Running Running
	// Request is what is asked for, with the disks chosen; Disk is the name in its
	// layout of the one that the machine runs from.
	Request request.Request
	Disk    string
	// Secrets are the names of those that are given.
	Secrets []string
	Sizes   Sizes
	// Room and Way are what a person wants; empty: the first that works.
	Room Room
	Way  Way
}

// Sizes are those of the files, in bytes.
type Sizes struct {
	Kernel  int64
	Initrd  int64
	Payload int64
	// Load and Total are the memory that is needed to load the RAM system by kexec,
	// and to run it.
	Load, Total int64
}

// Running is what facts do not tell of the running system.
type Running struct {
	// Filesystems are those of the disk that are mounted, by mount point.
	Filesystems []Filesystem
	// VariableRoom is how many bytes are free for EFI variables; -1: the kernel
	// does not tell.
	VariableRoom int64
	// Resume is the kernel name of the swap that the system wakes up from, or of what
	// a swap file is on; empty: none.
	Resume string
	// Swapped are the bytes in use of each swap, by kernel name.
	Swapped map[string]int64
	// SwapFiles are those that are swapped to, in whatever file system.
	SwapFiles []SwapFile
	// Physical are the physical volumes of LVM on partitions of the disk.
	Physical []PhysicalVolume
	// Piece is where the piece of a file system is that is held for the stage, from the
	// start of the disk, by the kernel name of its device. NoPiece is why there is none.
	Piece   map[string]int64
	NoPiece map[string]string
	// GRUB is what there is of it; nil: none.
	GRUB *GRUBFound
	// Attempt says of an earlier attempt that is still there; empty: none.
	Attempt string
}

// Filesystem is a mounted one.
type Filesystem struct {
	Mountpoint string
	Device     string // kernel name: sda1, dm-0
	Type       string // as the kernel calls it: ext4, btrfs, vfat
	UUID       string // as blkid prints it
	Subvolume  string // of a btrfs: what is mounted, from the top level: /@
	Free       int64  // bytes that root may write
	MinSize    int64  // of an ext2, ext3 or ext4: what it can be shrunk to, see probe.Result; 0: not known
	ReadOnly   bool
	// Errors says what is wrong with it; empty: nothing that is known.
	Errors string
	// Devices is the number of devices of a btrfs; 0 or 1: the one.
	Devices int
}

// PhysicalVolume is one of LVM.
type PhysicalVolume struct {
	Device string // kernel name: sda3
	Group  string
	// Least is how much of its beginning has volumes, in bytes: what it can be
	// shrunk to while they are in use.
	Least int64
	// Stays is why it cannot be shrunk; empty: nothing that is known.
	Stays string
}

// GRUBFound is the GRUB of the running system.
type GRUBFound struct {
	Folder string // that it reads: /boot/grub
	// Filesystem that holds the folder, by its mount point.
	Mountpoint string
	// OneShot: its configuration reads next_entry and custom.cfg; Why not, if not.
	OneShot bool
	Why     string
}

// Plan is an attempt.
type Plan struct {
	Version int       `json:"version"` // 1
	ID      uuid.UUID `json:"id"`
	Disk    plan.Disk `json:"disk"`
	// Firmware is uefi or bios.
	Firmware string       `json:"firmware"`
	Room     RoomPlan     `json:"room"`
	Enter    EnterPlan    `json:"enter"`
	Stage    stage.Place  `json:"stage"`
	Core     *stage.Place `json:"core,omitempty"`
	// Hop, Extent and Grow go into the stage's document.
	Hop    *stage.Hop    `json:"hop,omitempty"`
	Extent *stage.Extent `json:"extent,omitempty"`
	Grow   *stage.Grow   `json:"grow,omitempty"`
	// Before is the table as it is, After as the running system makes it: the same
	// when the RAM system changes it.
	Before layout.Table `json:"before"`
	After  layout.Table `json:"after"`
	// Install is what the RAM system does then, as far as it is known here.
	Install plan.Plan `json:"install"`
	Lost    []string  `json:"lost"`
	Kept    []string  `json:"kept,omitempty"`
	// Seconds is an estimate of the time from leaving to the new system.
	Seconds  int64    `json:"seconds"`
	Warnings []string `json:"warnings,omitempty"`
}

// RoomPlan is how room is made.
type RoomPlan struct {
	Kind Room `json:"kind"`
	// Partition is the swap that goes, or the one with the file system or physical
	// volume: its number, kernel name and what it is known by.
	Partition int    `json:"partition,omitempty"`
	Device    string `json:"device,omitempty"`
	UUID      string `json:"uuid,omitempty"`
	Label     string `json:"label,omitempty"`
	// Format is the type of the file system with a File.
	Format string `json:"format,omitempty"`
	// Mountpoint of a btrfs that shrinks or of the file system with a File, Group of a physical volume; Size is what is
	// left of what shrinks, in bytes.
	Mountpoint string `json:"mountpoint,omitempty"`
	Group      string `json:"group,omitempty"`
	Size       int64  `json:"size,omitempty"`
	// Folder is where files are put, File the one that keeps the stage's piece, as the
	// running system sees them.
	Folder string `json:"folder,omitempty"`
	File   string `json:"file,omitempty"`
	// Piece is what has to be held for the stage before its place is known: the plan is
	// for the best that can be found.
	Piece *Piece `json:"piece,omitempty"`
	// Unused is how much of the disk stays unused, as the new system has to lie behind
	// the stage, in bytes.
	Unused int64 `json:"unused,omitempty"`
	// Table is what the RAM system makes of the disk's: when it makes the room, or with
	// the commit.
	Table *layout.Table `json:"table,omitempty"`
	// SwapFiles of the root are turned off and removed first, for the room that they
	// take.
	SwapFiles []SwapFile `json:"swapFiles,omitempty"`
	// Passed are the rooms before it, each with why it does not serve.
	Passed []string `json:"passed,omitempty"`
}

// Piece is a range of a file system that is wanted, in bytes.
type Piece struct {
	Size int64 `json:"size"`
	// From and To are within what of the partition it has to be; better from Best on.
	From int64 `json:"from"`
	Best int64 `json:"best"`
	To   int64 `json:"to"`
	// Origin is where that partition begins on the disk; on it the piece begins with a
	// multiple of Align.
	Origin int64 `json:"origin"`
	Align  int64 `json:"align"`
	// Spare stays free in the file system.
	Spare int64 `json:"spare"`
	// Named: the file system has no files without a name. The piece is held when the
	// attempt has begun, and recorded.
	Named bool `json:"named,omitempty"`
}

// EnterPlan is how the machine gets into the RAM system.
type EnterPlan struct {
	Way Way `json:"way"`
	// ESP is the mount point of the one that holds the RAM system, for ways that
	// start it from there; empty: it is on the stage, or in memory.
	ESP string `json:"esp,omitempty"`
	// Passed are the ways before it, each with why it does not serve.
	Passed []string `json:"passed,omitempty"`
}

// ErrRefused is wrapped by what New refuses.
var ErrRefused = errors.New("this disk cannot be reinstalled from the system that runs on it")

// Folder is where files are put in the root file system (room Files), File the one
// of it that keeps the stage's piece (room Extent).
const (
	Folder = "/var/lib/vic/stage"
	File   = "/var/lib/vic/stage.img"
)

// New computes the plan. What is wrong with the machine is reported at once; of
// rooms and ways, why each does not serve.
func New(c Config) (Plan, error) {
	t, err := newTarget(c)
	if err != nil {
		return Plan{}, err
	}
	if err := t.refuse(); err != nil {
		return Plan{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	var passed []string
	var causes []error
	for _, r := range rooms {
		if c.Room != "" && c.Room != r {
			continue
		}
		p, err := t.in(r)
		if err == nil {
			p.Room.Passed = passed
			return t.complete(p), nil
		}
		causes = append(causes, fmt.Errorf("%s: %w", r.title(), err))
		passed = append(passed, fmt.Sprintf("%s: %s", r.title(), oneLine(err)))
	}
	return Plan{}, fmt.Errorf("%w: no room of %s for the stage on %s: %w", ErrRefused, plan.Bytes(t.need+t.core), t.disk.Name, errors.Join(causes...))
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (r Room) title() string {
	return map[Room]string{
		Free: "free space of the disk", Swap: "a swap partition", LVM: "a physical volume of LVM that is not full", Btrfs: "a btrfs that shrinks",
		Extent: "a file that is in one piece", Files: "files in the root file system",
	}[r]
}

// target is what rooms and ways are tried on.
type target struct {
	Config
	disk  envscan.Disk
	table layout.Table
	root  Filesystem
	need  int64 // of the stage, bytes
	core  int64 // of GRUB's core image before it; 0 on UEFI
	kexec error // why not
}

func newTarget(c Config) (*target, error) {
	t := &target{Config: c}
	found, err := plan.Select(c.Request.Disks[c.Disk], c.Facts)
	if err != nil {
		return nil, err
	}
	for _, d := range c.Facts.HW.Disk {
		if "/dev/"+d.Name == found.Device {
			t.disk = d
		}
	}
	if t.disk.Table == nil {
		return nil, fmt.Errorf("%w: %s has no partition table", ErrRefused, found)
	}
	t.table = *t.disk.Table
	for _, f := range c.Running.Filesystems {
		if f.Mountpoint == "/" {
			t.root = f
		}
	}
	t.need = stageSize(c.Sizes, t.disk.SectorSize)
	if t.bios() {
		t.core = CoreSize
	}
	t.kexec = handover.MayEnter(handover.Need{Arch: c.Request.Payload.Arch, Load: c.Sizes.Load, Total: c.Sizes.Total}, c.Facts)
	return t, nil
}

func (t *target) bios() bool { return t.Facts.HW.Firmware.Type == "bios" }

const (
	mib = int64(1) << 20
	// CoreSize is that of the BIOS boot partitions that people make.
	CoreSize = mib
	// leastStage is what a FAT32 needs in any case: 65525 clusters, which are not
	// smaller than a sector.
	leastStage, leastLarge = 64 * mib, 260 * mib
)

// stageSize is the size of a FAT32 that holds everything: its tables take four
// bytes twice for a cluster of 4 KiB, and small files and folders a few clusters.
func stageSize(s Sizes, sector int) int64 {
	least := leastStage
	if sector > 512 {
		least = leastLarge
	}
	content := s.Kernel + s.Initrd + s.Payload + stage.JournalSize + stage.RegistrationsSize + 8*mib
	return max(least, up(content+content/256+content/512, mib))
}

func up(n, unit int64) int64   { return (n + unit - 1) / unit * unit }
func down(n, unit int64) int64 { return n / unit * unit }
