package initramfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"

	"github.com/victorinix/vic/internal/kmod"
)

// companions come with a module although no device asks for them yet: a
// controller brings disks, and a person plugs a keyboard in.
var companions = map[string][]string{
	"scsi_mod": {"sd_mod"},
	"mmc_core": {"mmc_block"},
	"usbcore":  {"usbhid", "hid_generic"},
}

// unused are drivers that devices ask for and that do nothing in the RAM system:
// nobody reads their events, and a shell needs no mouse.
var unused = map[string]bool{
	"evdev": true, "button": true, "psmouse": true, "virtio_input": true, "pcspkr": true,
	"ac": true, "battery": true, "qemu_fw_cfg": true, "virtio_balloon": true,
}

// MatchModules returns the names of the modules in sets that devices with these
// modaliases ask for, sorted, without those that they depend on. What is built
// into the kernel is not among them.
func MatchModules(modules fs.FS, modaliases []string, sets ...string) ([]string, error) {
	t, err := openTree(modules)
	if err != nil {
		return nil, err
	}
	offered, err := t.offered(sets)
	if err != nil {
		return nil, err
	}
	found, err := kmod.Match(bytes.NewReader(t.index[fileAlias]), modaliases)
	if err != nil {
		return nil, fmt.Errorf("match %d modaliases: %w", len(modaliases), err)
	}
	names := map[string]bool{}
	for _, claimants := range found {
		for _, name := range claimants {
			if offered[name] && !unused[name] {
				names[name] = true
			}
		}
	}
	t.accompany(names)
	return sortedKeys(names), nil
}

// offered are the names of all modules of sets.
func (t *tree) offered(names []string) (map[string]bool, error) {
	sets, err := Sets()
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, name := range expand(sets, names) {
		set, ok := sets[name]
		if !ok {
			return nil, fmt.Errorf("match modules: there is no set %q", name)
		}
		for _, file := range set.chosen(t) {
			out[moduleName(file)] = true
		}
	}
	return out, nil
}

// accompany adds the companions of all that names lead to.
func (t *tree) accompany(names map[string]bool) {
	var start []string
	for name := range names {
		start = append(start, t.paths[name])
	}
	for _, file := range t.closure(start) {
		for _, name := range companions[moduleName(file)] {
			if t.paths[name] != "" {
				names[name] = true
			}
		}
	}
}

// LackingModules returns those of names that a kernel has neither as a module
// nor built in, in their order.
func LackingModules(modules fs.FS, names []string) ([]string, error) {
	t, err := openTree(modules)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		name = normalName(name)
		return t.builtin[name] || t.paths[name] != ""
	}), nil
}
