package envscan

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
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
// Whoever asks for what is on disks has them woken.
func ScanDisks(ctx context.Context, c Config, names ...string) (Disks, error) {
	s := newScanner(c)
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout(), errTimeout)
	defer cancel()
	s.wake = true
	if len(names) == 0 {
		var err error
		if names, err = s.root.Disks(); err != nil {
			return Disks{}, err
		}
	}
	var d Disks
	d.Disk, d.Volume, _ = s.devices(ctx, names, s.drives())
	d.Gaps = s.sortedGaps()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, errTimeout) {
		return Disks{}, err
	}
	return d, nil
}

// diskProbes find disks, and what is made from them.
var diskProbes = []prober{
	{"disks", []string{"hw.disk", "hw.volume", "state.disk"}, func(ctx context.Context, s *scanner) func(*Facts) {
		names, err := s.root.Disks()
		s.gap("hw.disk", "/sys/block", err)
		disks, volumes, healths := s.devices(ctx, names, s.drives())
		return func(f *Facts) { f.HW.Disk, f.HW.Volume, f.State.Disk = disks, volumes, healths }
	}},
}

// drives is how disks are asked for their health; nil: there are only files.
func (s *scanner) drives() openDrive {
	if !s.live {
		return nil
	}
	return openSMART
}

// devices describes disks, what is made from them, and what they count. All are
// asked at once whether they sleep; only those that do not are read.
func (s *scanner) devices(ctx context.Context, names []string, open openDrive) ([]Disk, []Volume, map[string]Health) {
	links := s.diskLinks()
	users := users{}
	list := []Disk{}
	var checks []*checkup
	for _, name := range names {
		if d, ok := s.disk(name, users); ok {
			d.Links = links[name]
			list = append(list, d)
			checks = append(checks, s.check(d, open))
		}
	}
	var asks []*asked
	sleeping := map[string]bool{}
	for i, d := range list {
		sleeping[d.Name] = !s.awake(ctx, checks[i])
		asks = append(asks, s.askAwake(d.Name, d.SectorSize, sleeping))
	}
	var healths map[string]Health
	for i := range list {
		d := &list[i]
		d.Contents = s.answer(ctx, asks[i], users)
		if t := d.Table; t != nil && t.Kind == layout.KindGPT {
			d.TableGUID = t.GUID.String()
		}
		if h, ok := s.health(ctx, checks[i], d); ok {
			if healths == nil {
				healths = map[string]Health{}
			}
			healths[d.Name] = h
		}
	}
	return list, s.volumes(ctx, users, names, sleeping), healths
}

// askAwake begins to read a device, unless it is a sleeping disk or made from
// one: then only the kernel's part is known.
func (s *scanner) askAwake(name string, sectorSize int, sleeping map[string]bool) *asked {
	if !s.onSleeping(name, sleeping, 0) {
		return s.ask(name, sectorSize)
	}
	a := &asked{name: name, done: make(chan answer, 1)}
	var err error
	a.extents, err = s.root.Extents(name)
	s.gap(diskFact(name), "/sys/block/"+name, err)
	a.done <- answer{}
	return a
}

// onSleeping follows what a device is made from, down to disks.
func (s *scanner) onSleeping(name string, sleeping map[string]bool, depth int) bool {
	if sleeping[s.root.Whole(name)] {
		return true
	}
	v, err := s.root.Volume(name)
	const deepest = 16 // the kernel allows less
	if err != nil || depth == deepest {
		return false
	}
	return slices.ContainsFunc(v.From, func(from string) bool { return s.onSleeping(from, sleeping, depth+1) })
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
	d.Firmware = s.firmwareOf(d)
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
