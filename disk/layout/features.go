package layout

import (
	"cmp"
	"slices"
	"strings"
)

// Features are what a layout uses, for those who put together what makes or
// boots it. All lists are sorted, without duplicates.
type Features struct {
	// Formats of file systems, "swap" included: ext4, vfat, btrfs, bcachefs, ....
	Formats []string
	// Tables are KindGPT and KindMBR; Hybrid: a GPT has a hybrid MBR.
	Tables []string
	Hybrid bool
	// Levels of MD arrays: "0", "1", "5", ....
	Levels []string
	// Volumes are the types of logical volumes: linear, raid1, thin, ....
	Volumes []string

	LUKS, LVM, MD, ZFS, Bcachefs bool
	// RandomSwap: swap with a random key, which needs dm-crypt and no LUKS.
	RandomSwap bool
	// Keep: partitions stay; Resize are the formats of those that get another
	// size; crypto_LUKS with what is in it, LVM2_member without.
	Keep   bool
	Resize []string
	Hooks  bool
	// Binds and Nodev: file systems without a device.
	Nodev []string
}

// Needs lists what the layout uses.
func (l Layout) Needs() Features {
	var f Features
	l.walk(f.site)
	f.MD, f.LVM, f.ZFS, f.Bcachefs = len(l.MDADM) > 0, len(l.LVMVG) > 0, len(l.Zpool) > 0, len(l.Bcachefs) > 0
	if f.Bcachefs {
		f.Formats = append(f.Formats, "bcachefs")
	}
	if f.ZFS {
		f.Formats = append(f.Formats, "zfs")
	}
	for _, a := range l.MDADM {
		f.Levels = append(f.Levels, plainLevel(cmp.Or(a.Level, "1")))
	}
	for _, g := range l.LVMVG {
		for _, v := range g.LVs {
			f.Volumes = append(f.Volumes, plainVolume(v.LVMType))
		}
	}
	for _, n := range l.Nodev {
		f.Nodev = append(f.Nodev, n.FSType)
	}
	f.Hooks = hooked(l)
	for _, list := range []*[]string{&f.Formats, &f.Tables, &f.Levels, &f.Volumes, &f.Resize, &f.Nodev} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return f
}

func (f *Features) site(s site) {
	if s.kept() {
		f.Keep = true
		if s.part.Resize != "" {
			f.Resize = append(f.Resize, signature(s.spec())...)
		}
	}
	switch t := s.spec().(type) {
	case *GPT:
		f.Tables = append(f.Tables, KindGPT)
		for _, p := range t.Partitions {
			f.Hybrid = f.Hybrid || p.Hybrid != nil
		}
	case *MBR:
		kind := KindGPT
		if t.Format == "msdos" {
			kind = KindMBR
		}
		f.Tables = append(f.Tables, kind)
	case *Filesystem:
		f.Formats = append(f.Formats, t.Format)
	case *Btrfs:
		f.Formats = append(f.Formats, "btrfs")
	case *Swap:
		f.Formats = append(f.Formats, "swap")
		f.RandomSwap = f.RandomSwap || t.RandomEncryption
	case *LUKS:
		f.LUKS = true
	}
}

// signature is what a content is called by blkid.
func signature(s Spec) []string {
	switch t := s.(type) {
	case *Filesystem:
		return []string{t.Format}
	case *Btrfs:
		return []string{"btrfs"}
	case *Swap:
		return []string{"swap"}
	case *LUKS:
		if t.Content == nil {
			return []string{"crypto_LUKS"}
		}
		return append(signature(t.Content.Spec), "crypto_LUKS")
	case *LVMPV:
		return []string{"LVM2_member"}
	}
	return nil
}

func plainLevel(level string) string {
	switch level {
	case "stripe":
		return "0"
	case "mirror":
		return "1"
	}
	return strings.TrimPrefix(level, "raid")
}

func plainVolume(t string) string {
	switch t {
	case "":
		return "linear"
	case "thinlv":
		return "thin"
	}
	return t
}
