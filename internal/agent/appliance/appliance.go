// Package appliance opens the card that an appliance runs from: it finds the slot
// that the machine was started from, fills the card, and mounts slot and state.
//
// A card has an MBR, because the boot ROM of older boards knows no other table:
//
//	1  slot A  FAT   kernel, initramfs, system.erofs, firmware of the board
//	2  slot B  FAT   the same of another version; made at the end of the card when
//	                 it is started for the first time, and empty until an update
//	3  state   ext4  all that is written; a few MiB in the image, then all between
//
// A slot is mounted read-only, the state with a journal: power can be cut at any
// time. The table is changed by one sector, and the file system grown by the
// kernel, which goes on with that when it is started again.
//
// The package does not mount the system image, which the RAM system does as it does
// all others, and starts nothing.
package appliance

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The partitions of a card.
const (
	slotA = 1
	slotB = 2
	state = 3
)

// Where things of a card are.
const (
	SlotDir    = "/run/vic/slot"  // where the slot is mounted
	StateDir   = "/run/vic/state" // where the state is mounted
	SystemFile = "system.erofs"   // the system image, in a slot
	// SecretsFile is in the state, for its owner alone: a JSON object of strings.
	SecretsFile = "secrets.json"
)

// ID is the partition that a machine was started from. It is written as the kernel
// does in PARTUUID=: 1234abcd-01.
type ID struct {
	Disk      uint32 // the disk signature in the MBR
	Partition int    // 1 or 2
}

// ParseID reads an ID.
func ParseID(s string) (ID, error) {
	disk, part, _ := strings.Cut(s, "-")
	b, err := hex.DecodeString(disk)
	n, nerr := strconv.Atoi(part)
	if err != nil || nerr != nil || len(b) != 4 || len(part) != 2 || n != slotA && n != slotB {
		return ID{}, fmt.Errorf("%q is no slot of a card such as 1234abcd-01", s)
	}
	return ID{binary.BigEndian.Uint32(b), n}, nil
}

func (id ID) String() string { return fmt.Sprintf("%08x-%02x", id.Disk, id.Partition) }

// patience is how long a card may take to appear: one on USB needs seconds.
const patience = 30 * time.Second

// Card is a card whose slot is mounted.
type Card struct {
	System string // the path of the system image
	disk   string // /dev/mmcblk0
	state  string // /dev/mmcblk0p3
}

// Open waits for the card with a slot, fills the card, and mounts the slot. The
// modules that it takes are loaded with need. What goes wrong with the filling is
// told to warn: the card works without.
func Open(ctx context.Context, id ID, need func(module string) error, warn func(string)) (Card, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no disk has it, waited %v", patience))
	defer cancel()
	c, err := open(ctx, id, need, warn)
	if err != nil {
		return Card{}, fmt.Errorf("open slot %s: %w", id, err)
	}
	return c, nil
}

func open(ctx context.Context, id ID, need func(module string) error, warn func(string)) (Card, error) {
	disk, err := await(ctx, "/sys", id)
	if err != nil {
		return Card{}, err
	}
	if err := fill(ctx, disk); err != nil {
		warn(fmt.Sprintf("fill %s: %v", disk, err))
	}
	if err := errors.Join(need("nls_cp437"), need("nls_ascii"), need("vfat"), os.MkdirAll(SlotDir, 0o755)); err != nil {
		return Card{}, err
	}
	const flags = unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC
	if err := unix.Mount(partition(disk, id.Partition), SlotDir, "vfat", flags, ""); err != nil {
		return Card{}, fmt.Errorf("mount %s: %w", partition(disk, id.Partition), err)
	}
	return Card{System: filepath.Join(SlotDir, SystemFile), disk: disk, state: partition(disk, state)}, nil
}

// partition is the node of a partition of a disk.
func partition(disk string, n int) string {
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		return fmt.Sprintf("%sp%d", disk, n)
	}
	return fmt.Sprintf("%s%d", disk, n)
}

// await waits for the disk with a slot.
func await(ctx context.Context, sys string, id ID) (string, error) {
	for {
		disk, err := find(sys, "/dev", id)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return disk, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// Find is the disk with a slot: /dev/mmcblk0.
func Find(id ID) (string, error) { return find("/sys", "/dev", id) }

// find is the disk with a slot, of several the first by name: the card in the
// board's own reader before a copy of it on USB. The error wraps fs.ErrNotExist
// where there is none.
func find(sys, dev string, id ID) (string, error) {
	files, err := filepath.Glob(filepath.Join(sys, "block/*/*/partition"))
	if err != nil {
		return "", err
	}
	for _, file := range files {
		n, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(n)) != strconv.Itoa(id.Partition) {
			continue
		}
		disk := filepath.Join(dev, filepath.Base(filepath.Dir(filepath.Dir(file))))
		if sig, err := signature(disk); err == nil && sig == id.Disk {
			return disk, nil
		}
	}
	return "", fs.ErrNotExist
}

// signature is the disk signature of an MBR, at byte 440.
func signature(disk string) (uint32, error) {
	f, err := os.Open(disk)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b := make([]byte, 512)
	if _, err := f.ReadAt(b, 0); err != nil {
		return 0, err
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		return 0, fs.ErrNotExist
	}
	return binary.LittleEndian.Uint32(b[440:]), nil
}
