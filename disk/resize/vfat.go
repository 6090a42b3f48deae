package resize

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool"
)

// fat is the geometry of a FAT16 or FAT32 (Microsoft FAT specification 1.03).
//
//	boot sector, FSInfo, ... | FATs | root directory (FAT16) | clusters
type fat struct {
	boot             []byte // the boot sector
	sector, cluster  uint32 // bytes; sectors
	sectors          uint32 // in all
	reserved, tables uint32 // sectors before the FATs; FATs
	table            uint32 // sectors of a FAT
	data             uint32 // the first sector of cluster 2
	bits             uint32 // of an entry: 16 or 32
	info, backup     uint32 // sectors of FSInfo and of the second boot sector; 0: none
}

func readFAT(device string) (f fat, err error) {
	b, err := read(device, 0, 512, 510, "\x55\xaa")
	if err != nil {
		return f, err
	}
	f = fat{
		boot: b, sector: uint32(le.Uint16(b[11:])), cluster: uint32(b[13]),
		reserved: uint32(le.Uint16(b[14:])), tables: uint32(b[16]),
		sectors: uint32(le.Uint16(b[19:])), table: uint32(le.Uint16(b[22:])),
	}
	if f.sectors == 0 {
		f.sectors = le.Uint32(b[32:])
	}
	if f.table == 0 {
		f.table, f.info, f.backup = le.Uint32(b[36:]), uint32(le.Uint16(b[48:])), uint32(le.Uint16(b[50:]))
	}
	if f.sector < 512 || f.sector > 4096 || f.cluster == 0 || f.reserved == 0 || f.tables == 0 || f.tables > 2 || f.table == 0 || f.table > 1<<24 {
		return f, errors.New("its boot sector is not that of a FAT")
	}
	roots := (uint32(le.Uint16(b[17:]))*32 + f.sector - 1) / f.sector
	f.data = f.reserved + f.tables*f.table + roots
	if f.sectors <= f.data {
		return f, errors.New("its boot sector leaves no room for data")
	}
	f.bits = kindOf(f.clusters(f.sectors))
	if f.bits == 12 || f.bits == 16 && f.info != 0 {
		return f, errors.New("it is neither a FAT16 nor a FAT32")
	}
	return f, nil
}

// clusters is how many there are in a number of sectors.
func (f fat) clusters(sectors uint32) uint32 {
	if sectors < f.data {
		return 0
	}
	return (sectors - f.data) / f.cluster
}

// kindOf is how many bits an entry has: that depends on the number of clusters
// alone.
func kindOf(clusters uint32) uint32 {
	switch {
	case clusters < 4085:
		return 12
	case clusters < 65525:
		return 16
	}
	return 32
}

// entries reads the first FAT: cluster -> next one, 0 when it is free.
func (f fat) entries(d *disk.File) ([]uint32, error) {
	b := make([]byte, f.table*f.sector)
	if _, err := d.ReadAt(b, int64(f.reserved)*int64(f.sector)); err != nil {
		return nil, err
	}
	list := make([]uint32, uint32(len(b))/(f.bits/8))
	for i := range list {
		if f.bits == 16 {
			list[i] = uint32(le.Uint16(b[2*i:]))
		} else {
			list[i] = le.Uint32(b[4*i:]) & 0x0fffffff
		}
	}
	return list, nil
}

