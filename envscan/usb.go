package envscan

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// usb lists USB devices, root hubs included: those below /sys/bus/usb/devices
// that are no interfaces. Strings and descriptors are those that the kernel has
// read when the device came: a suspended one sleeps on.
// Documentation/ABI/testing/sysfs-bus-usb.
func (s *scanner) usb() []USB {
	const bus = "/sys/bus/usb/devices"
	names, err := s.root.Names(bus)
	s.gap("hw.usb", bus, err)
	interfaces := map[string][]string{}
	list := []USB{}
	for _, name := range names {
		if device, _, ok := strings.Cut(name, ":"); ok {
			driver := s.driver("hw.usb[port="+device+"].driver", bus+"/"+name)
			interfaces[device] = append(interfaces[device], driver)
			continue
		}
		list = append(list, s.usbDevice(name, bus+"/"+name))
	}
	for i := range list {
		list[i].Driver = sortedSet(interfaces[list[i].interfaces()])
	}
	slices.SortFunc(list, compareUSB)
	return list
}

func (s *scanner) usbDevice(name, dir string) USB {
	fact := "hw.usb[port=" + name + "]"
	text := func(field, attr string) string { return s.text(fact+"."+field, dir+"/"+attr) }
	u := USB{
		Port: name, Vendor: text("vendor", "idVendor"), Product: text("product", "idProduct"),
		Name: text("name", "product"), Maker: text("maker", "manufacturer"), Serial: text("serial", "serial"),
		Class: text("class", "bDeviceClass"),
	}
	if speed := text("speed", "speed"); speed != "" && speed != "unknown" {
		var err error
		u.Speed, err = strconv.ParseFloat(speed, 64)
		s.gap(fact+".speed", dir+"/speed", err)
	}
	devPath, err := s.root.DevPath(dir)
	s.gap(fact+".path", dir, err)
	if err == nil {
		u.Path = s.usbPath(devPath, name)
	}
	if u.hub() { // its kernel gives it a serial number that is the controller's place
		u.Serial = ""
	}
	return u
}

// usbPath is where a device is plugged in, as udev's ID_PATH: that of the
// controller and the ports on the way. The number of the bus, which depends on
// the order of probing, is not in it.
func (s *scanner) usbPath(devPath, name string) string {
	controller := devPath
	for elem := controller; elem != "."; elem = filepath.Dir(elem) {
		if base := filepath.Base(elem); strings.HasPrefix(base, "usb") && strings.Trim(base[3:], "0123456789") == "" {
			controller = filepath.Dir(elem)
		}
	}
	path := s.root.BusPath(controller)
	if _, ports, ok := strings.Cut(name, "-"); ok {
		path += "-usb-0:" + ports
	}
	return path
}

// hub: it is the hub in a host controller.
func (u USB) hub() bool { return strings.HasPrefix(u.Port, "usb") }

// interfaces is what the kernel names its interfaces by: those of the hub usb1
// are 1-0:1.0.
func (u USB) interfaces() string {
	if u.hub() {
		return u.Port[3:] + "-0"
	}
	return u.Port
}

// compareUSB orders by controller, and on each (one may have a bus for USB 2
// and one for USB 3) by bus and ports as numbers.
func compareUSB(a, b USB) int {
	pathA, _, _ := strings.Cut(a.Path, "-usb-")
	pathB, _, _ := strings.Cut(b.Path, "-usb-")
	return cmp.Or(cmp.Compare(pathA, pathB), slices.Compare(a.ports(), b.ports()), cmp.Compare(a.Port, b.Port))
}

// ports are the numbers of bus and ports: 1, 4, 2 for 1-4.2.
func (u USB) ports() []int {
	var list []int
	for _, part := range strings.FieldsFunc(strings.TrimPrefix(u.Port, "usb"), func(r rune) bool { return r == '-' || r == '.' }) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return list
		}
		list = append(list, n)
	}
	return list
}

// sortedSet are the strings without duplicates and empty ones.
func sortedSet(list []string) []string {
	set := slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "" })
	slices.Sort(set)
	return append([]string{}, slices.Compact(set)...)
}
