package builder

import (
	"maps"
	"slices"

	"github.com/victorinix/vic/disk/layout"
)

// formatFeatures are the features that file systems need; ext2 to ext4 and
// vfat need none.
var formatFeatures = map[string]Feature{
	"btrfs": Btrfs, "exfat": ExFAT, "f2fs": F2FS, "ntfs": NTFS, "ntfs3": NTFS, "swap": Swap, "xfs": XFS,
}

// LayoutFeatures are the names of all that a layout needs, for ParseFeatures.
// ZFS and bcachefs are not among them: Debian has no modules for them.
func LayoutFeatures(l layout.Layout) []string {
	n := needs{}
	for _, d := range l.Disk {
		n.content(d.Content)
	}
	for _, a := range l.MDADM {
		n.add(MD)
		n.content(a.Content)
	}
	for _, vg := range l.LVMVG {
		n.add(LVM)
		for _, lv := range vg.LVs {
			if lv.Pool != "" || lv.LVMType == "thin-pool" || lv.LVMType == "thinlv" {
				n.add(Thin)
			}
			n.content(lv.Content)
		}
	}
	for _, p := range l.Zpool {
		for _, d := range p.Datasets {
			n.content(d.Content)
		}
	}
	return slices.Sorted(maps.Keys(n))
}

// needs are names of features.
type needs map[string]bool

func (n needs) add(f Feature) { n[string(f)] = true }

func (n needs) content(c *layout.Content) {
	if c == nil {
		return
	}
	switch s := c.Spec.(type) {
	case *layout.GPT:
		for _, p := range s.Partitions {
			n.content(p.Content)
		}
	case *layout.MBR:
		for _, p := range s.Partitions {
			n.content(p.Content)
		}
	case *layout.Filesystem:
		if f, ok := formatFeatures[s.Format]; ok {
			n.add(f)
		}
	case *layout.Btrfs:
		n.btrfs(s)
	case *layout.Swap:
		n.add(Swap)
		if s.RandomEncryption {
			n.add(LUKS)
		}
	case *layout.LUKS:
		n.add(LUKS)
		n.content(s.Content)
	case *layout.LVMPV:
		n.add(LVM)
	case *layout.MDRaid:
		n.add(MD)
	}
}

func (n needs) btrfs(b *layout.Btrfs) {
	n.add(Btrfs)
	files := len(b.Swap)
	for _, v := range b.Subvolumes {
		files += len(v.Swap)
	}
	if files > 0 {
		n.add(Swap)
	}
}