var vfat = format{
	size: func(device string) (int64, error) {
		f, err := readFAT(device)
		if err != nil {
			return 0, err
		}
		return within(uint64(f.sectors), uint64(f.sector))
	},
	fit: func(device string, n int64) (int64, error) {
		f, err := readFAT(device)
		if err != nil {
			return 0, err
		}
		return n - n%int64(f.sector), nil
	},
	least: func(_ context.Context, _ tool.Runner, device string) (n int64, err error) {
		err = withFAT(device, os.O_RDONLY, func(d *disk.File, f fat, entries []uint32) error {
			last := uint32(4085)
			if f.bits == 32 {
				last = 65525
			}
			for i := f.clusters(f.sectors) + 1; i > last; i-- {
				if entries[i] != 0 {
					last = i
				}
			}
			n = int64(f.data+(last+1)*f.cluster) * int64(f.sector)
			return nil
		})
		return n, err
	},
	set: func(ctx context.Context, r tool.Runner, device string, _, to int64, o Options) error {
		if !o.Resumed { // an interrupted run leaves two boot sectors that differ
			if err := disk.Fsck(ctx, r, "vfat", device, false); err != nil {
				return err
			}
		}
		return withFAT(device, os.O_RDWR, func(d *disk.File, f fat, entries []uint32) error {
			if to/int64(f.sector) > 0xffffffff {
				return fmt.Errorf("%w: a FAT counts sectors in 32 bits", ErrCannotGrow)
			}
			return f.resize(d, entries, uint32(to/int64(f.sector)))
		})
	},
}

func withFAT(device string, flag int, do func(*disk.File, fat, []uint32) error) error {
	f, err := readFAT(device)
	if err != nil {
		return err
	}
	d, err := disk.Open(device, flag)
	if err != nil {
		return err
	}
	entries, err := f.entries(d)
	if err == nil && uint32(len(entries)) < f.clusters(f.sectors)+2 {
		err = errors.New("its table is too small for its clusters")
	}
	if err == nil {
		err = do(d, f, entries)
	}
	return errors.Join(err, d.Close())
}

// resize sets the number of sectors. Clusters are not moved, and the table
// stays as long as it is.
func (f fat) resize(d *disk.File, entries []uint32, sectors uint32) error {
	now, then := f.clusters(f.sectors), f.clusters(sectors)
	reason := ErrCannotShrink
	if sectors > f.sectors {
		reason = ErrCannotGrow
	}
	if kindOf(then) != f.bits {
		return fmt.Errorf("%w: %d clusters do not make a FAT%d", reason, then, f.bits)
	}
	if uint32(len(entries)) < then+2 {
		return fmt.Errorf("%w: its table has room for %d clusters, %d are needed", reason, len(entries)-2, then)
	}
	for i := min(now, then) + 2; i < max(now, then)+2; i++ {
		if entries[i] != 0 {
			return fmt.Errorf("%w: cluster %d of %d is in use", reason, i, now)
		}
	}
	free := uint32(0)
	for _, e := range entries[2 : then+2] {
		if e == 0 {
			free++
		}
	}
	return f.write(d, sectors, free)
}

// unknown is FSInfo's number of free clusters while that changes.
const unknown = 0xffffffff

// write changes the boot sectors, the first one last: it is what counts.
func (f fat) write(d *disk.File, sectors, free uint32) error {
	boot := append([]byte(nil), f.boot...)
	le.PutUint16(boot[19:], 0)
	le.PutUint32(boot[32:], 0)
	if f.bits == 16 && sectors < 1<<16 {
		le.PutUint16(boot[19:], uint16(sectors))
	} else {
		le.PutUint32(boot[32:], sectors)
	}
	steps := []func() error{func() error { return f.put(d, 0, boot) }}
	if f.backup != 0 {
		steps = append([]func() error{func() error { return f.put(d, f.backup, boot) }}, steps...)
	}
	if f.info != 0 {
		steps = append([]func() error{func() error { return f.setFree(d, unknown) }}, steps...)
		steps = append(steps, func() error { return f.setFree(d, free) })
	}
	for _, step := range steps {
		if err := errors.Join(step(), d.Sync()); err != nil {
			return err
		}
	}
	return nil
}

func (f fat) put(d *disk.File, sector uint32, b []byte) error {
	_, err := d.WriteAt(b, int64(sector)*int64(f.sector))
	return err
}

// setFree writes FSI_Free_Count, and forgets where to look for the next.
func (f fat) setFree(d *disk.File, free uint32) error {
	b := make([]byte, 8)
	le.PutUint32(b, free)
	le.PutUint32(b[4:], unknown)
	_, err := d.WriteAt(b, int64(f.info)*int64(f.sector)+488)
	return err
}
