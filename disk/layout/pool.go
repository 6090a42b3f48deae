package layout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/nearest"
)

// Topology is what a pool is made of. Members are paths, or keys in
// devices.disk: the partition "zfs" of that disk.
type Topology struct {
	Vdev    []Vdev   `json:"vdev,omitempty"`
	Special []Vdev   `json:"special,omitempty"`
	Log     []Vdev   `json:"log,omitempty"`
	Dedup   []Vdev   `json:"dedup,omitempty"`
	Spare   []string `json:"spare,omitempty"`
	Cache   []string `json:"cache,omitempty"`
}

// Vdev is a group of members.
type Vdev struct {
	Mode    string   `json:"mode,omitempty"` // "", mirror, raidz, raidz1, raidz2, raidz3
	Members []string `json:"members"`
}

// poolModes, with the least number of members (zpoolconcepts(7)).
var poolModes = map[string]int{"": 1, "mirror": 2, "raidz": 2, "raidz1": 2, "raidz2": 3, "raidz3": 4}

// Topology returns the pool's topology where Mode gives one; ok is false when
// Mode is a word, and all members are one vdev of that mode.
func (p Pool) Topology() (t Topology, ok bool, err error) {
	mode, isMap := p.Mode.(map[string]any)
	if !isMap {
		return t, false, nil
	}
	inner, isMap := mode["topology"].(map[string]any)
	if !isMap || len(mode) != 1 {
		return t, true, fmt.Errorf("expected a mode such as mirror, or {topology: {vdev: [...]}}")
	}
	for key, value := range inner {
		if err := t.set(key, value); err != nil {
			return t, true, fmt.Errorf("topology.%s: %w", key, err)
		}
	}
	return t, true, nil
}

func (t *Topology) set(key string, value any) error {
	var err error
	switch key {
	case "type":
		if value != "topology" {
			return fmt.Errorf("expected topology, got %q", value)
		}
	case "vdev":
		t.Vdev, err = vdevs(value)
	case "special":
		t.Special, err = vdevs(value)
	case "log":
		t.Log, err = vdevs(value)
	case "dedup":
		t.Dedup, err = vdevs(value)
	case "spare":
		t.Spare, err = texts(value)
	case "cache":
		t.Cache, err = texts(value)
	default:
		known := []string{"vdev", "special", "log", "dedup", "spare", "cache"}
		return fmt.Errorf("unknown key, expected one of %s%s", strings.Join(known, ", "), didYouMean(nearest.Name(key, known)))
	}
	return err
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", name)
}

// vdevs reads a list, or a single one as older configurations have it.
func vdevs(v any) ([]Vdev, error) {
	if _, single := v.(map[string]any); single {
		v = []any{v}
	}
	list, ok := v.([]any)
	if !ok && v != nil && v != "" {
		return nil, fmt.Errorf("expected a list")
	}
	var all []Vdev
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("expected {mode: ..., members: [...]}")
		}
		var d Vdev
		for key, value := range m {
			var err error
			switch key {
			case "mode":
				if d.Mode, ok = value.(string); !ok {
					err = fmt.Errorf("mode: expected a word")
				}
			case "members":
				d.Members, err = texts(value)
			default:
				err = fmt.Errorf("unknown key %q, expected mode or members", key)
			}
			if err != nil {
				return nil, err
			}
		}
		all = append(all, d)
	}
	return all, nil
}

func texts(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok && v != nil && v != "" {
		return nil, fmt.Errorf("expected a list")
	}
	var all []string
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return nil, fmt.Errorf("expected a list of names")
		}
		all = append(all, s)
	}
	return all, nil
}

// groups are all vdevs with the word of zpool create that comes before them.
func (t Topology) groups() []struct {
	class string
	vdev  Vdev
} {
	var all []struct {
		class string
		vdev  Vdev
	}
	add := func(class string, list ...Vdev) {
		for _, v := range list {
			all = append(all, struct {
				class string
				vdev  Vdev
			}{class, v})
		}
	}
	add("", t.Vdev...)
	add("special", t.Special...)
	add("log", t.Log...)
	add("dedup", t.Dedup...)
	if len(t.Spare) > 0 {
		add("spare", Vdev{Members: t.Spare})
	}
	if len(t.Cache) > 0 {
		add("cache", Vdev{Members: t.Cache})
	}
	return all
}

// poolName is zpool-create(8)'s.
var poolName = lazyregexp.New(`^[a-zA-Z][a-zA-Z0-9_.: -]*$`)

var datasetName = lazyregexp.New(`^[a-zA-Z0-9_.: -]+(/[a-zA-Z0-9_.: -]+)*$`)

