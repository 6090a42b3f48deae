package envscan

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

const drm = "/sys/class/drm"

var (
	cardName      = lazyregexp.New(`^card[0-9]+$`)
	connectorName = lazyregexp.New(`^(card[0-9]+)-(.+)$`)
)

// graphics lists graphics devices and what is connected to them. A device is one
// that has a driver for a screen, or is of PCI's class for it.
func (s *scanner) graphics() ([]GPU, []Display) {
	names, err := s.root.Names(drm)
	s.gap("hw.gpu", drm, err)
	gpus, paths := []GPU{}, map[string]string{}
	for _, name := range names {
		if !cardName.MatchString(name) {
			continue
		}
		if g, ok := s.card(name); ok {
			gpus, paths[name] = append(gpus, g), g.Path
		}
	}
	gpus = append(gpus, s.withoutCard(gpus)...)
	slices.SortFunc(gpus, func(a, b GPU) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Card, b.Card)) })
	displays := []Display{}
	for _, name := range names {
		m := connectorName.FindStringSubmatch(name)
		if m == nil || paths[m[1]] == "" || s.text("hw.display", drm+"/"+name+"/status") != "connected" {
			continue
		}
		displays = append(displays, s.display(m[2], paths[m[1]], drm+"/"+name))
	}
	slices.SortStableFunc(displays, func(a, b Display) int {
		return cmp.Or(cmp.Compare(a.GPU, b.GPU), cmp.Compare(a.Connector, b.Connector))
	})
	return gpus, displays
}

// card is a device with a driver. Those without hardware (vkms, vgem) are none.
func (s *scanner) card(name string) (GPU, bool) {
	fact, dir := "hw.gpu[card="+name+"]", drm+"/"+name
	devPath, err := s.root.DevPath(dir)
	s.gap(fact+".path", dir, err)
	devPath, _, ok := strings.Cut(devPath, "/drm/")
	if err != nil || !ok || strings.HasPrefix(devPath, "virtual/") || strings.HasPrefix(devPath, "faux/") || filepath.Base(devPath) == "vkms" {
		return GPU{}, false
	}
	return GPU{
		Path: s.root.BusPath(devPath), Driver: s.driver(fact+".driver", dir+"/device"),
		Boot: s.boot(devPath), Card: name,
	}, true
}

// boot looks at a device and those that it is part of: virtio's is below PCI's.
func (s *scanner) boot(devPath string) bool {
	for dir := devPath; dir != "."; dir = filepath.Dir(dir) {
		if v, err := s.root.Text("sys/devices", dir, "boot_vga"); err == nil {
			return v == "1"
		}
	}
	return false
}

// withoutCard are the graphics devices on PCI that no driver shows as a card.
func (s *scanner) withoutCard(known []GPU) []GPU {
	const bus = "/sys/bus/pci/devices"
	names, err := s.root.Names(bus)
	s.gap("hw.gpu", bus, err)
	var list []GPU
	for _, name := range names {
		fact, path := "hw.gpu[path=pci-"+name+"]", "pci-"+name
		isKnown := slices.ContainsFunc(known, func(g GPU) bool { return g.Path == path })
		if class := s.text(fact, bus+"/"+name+"/class"); isKnown || !strings.HasPrefix(class, "0x03") {
			continue
		}
		list = append(list, GPU{
			Path: path, Driver: s.driver(fact+".driver", bus+"/"+name),
			Boot: s.text(fact+".boot", bus+"/"+name+"/boot_vga") == "1",
		})
	}
	return list
}

// display reads what the kernel knows of a connected screen; nothing of that
// asks the screen again.
func (s *scanner) display(connector, gpu, dir string) Display {
	d := Display{Connector: connector, GPU: gpu, Modes: []string{}}
	fact := "hw.display[connector=" + connector + "]"
	for _, mode := range strings.Fields(s.text(fact+".modes", dir+"/modes")) {
		if !slices.Contains(d.Modes, mode) { // it is listed for each refresh rate
			d.Modes = append(d.Modes, mode)
		}
	}
	raw, err := s.root.ReadFile(dir, "edid")
	s.gap(fact+".maker", dir+"/edid", err)
	if len(raw) > 0 {
		e, err := parseEDID(raw)
		s.gap(fact+".maker", dir+"/edid", err)
		d.Maker, d.Model, d.Serial, d.Mode, d.Width, d.Height = e.maker, e.model, e.serial, e.mode, e.width, e.height
	}
	// The kernel also looks into the extensions, where large modes are.
	if len(d.Modes) > 0 {
		d.Mode = d.Modes[0]
	}
	return d
}
