package envscan

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/sysfs"
)

func (s *scanner) disks(ctx context.Context) []Disk {
	names, err := s.root.Disks()
	s.gap("/sys/block", err)
	links := s.diskLinks()
	list := []Disk{}
	var tables []<-chan answer
	for _, name := range names {
		if d, ok := s.disk(name); ok {
			d.Links = links[name]
			list = append(list, d)
			tables = append(tables, s.askTable(sysfs.Node(name), d.SectorSize))
		}
	}
	for i, table := range tables {
		a := wait(ctx, table)
		list[i].TableGUID = a.guid
		s.gap(sysfs.Node(list[i].Name), a.err)
	}
	return list
}

func (s *scanner) disk(name string) (Disk, bool) {
	id, err := s.root.Disk(name)
	if err != nil { // unplugged since
		s.gap("/sys/block/"+name, err)
		return Disk{}, false
	}
	for _, denied := range id.Denied {
		var pe *os.PathError
		if errors.As(denied, &pe) {
			s.gap(strings.TrimPrefix(pe.Path, strings.TrimSuffix(string(s.root), "/")), denied)
		}
	}
	d := Disk{
		Name: id.Name, Path: id.Path, Serial: id.Serial, WWN: id.WWN, Model: id.Model,
		Size: id.Size, SectorSize: id.SectorSize, Physical: id.Physical, Transport: id.Transport,
		Rotational: id.Rotational, Removable: id.Removable, ReadOnly: id.ReadOnly,
	}
	d.InUse, err = s.root.InUse(name)
	s.gap("/sys/block/"+name+"/holders", err)
	return d, true
}

// answer is what reading a disk's table gave.
type answer struct {
	guid string
	err  error
}

// askTable reads the GUID of a disk's GPT, all disks at once: one that hangs
// must not cost the others their time.
func (s *scanner) askTable(node string, sectorSize int) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		guid, err := readTableGUID(s.root.Path(node), int64(sectorSize))
		done <- answer{guid, err}
	}()
	return done
}

// wait leaves a disk alone that has not answered when ctx ends. Its read ends
// with the program.
func wait(ctx context.Context, table <-chan answer) answer {
	select {
	case a := <-table:
		return a
	case <-ctx.Done():
	}
	select {
	case a := <-table:
		return a
	default:
		return answer{err: context.Cause(ctx)}
	}
}

// readTableGUID takes the GUID from whichever header is whole.
func readTableGUID(path string, sectorSize int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	for _, lba := range []int64{1, size/sectorSize - 1} {
		b := make([]byte, 92) // UEFI 2.10 table 5-5
		if lba < 1 {
			return "", nil
		}
		if _, err := f.ReadAt(b, lba*sectorSize); err != nil {
			if errors.Is(err, io.EOF) {
				return "", nil
			}
			return "", err
		}
		if guid, ok := headerGUID(b, lba); ok {
			return guid, nil
		}
	}
	return "", nil
}

// headerGUID checks a GPT header and returns its disk GUID, whose first three
// fields are little endian on disk.
func headerGUID(b []byte, lba int64) (string, bool) {
	sum := binary.LittleEndian.Uint32(b[16:])
	clear(b[16:20])
	if string(b[:8]) != "EFI PART" || crc32.ChecksumIEEE(b) != sum || int64(binary.LittleEndian.Uint64(b[24:])) != lba {
		return "", false
	}
	var g uuid.UUID
	copy(g[:], b[56:72])
	slices.Reverse(g[0:4])
	slices.Reverse(g[4:6])
	slices.Reverse(g[6:8])
	return g.String(), true
}

// diskLinks maps kernel names to the links below /dev/disk.
func (s *scanner) diskLinks() map[string][]string {
	links := map[string][]string{}
	kinds, err := s.root.Names("dev/disk")
	s.gap("/dev/disk", err)
	for _, kind := range kinds {
		names, err := s.root.Names("dev/disk", kind)
		s.gap("/dev/disk/"+kind, err)
		for _, name := range names {
			link := filepath.Join("/dev/disk", kind, name)
			target, err := os.Readlink(s.root.Path(link))
			s.gap(link, err)
			if err == nil {
				dev := filepath.Base(target)
				links[dev] = append(links[dev], link)
			}
		}
	}
	return links
}
