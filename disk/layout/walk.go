package layout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// Ref names a device of a layout: Kind is the key below "devices" (disk, mdadm,
// lvm_vg, zpool, bcachefs_filesystems), Name the key below that.
type Ref struct{ Kind, Name string }

// String is the path: "disk.main".
func (r Ref) String() string { return r.Kind + "." + r.Name }

// The kinds of Ref, in the order in which equals are made.
const (
	KindDisk     = "disk"
	KindArray    = "mdadm"
	KindGroup    = "lvm_vg"
	KindPool     = "zpool"
	KindBcachefs = "bcachefs_filesystems"
)

// site is a block device of a layout, with what it holds.
type site struct {
	owner Ref
	// path of the content; the device has it without ".content".
	path string
	// device is disko's path of the block device; "" when that is not known.
	device string
	// on is the kind of block device.
	on on
	// part is the partition of a gpt that it is, or that it stands in.
	part    *Partition
	content *Content // nil: it stays empty
}

type on int

const (
	onDisk on = iota
	onArray
	onPartition
	onLUKS
	onVolume // logical volume of LVM, volume of ZFS
)

// spec is what the site holds, or nil.
func (s site) spec() Spec {
	if s.content == nil {
		return nil
	}
	return s.content.Spec
}

// kept says whether what is there stays.
func (s site) kept() bool { return s.part != nil && s.part.Keep }

// walk visits every block device of the layout, outer ones first, in the order
// of kinds and names.
func (l Layout) walk(visit func(site)) {
	for _, name := range slices.Sorted(maps.Keys(l.Disk)) {
		d := l.Disk[name]
		r := Ref{KindDisk, name}
		site{owner: r, path: r.String() + ".content", device: d.Device, on: onDisk, content: d.Content}.walk(d.named(name), visit)
	}
	for _, name := range slices.Sorted(maps.Keys(l.MDADM)) {
		a := l.MDADM[name]
		r := Ref{KindArray, name}
		full := cmp.Or(a.Name, name)
		site{owner: r, path: r.String() + ".content", device: "/dev/md/" + full, on: onArray, content: a.Content}.walk(full, visit)
	}
	for _, name := range slices.Sorted(maps.Keys(l.LVMVG)) {
		g := l.LVMVG[name]
		r := Ref{KindGroup, name}
		for _, key := range slices.Sorted(maps.Keys(g.LVs)) {
			device := "/dev/" + cmp.Or(g.Name, name) + "/" + cmp.Or(g.LVs[key].Name, key)
			site{owner: r, path: r.String() + ".lvs." + key + ".content", device: device, on: onVolume, content: g.LVs[key].Content}.walk("", visit)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Zpool)) {
		p := l.Zpool[name]
		r := Ref{KindPool, name}
		for _, key := range slices.Sorted(maps.Keys(p.Datasets)) {
			d := p.Datasets[key]
			if d.Type != "zfs_volume" && d.Content == nil {
				continue
			}
			device := "/dev/zvol/" + cmp.Or(p.Name, name) + "/" + cmp.Or(d.Name, key)
			site{owner: r, path: r.String() + ".datasets." + key + ".content", device: device, on: onVolume, content: d.Content}.walk("", visit)
		}
	}
}

// walk visits the site and what is inside of it. name is what labels of
// partitions are made of.
func (s site) walk(name string, visit func(site)) {
	visit(s)
	switch t := s.spec().(type) {
	case *GPT:
		parent := labels(s.owner.Kind, name)
		for i, key := range order(t.Partitions) {
			p := t.Partitions[key]
			device := "/dev/disk/by-partlabel/" + escapeUdev(p.label(parent, key))
			switch {
			case p.UUID != "":
				device = "/dev/disk/by-partuuid/" + p.UUID
			case s.on == onArray:
				device = fmt.Sprintf("/dev/disk/by-id/md-name-any:%s-part%d", name, i+1)
			}
			s.inside(s.path+".partitions."+key, device, &p, p.Content).walk("", visit)
		}
	case *MBR:
		for i, p := range t.Partitions {
			s.inside(fmt.Sprintf("%s.partitions[%d]", s.path, i), numbered(s.device, i+1), nil, p.Content).walk("", visit)
		}
	case *LUKS:
		inner := s
		inner.path, inner.device, inner.on, inner.content = s.path+".content", "/dev/mapper/"+t.Name, onLUKS, t.Content
		inner.walk(t.Name, visit)
	}
}

func (s site) inside(path, device string, p *Partition, c *Content) site {
	return site{owner: s.owner, path: path + ".content", device: device, on: onPartition, part: p, content: c}
}

// named is what the labels of a disk's partitions are made of.
func (d Disk) named(key string) string {
	return cmp.Or(d.Name, strings.ReplaceAll(key, "/", "_"))
}

// labels is how default labels of partitions begin.
func labels(kind, name string) string { return kind + "-" + name + "-" }

var withP = lazyregexp.New(`^/dev/((nvme|mmcblk|loop|nbd).+|md/.*[0-9])$`)

// numbered is the path of a partition by its number.
func numbered(device string, number int) string {
	switch {
	case device == "":
		return ""
	case strings.HasPrefix(device, "/dev/disk/") || strings.HasPrefix(device, "/dev/zvol/"):
		return fmt.Sprintf("%s-part%d", device, number)
	case withP.MatchString(device):
		return fmt.Sprintf("%sp%d", device, number)
	}
	return fmt.Sprintf("%s%d", device, number)
}

// escapeUdev is what udev makes of a label in a link's name (udev(7)): what is
// not in its list of characters becomes \xXX.
func escapeUdev(label string) string {
	var b strings.Builder
	for _, r := range label {
		if r < 0x80 && !strings.ContainsRune("#+-.:=@_/", r) && !alphanumeric(r) {
			fmt.Fprintf(&b, `\x%x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func alphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