func (c *check) pools() {
	seen := map[string]string{}
	for _, key := range sortedKeys(c.l.Zpool) {
		p, at := c.l.Zpool[key], "zpool."+key
		c.oneOf(at+".type", "type", p.Type, "zpool")
		name := cmp.Or(p.Name, key)
		if !poolName.MatchString(name) || slices.Contains([]string{"mirror", "raidz", "draid", "spare", "log"}, name) {
			c.fail(at+".name", "is no name for a pool: %q", name)
		}
		c.once(seen, at, "name", name)
		if word, ok := p.Mode.(string); ok {
			c.oneOf(at+".mode", "mode", word, sortedKeys(poolModes)[1:]...)
		}
		c.options(at+".mountOptions", p.MountOptions)
		if p.RootOptions["mountpoint"] != "none" {
			c.mountpoint(at, p.Mountpoint)
		}
		for _, d := range sortedKeys(p.Datasets) {
			c.dataset(at+".datasets."+d, d, p.Datasets[d])
		}
	}
}

func (c *check) dataset(at, key string, d Dataset) {
	if name := cmp.Or(d.Name, key); !datasetName.MatchString(name) {
		c.fail(at+".name", "is no name for a dataset: %q", name)
	}
	c.options(at+".mountOptions", d.MountOptions)
	switch d.Type {
	case "":
		c.fail(at, "type is missing, expected zfs_fs or zfs_volume")
	case "zfs_fs":
		if d.Size != "" || d.Content != nil {
			c.fail(at, "size and content are for type zfs_volume")
		}
		if d.Options["mountpoint"] != "none" && d.Options["canmount"] != "off" {
			c.mountpoint(at, d.Mountpoint)
		}
	case "zfs_volume":
		if d.Mountpoint != "" {
			c.fail(at+".mountpoint", "a volume is a block device: its content has a mountpoint")
		}
		if n, err := ParseSize(d.Size); d.Size == "" {
			c.fail(at, "size is missing")
		} else if err != nil || n == 0 {
			c.fail(at+".size", "read size %q: expected a size such as 10G", d.Size)
		}
	default:
		c.oneOf(at+".type", "type", d.Type, "zfs_fs", "zfs_volume")
	}
}

// poolMembers compares a pool's topology with the members that name it.
func (c *check) poolMembers(r Ref, p Pool) {
	at := r.String() + ".mode"
	t, prescribed, err := p.Topology()
	if err != nil {
		c.fail(at, "%v", err)
		return
	}
	if word, _ := p.Mode.(string); !prescribed {
		if n := len(c.members[r]); n < poolModes[word] {
			c.absent(at, "%s needs at least %d members, got %d", word, poolModes[word], n)
		}
		return
	}
	if len(t.Vdev) == 0 {
		c.absent(at, "topology.vdev is empty: a pool needs a place for its data")
	}
	left := map[string]string{}
	for _, s := range c.members[r] {
		left[s.device] = s.path
	}
	used := map[string]string{}
	for _, g := range t.groups() {
		c.oneOf(at, "mode", g.vdev.Mode, sortedKeys(poolModes)[1:]...)
		if n, least := len(g.vdev.Members), poolModes[g.vdev.Mode]; n < least {
			c.absent(at, "%s needs at least %d members, got %d", cmp.Or(g.vdev.Mode, "a vdev"), least, n)
		}
		for _, m := range g.vdev.Members {
			device := MemberDevice(m)
			if _, ok := left[device]; !ok && used[device] == "" {
				c.absent(at, "member %q is no device of the layout with type zfs and pool %s", m, r.Name)
			}
			c.once(used, at, "member", device)
			delete(left, device)
		}
	}
	for _, path := range slices.Sorted(maps.Values(left)) {
		c.absent(at, "%s is in the pool, but not in its topology", path)
	}
}

// MemberDevice is the path of a member of a topology, in disko's terms: that of
// the partition "zfs" of the disk, when it is the name of one.
func MemberDevice(member string) string {
	if strings.HasPrefix(member, "/") {
		return member
	}
	return "/dev/disk/by-partlabel/disk-" + member + "-zfs"
}

func (c *check) bcachefs() {
	seen := map[string]string{}
	for _, key := range sortedKeys(c.l.Bcachefs) {
		f, at := c.l.Bcachefs[key], "bcachefs_filesystems."+key
		c.oneOf(at+".type", "type", f.Type, "bcachefs_filesystem")
		c.once(seen, at, "name", cmp.Or(f.Name, key))
		if f.UUID != "" {
			c.guid(at+".uuid", f.UUID)
		}
		c.absolute(at+".passwordFile", f.PasswordFile)
		c.options(at+".mountOptions", f.MountOptions)
		c.mountpoint(at, f.Mountpoint)
		paths := map[string]string{}
		for _, v := range sortedKeys(f.Subvolumes) {
			c.subvolume(at+".subvolumes."+v, v, f.Subvolumes[v], "bcachefs_subvolume", paths)
		}
	}
}
