package layout

import (
	"cmp"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/nearest"
)

// member notes a member of an array, group, pool or bcachefs, which has to be
// described.
func (c *check) member(s site, whole Ref) {
	key, names := "", []string{}
	switch whole.Kind {
	case KindArray:
		key, names = "name", sortedKeys(c.l.MDADM)
	case KindGroup:
		key, names = "vg", sortedKeys(c.l.LVMVG)
	case KindPool:
		key, names = "pool", sortedKeys(c.l.Zpool)
	case KindBcachefs:
		key, names = "filesystem", sortedKeys(c.l.Bcachefs)
	}
	if whole.Name == "" {
		c.fail(s.path, "%s is missing: which of devices.%s it is a member of", key, whole.Kind)
		return
	}
	c.members[whole] = append(c.members[whole], s)
	if !slices.Contains(names, whole.Name) {
		c.absent(s.path+"."+key, "there is no %s", whole).Nearest = nearest.Name(whole.Name, names)
	}
}

// assemblies checks what is made of members, now that these are known.
func (c *check) assemblies() {
	for _, r := range c.l.refs() {
		n := len(c.members[r])
		if r.Kind != KindDisk && n == 0 {
			c.absent(r.String(), "it has no members: no content of type %s names it", memberType[r.Kind])
			continue
		}
		switch r.Kind {
		case KindArray:
			c.arrayMembers(r, c.l.MDADM[r.Name], n)
		case KindGroup:
			c.groupMembers(r, c.l.LVMVG[r.Name], n)
		case KindPool:
			c.poolMembers(r, c.l.Zpool[r.Name])
		}
	}
}

var memberType = map[string]string{KindArray: "mdraid", KindGroup: "lvm_pv", KindPool: "zfs", KindBcachefs: "bcachefs"}

// levels are mdadm's, with the least number of members (mdadm(8), CREATE MODE).
var levels = map[string]int{
	"0": 2, "raid0": 2, "stripe": 2, "1": 2, "raid1": 2, "mirror": 2, "4": 2, "raid4": 2, "5": 2, "raid5": 2,
	"6": 4, "raid6": 4, "10": 2, "raid10": 2, "linear": 2, "container": 1,
}

var metadata = []string{"0.90", "1", "1.0", "1.1", "1.2", "default", "ddf", "imsm"}

