package slots

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/victorinix/vic/internal/slot"
	"github.com/victorinix/vic/internal/stage/volume"
)

// anchors are the parts of slot A that lead the firmware to a file which an update
// keeps. Where the old and the new ones are the same, every mixture of old and new
// sectors leads there.
type anchors struct {
	// parameters are those of the boot sector that say where everything is: BPB
	// offsets 11 to 48, without the number of hidden sectors.
	parameters string
	// entries are the short directory entries without times, by their place in the
	// first sector of the root directory.
	entries string
	// chains are the entries of the allocation table for the files.
	chains string
}

var le = binary.LittleEndian

// kept are the files that an update of slot A keeps, by their short names.
var kept = map[string]string{"BOOTCODEBIN": slot.FirstStageFile, "AUTOBOOTTXT": slot.AutobootFile}

// anchorsOf reads them.
func anchorsOf(r io.ReaderAt) (anchors, error) {
	var a anchors
	fs, err := volume.Open(r)
	if err != nil {
		return a, err
	}
	boot := make([]byte, sectorSize)
	if _, err := r.ReadAt(boot, 0); err != nil {
		return a, err
	}
	a.parameters = string(boot[11:28]) + string(boot[32:48])
	reserved, fats, fatSize := int64(le.Uint16(boot[14:])), int64(boot[16]), int64(le.Uint32(boot[36:]))
	cluster := int64(boot[13]) * sectorSize
	if le.Uint32(boot[44:]) != 2 {
		return a, errors.New("its root directory is not where it begins")
	}
	data := (reserved + fats*fatSize) * sectorSize
	root := make([]byte, sectorSize)
	if _, err := r.ReadAt(root, data); err != nil {
		return a, err
	}
	for i := 0; i < sectorSize; i += 32 {
		name, ok := kept[string(root[i:i+11])]
		if !ok {
			continue
		}
		first, size := int64(le.Uint16(root[i+20:]))<<16|int64(le.Uint16(root[i+26:])), int64(le.Uint32(root[i+28:]))
		if _, _, err := fs.Extent(name); err != nil { // in one piece, within the file system
			return a, err
		}
		a.entries += fmt.Sprintf("%s: entry %d, cluster %d, %d bytes; ", name, i/32, first, size)
		chain := make([]byte, 4*((size+cluster-1)/cluster))
		for copies := range fats {
			if _, err := r.ReadAt(chain, (reserved+copies*fatSize)*sectorSize+4*first); err != nil {
				return a, err
			}
			a.chains += string(chain)
		}
	}
	if strings.Count(a.entries, ";") != len(kept) {
		return a, fmt.Errorf("the first sector of its root directory has not both of %s and %s", slot.FirstStageFile, slot.AutobootFile)
	}
	return a, nil
}

// tables are what belongs to no file, read before any of it is written.
type tables struct {
	extents []slot.Extent
	data    [][]byte
}

// ReadAt reads what the tables have; between them is nothing.
func (t tables) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for i, e := range t.extents {
		if from, to := max(off, e.Offset), min(off+int64(len(p)), e.Offset+e.Size); from < to {
			copy(p[from-off:to-off], t.data[i][from-e.Offset:])
		}
	}
	return len(p), nil
}

// mayReplace refuses tables that would not lead to what is kept at all times.
func (t tables) mayReplace(old device) error {
	was, err := anchorsOf(old)
	if err != nil {
		return fmt.Errorf("slot A: %w", err)
	}
	is, err := anchorsOf(t)
	if err != nil {
		return fmt.Errorf("the new slot A: %w", err)
	}
	if was != is {
		return fmt.Errorf("slot A has other places for what starts slot B (%s, and new %s)", strings.TrimSpace(was.entries), strings.TrimSpace(is.entries))
	}
	return nil
}
