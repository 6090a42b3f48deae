package envscan

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/victorinix/vic/disk/layout"
)

// Disks are the part of Facts that concerns disks.
type Disks struct {
	Disk   []Disk   `json:"disk"`
	Volume []Volume `json:"volume"`
	Gaps   []Gap    `json:"gaps"`
}

// ScanDisks finds out what is on disks; without names, on all that Scan lists.
// Names are kernel names of whole block devices of any kind: sda, loop0, md127.
func ScanDisks(ctx context.Context, c Config, names ...string) (Disks, error) {
	s := newScanner(c)
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout(), errTimeout)
	defer cancel()
	if len(names) == 0 {
		var err error
		if names, err = s.root.Disks(); err != nil {
			return Disks{}, err
		}
	}
	var d Disks
	d.Disk, d.Volume = s.devices(ctx, names)
	d.Gaps = s.sortedGaps()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, errTimeout) {
		return Disks{}, err
	}
	return d, nil
}

// diskProbes find disks, and what is made from them.
var diskProbes = []prober{
	{"disks", []string{"hw.disk", "hw.volume"}, func(ctx context.Context, s *scanner) func(*Facts) {
		disks, volumes := s.disks(ctx)
		return func(f *Facts) { f.HW.Disk, f.HW.Volume = disks, volumes }
	}},
}

func (s *scanner) disks(ctx context.Context) ([]Disk, []Volume) {
	names, err := s.root.Disks()
	s.gap("hw.disk", "/sys/block", err)
	return s.devices(ctx, names)
}

// devices describes disks, and what is made from them.
func (s *scanner) devices(ctx context.Context, names []string) ([]Disk, []Volume) {
	links := s.diskLinks()
	users := users{}
	list := []Disk{}
	var asked []*asked
	for _, name := range names {
		if d, ok := s.disk(name, users); ok {
			d.Links = links[name]
			list = append(list, d)
			asked = append(asked, s.ask(name, d.SectorSize))
		}
	}
	for i := range list {
		list[i].Contents = s.answer(ctx, asked[i], users)
		if t := list[i].Table; t != nil && t.Kind == layout.KindGPT {
			list[i].TableGUID = t.GUID.String()
		}
	}
	return list, s.volumes(ctx, users, names)
}

func (s *scanner) disk(name string, users users) (Disk, bool) {
	id, err := s.root.Disk(name)
	if err != nil { // unplugged since
		s.gap(diskFact(name), "/sys/block/"+name, err)
		return Disk{}, false
	}
	for _, denied := range id.Denied {
		var pe *os.PathError
		if errors.As(denied, &pe) {
			s.gap(diskFact(name), strings.TrimPrefix(pe.Path, strings.TrimSuffix(string(s.root), "/")), denied)
		}
	}
	d := Disk{
		Name: id.Name, Path: id.Path, Serial: id.Serial, WWN: id.WWN, Model: id.Model,
		Size: id.Size, SectorSize: id.SectorSize, Physical: id.Physical, Transport: id.Transport,
		Rotational: id.Rotational, Removable: id.Removable, ReadOnly: id.ReadOnly,
	}
	found, err := s.root.Users(name)
	s.gap(diskFact(name)+".inUse", "/sys/block/"+name+"/holders", err)
	d.InUse = s.root.Sentences(found)
	users.add(found)
	return d, true
}

// diskLinks maps kernel names to the links below /dev/disk.
func (s *scanner) diskLinks() map[string][]string {
	links := map[string][]string{}
	kinds, err := s.root.Names("dev/disk")
	s.gap("hw.disk", "/dev/disk", err)
	for _, kind := range kinds {
		names, err := s.root.Names("dev/disk", kind)
		s.gap("hw.disk", "/dev/disk/"+kind, err)
		for _, name := range names {
			link := filepath.Join("/dev/disk", kind, name)
			target, err := os.Readlink(s.root.Path(link))
			s.gap("hw.disk", link, err)
			if err == nil {
				dev := filepath.Base(target)
				links[dev] = append(links[dev], link)
			}
		}
	}
	return links
}

// diskFact is the path of a disk's facts, or those of what is made from disks.
func diskFact(name string) string { return "hw.disk[name=" + name + "]" }
