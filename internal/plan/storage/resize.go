package storage

import (
	"cmp"
	"fmt"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
)

// resize adds the steps for kept partitions whose size changes.
func (w *walker) resize(d diskWork, grow bool) {
	if d.table == nil {
		return
	}
	size := int64(d.table.SectorSize)
	for _, e := range d.table.Entries {
		from, to := int64(e.OldLast-e.FirstLBA+1)*size, e.Size(d.table.SectorSize)
		again := from == to && d.resized(e.Name) && behind(d.found(e.Number), to)
		if !e.Kept || grow != (to > from || again) || !grow && to == from {
			continue
		}
		path := "disk." + d.name + ".content.partitions." + e.Name
		dev := Device{Disk: d.name, Partition: e.Number, Title: e.Name}
		layers, err := w.layers(d.found(e.Number), e.Content, from, to)
		if err != nil {
			w.fail(path+".resize", "%v", err)
			continue
		}
		if len(layers) > 0 {
			verb := map[bool]string{false: "shrink ", true: "grow "}[grow]
			w.create(event.Partition, verb+dev.String(), Resize{Device: dev, From: from, To: to, Layers: layers, Again: again})
		}
	}
}

// behind says whether what is in a partition of a size may have another: a run
// that grew the partition may have ended before its content grew. What is in a
// container cannot be seen from outside.
func behind(f *Found, size int64) bool {
	return f != nil && (container[f.Type] || f.Size > 0 && f.Size < size)
}

// container are the types whose content has a size of its own.
var container = map[string]bool{"crypto_LUKS": true, "LVM2_member": true}

// resized says whether the layout wants another size of a kept partition.
func (d diskWork) resized(name string) bool {
	g, ok := specOf[*layout.GPT](d.spec.Content)
	return ok && g.Partitions[name].Resize != ""
}

// The formats whose size can be changed, and how.
var (
	shrinks = map[string]bool{"ext2": true, "ext3": true, "ext4": true, "btrfs": true, "ntfs": true, "swap": true, "vfat": true}
	grows   = map[string]bool{"ext2": true, "ext3": true, "ext4": true, "btrfs": true, "ntfs": true, "swap": true, "xfs": true}
)

// layers are what has to be resized in a kept partition, outermost first. What
// stands in a container cannot be seen from outside: there the layout says it.
func (w *walker) layers(found *Found, content *layout.Content, from, to int64) ([]Layer, error) {
	if found == nil {
		return nil, nil // nothing is in it
	}
	if to < from && found.MinSize > to {
		return nil, fmt.Errorf("its %s needs at least %s, and would have %s", found.Type, Bytes(found.MinSize), Bytes(to))
	}
	shrink := to < from
	if !container[found.Type] {
		return []Layer{{Type: found.Type, UUID: found.UUID}}, canResize(found.Type, shrink)
	}
	if content == nil || signature(*content) != found.Type {
		want := map[string]string{"crypto_LUKS": "a LUKS container: the layout has to describe it as type luks, with its key", "LVM2_member": "a physical volume of LVM: the layout has to describe it as type lvm_pv, with its volume group"}
		return nil, fmt.Errorf("it holds %s", want[found.Type])
	}
	layers, err := w.layersOf(content, shrink)
	if len(layers) > 0 {
		layers[0].UUID = found.UUID
	}
	return layers, err
}

// layersOf are those of a content, by what the layout says about it.
func (w *walker) layersOf(c *layout.Content, shrink bool) ([]Layer, error) {
	if c == nil || c.Spec == nil {
		return nil, fmt.Errorf("the layout has to say what is in it")
	}
	switch s := c.Spec.(type) {
	case *layout.LUKS:
		if s.Settings.Header != "" {
			return nil, fmt.Errorf("container %s has a detached header", s.Name)
		}
		key := keyOf(s)
		inner, err := w.layersOf(s.Content, shrink)
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", s.Name, err)
		}
		return append([]Layer{{Type: "crypto_LUKS", Key: &key}}, inner...), nil
	case *layout.LVMPV:
		return w.groupLayers(s.VG, shrink)
	case *layout.Filesystem, *layout.Btrfs, *layout.Swap:
		format := signature(*c)
		return []Layer{{Type: format}}, canResize(format, shrink)
	}
	return nil, fmt.Errorf("there is no way to resize %s", c.ContentType())
}

// groupLayers are a physical volume and the volume that gives or takes the
// space: the one of size 100%FREE.
func (w *walker) groupLayers(key string, shrink bool) ([]Layer, error) {
	g := w.config.Layout.LVMVG[key]
	pv := Layer{Type: "LVM2_member", VG: cmp.Or(g.Name, key)}
	if n := w.memberCounts()["lvm_vg/"+key]; n != 1 {
		return nil, fmt.Errorf("volume group %s stands on %d physical volumes: resize it with LVM", pv.VG, n)
	}
	for _, k := range g.Order() {
		v := g.LVs[k]
		if v.Size != "100%FREE" {
			continue
		}
		if v.LVMType != "" || v.Pool != "" {
			return nil, fmt.Errorf("volume %s/%s is of type %s: resize it with LVM", pv.VG, cmp.Or(v.Name, k), cmp.Or(v.LVMType, "thin"))
		}
		pv.LV = cmp.Or(v.Name, k)
		inner, err := w.layersOf(v.Content, shrink)
		if err != nil {
			return nil, fmt.Errorf("volume %s/%s: %w", pv.VG, pv.LV, err)
		}
		return append([]Layer{pv}, inner...), nil
	}
	return []Layer{pv}, nil
}

func canResize(format string, shrink bool) error {
	switch {
	case shrink && !shrinks[format]:
		return fmt.Errorf("%s cannot be shrunk", format)
	case !shrink && !grows[format]:
		return fmt.Errorf("%s cannot be grown", format)
	}
	return nil
}
