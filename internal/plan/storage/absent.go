package storage

import (
	"slices"

	"github.com/victorinix/vic/disk/layout"
)

// absent refuses a disk that is not there unless it holds only what the others
// can do without: members of arrays, and what is not mounted.
func (w *walker) absent(name string) {
	spec := w.config.Layout.Disk[name]
	contents(layout.Layout{Disk: map[string]layout.Disk{name: spec}}, func(c layout.Content) {
		switch s := c.Spec.(type) {
		case *layout.GPT, *layout.MBR, *layout.MDRaid:
			return
		case *layout.Filesystem:
			if s.Mountpoint == "" {
				return
			}
		}
		w.fail("disk."+name, "it is not there, and %s on it is needed: only members of arrays can be missing", c.ContentType())
	})
}

// present is the layout without the disks that are not there.
func (c Config) present() layout.Layout {
	l := c.Layout
	l.Disk = map[string]layout.Disk{}
	for name, d := range c.Layout.Disk {
		if !slices.Contains(c.Absent, name) {
			l.Disk[name] = d
		}
	}
	return l
}
