package envscan

import "context"

// busProbes find what is plugged in, and the kernel modules for it.
//
// They read what the kernel keeps of a device and ask no device itself: a
// function in D3, a suspended port or a screen that is off stays so.
var busProbes = []prober{
	{"devices", []string{"hw.pci", "hw.usb", "hw.modalias", "hw.module"}, func(_ context.Context, s *scanner) func(*Facts) {
		pci, usb, aliases := s.pci(), s.usb(), s.modaliases()
		modules := s.assign(aliases, pci)
		return func(f *Facts) { f.HW.PCI, f.HW.USB, f.HW.Modalias, f.HW.Module = pci, usb, aliases, modules }
	}},
	{"graphics", []string{"hw.gpu", "hw.display"}, func(_ context.Context, s *scanner) func(*Facts) {
		gpus, displays := s.graphics()
		return func(f *Facts) { f.HW.GPU, f.HW.Display = gpus, displays }
	}},
	{"batteries", []string{"hw.battery", "state.battery"}, func(_ context.Context, s *scanner) func(*Facts) {
		list, charges := s.batteries()
		return func(f *Facts) { f.HW.Battery, f.State.Battery = list, charges }
	}},
	{"sensors", []string{"hw.sensor", "state.sensors"}, func(ctx context.Context, s *scanner) func(*Facts) {
		list, readings := s.sensors(ctx)
		return func(f *Facts) { f.HW.Sensor, f.State.Sensors = list, readings }
	}},
}

// driver is the name of the driver that a device is bound to.
func (s *scanner) driver(fact, dir string) string { return s.linkName(fact, dir+"/driver") }

// linkName is the last element of what a link that may be missing points to.
func (s *scanner) linkName(fact, path string) string {
	target, err := s.root.Readlink(path)
	s.gap(fact, path, err)
	return baseName(target)
}
