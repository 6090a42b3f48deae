package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/diskfs/go-diskfs/partition/gpt"
)

// Partition is a partition of an image, in sectors of 512 bytes.
type Partition struct {
	Type    string `json:"type"` // GUID
	Name    string `json:"name"`
	GUID    string `json:"guid"`
	Start   int64  `json:"start"`
	Sectors int64  `json:"sectors"`
}

// Partition types: GRUB's BIOS boot partition, and UEFI 2.10 table 5.7.
const (
	typeBIOSBoot = "21686148-6449-6e6f-744e-656564454649"
	typeESP      = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
)

// protectiveMBR returns the MBR in front of a GPT (UEFI 2.10 §5.2.3), without
// boot code. Some BIOSes start only disks with an active partition, and UEFI
// forbids to make the protective one active: with active, a second, unused
// entry (type 0) carries the flag, which both accept.
func protectiveMBR(size int64, active bool) (b [sectorSize]byte) {
	le := binary.LittleEndian
	p := b[446:]
	copy(p, "\x00\x00\x02\x00\xee\xff\xff\xff") // CHS 0/0/2 to the end
	le.PutUint32(p[8:], 1)
	le.PutUint32(p[12:], uint32(min(size/sectorSize-1, math.MaxUint32)))
	if active {
		p = p[16:]
		copy(p, "\x80\x00\x01\x00\x00\x00\x01\x00")
		le.PutUint32(p[12:], 1)
	}
	b[510], b[511] = 0x55, 0xaa
	return b
}

// writeGPT writes the backup table, then the primary one.
func writeGPT(w io.WriterAt, size int64, guid string, parts []Partition) error {
	table := &gpt.Table{LogicalSectorSize: sectorSize, PhysicalSectorSize: sectorSize, GUID: guid}
	for i, p := range parts {
		table.Partitions = append(table.Partitions, &gpt.Partition{
			Index: i + 1, Start: uint64(p.Start), End: uint64(p.Start + p.Sectors - 1), Size: uint64(p.Sectors * sectorSize),
			Type: gpt.Type(p.Type), Name: p.Name, GUID: p.GUID,
		})
	}
	if err := table.Write(writerOnly{w}, size); err != nil {
		return fmt.Errorf("GPT: %w", err)
	}
	return nil
}

// writerOnly gives gpt.Table.Write, which only writes, the interface it asks
// for.
type writerOnly struct{ io.WriterAt }

func (writerOnly) Stat() (fs.FileInfo, error)        { return nil, errors.ErrUnsupported }
func (writerOnly) Read([]byte) (int, error)          { return 0, errors.ErrUnsupported }
func (writerOnly) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (writerOnly) Seek(int64, int) (int64, error)    { return 0, errors.ErrUnsupported }
func (writerOnly) Close() error                      { return nil }