// mdName is what fits into a superblock and is a file name.
var mdName = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,31}$`)

func (c *check) arrays() {
	seen := map[string]string{}
	for _, key := range sortedKeys(c.l.MDADM) {
		a, at := c.l.MDADM[key], "mdadm."+key
		c.oneOf(at+".type", "type", a.Type, "mdadm")
		c.oneOf(at+".level", "level", a.Level, sortedKeys(levels)...)
		c.oneOf(at+".metadata", "metadata", a.Metadata, metadata...)
		name := cmp.Or(a.Name, key)
		if !mdName.MatchString(name) {
			c.fail(at+".name", "expected at most 32 letters, digits, dots, dashes or underscores, got %q", name)
		}
		c.once(seen, at, "name", name)
	}
}

// ownCount are flags of mdadm that say how many members there are.
var ownCount = lazyregexp.New(`^(-n|--raid-devices|-x|--spare-devices|-f|--force)`)

func (c *check) arrayMembers(r Ref, a Array, n int) {
	level := cmp.Or(a.Level, "1")
	if least := levels[level]; n < least && !slices.ContainsFunc(a.ExtraArgs, ownCount.MatchString) {
		c.absent(r.String()+".level", "level %s needs at least %d members, got %d", level, least, n)
	}
	f, ok := specOf[*Filesystem](a.Content)
	if !ok || f.Format != "vfat" || !slices.ContainsFunc(c.members[r], site.isESP) {
		return
	}
	// Firmware knows nothing of RAID and reads one member as if it were FAT.
	if !slices.Contains([]string{"1", "raid1", "mirror"}, level) {
		c.fail(r.String()+".level", "an EFI system partition can be on level 1 only, got %s", level)
	}
	if a.Metadata != "1.0" && a.Metadata != "0.90" {
		c.fail(r.String()+".metadata", `firmware reads an EFI system partition on RAID only with metadata at its end: "1.0"`)
	}
}

func (s site) isESP() bool {
	if s.part == nil {
		return false
	}
	guid, err := typeGUID(s.part.Type)
	return err == nil && guid == TypeESP
}

func specOf[T Spec](c *Content) (T, bool) {
	var none T
	if c == nil {
		return none, false
	}
	s, ok := c.Spec.(T)
	return s, ok
}

// vgName is lvm(8)'s, VALID NAMES.
var vgName = lazyregexp.New(`^[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]*$`)

// lvReserved are names and parts of names that LVM keeps for itself.
var lvReserved = lazyregexp.New(`^(snapshot|pvmove)|_(cdata|cmeta|corig|iorig|mimage|mlog|rimage|rmeta|tdata|tmeta|vdata|vorigin|wcorig|pmspare)`)

var (
	lvSize    = lazyregexp.New(`^[0-9]+(\.[0-9]+)?([bBsSkKmMgGtTpPeE]([iI]?[bB])?)?$`)
	lvPercent = lazyregexp.New(`^([0-9]+)%(VG|PVS|FREE|ORIGIN)$`)
)

// lvTypes are lvcreate's, with the least number of physical volumes.
var lvTypes = map[string]int{
	"": 1, "linear": 1, "striped": 1, "mirror": 2, "raid0": 2, "raid1": 2, "raid4": 3, "raid5": 3, "raid6": 5, "raid10": 4,
	"thin-pool": 1, "thinlv": 1, "thin": 1,
}

func (c *check) groups() {
	seen := map[string]string{}
	for _, key := range sortedKeys(c.l.LVMVG) {
		g, at := c.l.LVMVG[key], "lvm_vg."+key
		c.oneOf(at+".type", "type", g.Type, "lvm_vg")
		name := cmp.Or(g.Name, key)
		if !vgName.MatchString(name) || name == "." || name == ".." || len(name) > 126 {
			c.fail(at+".name", "expected letters, digits, +, _, . and -, got %q", name)
		}
		c.once(seen, at, "name", name)
		volumes := map[string]string{}
		for _, lv := range sortedKeys(g.LVs) {
			v := g.LVs[lv]
			c.once(volumes, at+".lvs."+lv, "name", cmp.Or(v.Name, lv))
			c.volume(at+".lvs."+lv, lv, v, g)
		}
	}
}

func (c *check) volume(at, key string, v LogicalVolume, g VolumeGroup) {
	name := cmp.Or(v.Name, key)
	if !vgName.MatchString(name) || lvReserved.MatchString(name) {
		c.fail(at+".name", "is no name for a logical volume: %q", name)
	}
	c.oneOf(at+".lvm_type", "type", v.LVMType, sortedKeys(lvTypes)[1:]...)
	c.volumeSize(at, v)
	switch pool, ok := g.find(v.Pool); {
	case v.thin() && v.Pool == "":
		c.fail(at, "pool is missing: which thin-pool the volume is in")
	case v.Pool != "" && !v.thin():
		c.fail(at+".pool", `only a volume with lvm_type: thinlv is in a pool`)
	case v.Pool != "" && !ok:
		c.absent(at+".pool", "there is no volume %q in the group", v.Pool).Nearest = nearest.Name(v.Pool, sortedKeys(g.LVs))
	case v.Pool != "" && g.LVs[pool].LVMType != "thin-pool":
		c.fail(at+".pool", "volume %q is no pool: that needs lvm_type: thin-pool", v.Pool)
	}
	if v.LVMType == "thin-pool" && v.Content != nil {
		c.fail(at+".content", "a thin-pool holds volumes, and nothing else")
	}
}

func (v LogicalVolume) thin() bool { return v.LVMType == "thinlv" || v.LVMType == "thin" }

func (c *check) volumeSize(at string, v LogicalVolume) {
	m := lvPercent.FindStringSubmatch(v.Size)
	switch {
	case v.Size == "":
		c.fail(at, "size is missing: 10G, or a part of the group such as 100%%FREE")
	case m != nil && v.thin():
		c.fail(at+".size", "a thin volume has a size of its own, such as 10G; got %q", v.Size)
	case m != nil && (len(m[1]) > 3 || len(m[1]) == 3 && m[1] > "100" || strings.Trim(m[1], "0") == ""):
		c.fail(at+".size", "expected 1 to 100 percent, got %q", v.Size)
	case m == nil && (!lvSize.MatchString(v.Size) || strings.Trim(v.Size, "0.bBsSkKmMgGtTpPeEiI") == ""):
		c.fail(at+".size", "read size %q: expected a size such as 10G, or a percentage such as 50%%FREE or 20%%VG", v.Size)
	}
}

func (c *check) groupMembers(r Ref, g VolumeGroup, n int) {
	for _, key := range sortedKeys(g.LVs) {
		v := g.LVs[key]
		if least := lvTypes[v.LVMType]; n < least {
			c.absent(r.String()+".lvs."+key+".lvm_type", "%s needs at least %d physical volumes, the group has %d", v.LVMType, least, n)
		}
	}
}

func (c *check) nodevs() {
	for _, key := range sortedKeys(c.l.Nodev) {
		n, at := c.l.Nodev[key], "nodev."+key
		c.oneOf(at+".type", "type", n.Type, "nodev")
		if n.FSType == "" {
			c.fail(at, "fsType is missing, such as tmpfs")
		}
		bind := slices.Contains(n.MountOptions, "bind") || slices.Contains(n.MountOptions, "rbind")
		if bind && (n.Device == "" || n.Device == "none") {
			c.fail(at, "device is missing: what is bound to %s", cmp.Or(n.Mountpoint, key))
		}
		c.options(at+".mountOptions", n.MountOptions)
		c.mountpoint(at, cmp.Or(n.Mountpoint, clean(key)))
	}
}
