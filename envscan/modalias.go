package envscan

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/victorinix/vic/internal/kmod"
)

// modaliases are those of all devices, sorted: of everything on a bus, of input
// devices, and of the board. What udev loads modules by is MODALIAS in a
// device's uevent; a captured tree may have the file modalias alone.
func (s *scanner) modaliases() []string {
	var list []string
	add := func(dir string) {
		if alias := s.modalias(dir); alias != "" {
			list = append(list, alias)
		}
	}
	each := func(dir string) {
		names, err := s.root.Names(dir)
		s.gap("hw.modalias", dir, err)
		for _, name := range names {
			add(dir + "/" + name)
		}
	}
	buses, err := s.root.Names("/sys/bus")
	s.gap("hw.modalias", "/sys/bus", err)
	for _, bus := range buses {
		if !withoutModalias[bus] {
			each("/sys/bus/" + bus + "/devices")
		}
	}
	each("/sys/class/input")
	add("/sys/class/dmi/id")
	add("/sys/devices/system/cpu")
	return sortedSet(list)
}

// withoutModalias are buses that may have thousands of devices, none of which
// needs a module: a terabyte is 8192 blocks of memory, and all processors are
// in /sys/devices/system/cpu.
var withoutModalias = map[string]bool{"memory": true, "cpu": true, "node": true, "machinecheck": true, "workqueue": true, "event_source": true, "clocksource": true, "clockevents": true}

func (s *scanner) modalias(dir string) string {
	uevent, err := s.root.Text(dir, "uevent")
	if err == nil {
		for line := range strings.Lines(uevent) {
			if alias, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "MODALIAS="); ok {
				return alias
			}
		}
	}
	// A device that has gone, or does not answer, has none.
	if errors.Is(err, fs.ErrPermission) {
		s.gap("hw.modalias", dir+"/uevent", err)
	}
	alias, err := s.root.Text(dir, "modalias")
	if errors.Is(err, fs.ErrPermission) {
		s.gap("hw.modalias", dir+"/modalias", err)
	}
	return alias
}

// assign finds the modules for all modaliases in one pass over modules.alias,
// gives PCI devices theirs, and returns all of them.
func (s *scanner) assign(aliases []string, pci []PCI) []string {
	if len(aliases) == 0 {
		return []string{}
	}
	found, err := s.match(aliases)
	if err != nil {
		s.gaps = append(s.gaps,
			Gap{Fact: "hw.module", Path: s.moduleDir(), Why: reason(err)},
			Gap{Fact: "hw.pci.*.module", Path: s.moduleDir(), Why: reason(err)})
		return nil
	}
	for i, p := range pci {
		pci[i].Module = sortedSet(found[s.modalias("/sys/bus/pci/devices/"+p.Address)])
	}
	var all []string
	for _, modules := range found {
		all = append(all, modules...)
	}
	return sortedSet(all)
}

// moduleDir has the modules of the running kernel. Its absence, as in
// containers, is no error of the machine's, but then nothing is known.
func (s *scanner) moduleDir() string {
	release := s.text("hw.module", "/proc/sys/kernel/osrelease")
	for _, dir := range []string{"/lib/modules/", "/usr/lib/modules/"} {
		if s.exists(dir + release + "/modules.alias") {
			return dir + release
		}
	}
	return "/lib/modules/" + release
}

func (s *scanner) match(aliases []string) (map[string][]string, error) {
	dir := s.moduleDir()
	if !s.exists(dir + "/modules.alias") {
		return nil, fmt.Errorf("the modules of the running kernel are not there")
	}
	tree, err := kmod.Open(s.root.Path(dir))
	if err != nil {
		return nil, err
	}
	return tree.Match(aliases)
}
