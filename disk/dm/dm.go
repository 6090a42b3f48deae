// Package dm finds the mappings of the kernel's device mapper in sysfs: what
// LUKS containers, logical volumes and the like are made of. It makes none.
package dm

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/victorinix/vic/disk/sysfs"
)

// Mapping is one device of device mapper.
type Mapping struct {
	Kernel string // kernel name: dm-0
	Name   string // below /dev/mapper
	// UUID begins with who made it: CRYPT-LUKS2-..., LVM-....
	UUID string
}

// Node is the device's name in /dev that the kernel gives it. The one below
// /dev/mapper is made by udev or by the program that made the mapping.
func (m Mapping) Node() string { return sysfs.Node(m.Kernel) }

// Kind is LUKS, plain, LVM, ... or dm when nothing is known.
func (m Mapping) Kind() string {
	kind, rest, _ := strings.Cut(m.UUID, "-")
	if kind == "CRYPT" {
		kind, _, _ = strings.Cut(rest, "-")
		if strings.HasPrefix(kind, "LUKS") {
			return "LUKS"
		}
		return strings.ToLower(kind)
	}
	if kind == "" {
		return "dm"
	}
	return kind
}

// LUKS is the UUID of the container that a mapping opens, in the form of
// blkid; "" when it is none.
func (m Mapping) LUKS() string {
	f := strings.SplitN(m.UUID, "-", 4)
	if len(f) != 4 || f[0] != "CRYPT" || !strings.HasPrefix(f[1], "LUKS") || len(f[2]) != 32 {
		return ""
	}
	h := f[2]
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// LV is the volume group and the volume of a mapping of LVM: in its name a
// hyphen of either is written twice. Layers below a volume (vg-lv_rimage_0)
// come out as volumes too.
func (m Mapping) LV() (vg, lv string, ok bool) {
	if !strings.HasPrefix(m.UUID, "LVM-") {
		return "", "", false
	}
	single := strings.NewReplacer("--", "\x00").Replace(m.Name)
	vg, lv, ok = strings.Cut(single, "-")
	back := strings.NewReplacer("\x00", "-")
	return back.Replace(vg), back.Replace(lv), ok
}

// List is all mappings of the machine.
func List(root sysfs.Root) ([]Mapping, error) {
	names, err := root.Names("sys/block")
	if err != nil {
		return nil, fmt.Errorf("list device mapper: %w", err)
	}
	var list []Mapping
	for _, n := range names {
		if !strings.HasPrefix(n, "dm-") {
			continue
		}
		m, err := Read(root, n)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// Read reads the mapping with a kernel name.
func Read(root sysfs.Root, kernel string) (Mapping, error) {
	m := Mapping{Kernel: kernel}
	var err error
	if m.Name, err = root.Text("sys/block", kernel, "dm/name"); err == nil {
		m.UUID, err = root.Text("sys/block", kernel, "dm/uuid")
	}
	if err != nil {
		return m, fmt.Errorf("read mapping %s: %w", kernel, err)
	}
	return m, nil
}

// Find looks for the mapping with a name.
func Find(root sysfs.Root, name string) (Mapping, bool, error) {
	list, err := List(root)
	if err != nil {
		return Mapping{}, false, err
	}
	for _, m := range list {
		if m.Name == name {
			return m, true, nil
		}
	}
	return Mapping{}, false, nil
}
