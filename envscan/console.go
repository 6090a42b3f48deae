package envscan

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
)

const ttyClass = "/sys/class/tty"

// consoles are the serial ports that have hardware. The kernel's serial core
// gives all its ports the attribute "type"; the PC's driver makes ports for
// which there may be no hardware, of type 0 (PORT_UNKNOWN). USB adapters, which
// are no consoles of firmware or boot loaders, have another core.
func (s *scanner) consoles() []Console {
	names, err := s.root.Names(ttyClass)
	s.gap("hw.console", ttyClass, err)
	active := strings.Fields(s.text("hw.console", ttyClass+"/console/active"))
	list := []Console{}
	for _, name := range names {
		kind, err := s.root.Text(ttyClass, name, "type")
		if err != nil || kind == "0" {
			s.gap("hw.console[name="+name+"]", ttyClass+"/"+name+"/type", err)
			continue
		}
		c := Console{Name: name, Kernel: slices.Contains(active, name)}
		path, err := s.root.DevPath(ttyClass, name)
		s.gap("hw.console[name="+name+"].path", ttyClass+"/"+name, err)
		c.Path, c.Driver = s.port(strings.TrimSuffix(path, "/tty/"+name))
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Console) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), naturally(a.Name, b.Name))
	})
	return list
}

// port is the device that a port belongs to, and its driver. Since Linux 6.5 two
// devices of the serial core's own lie between them, a controller and a port,
// whose drivers say nothing.
func (s *scanner) port(path string) (device, driver string) {
	for path != "" && path != "." {
		dir := "/sys/devices/" + path
		bus, err := s.root.Readlink(dir, "subsystem")
		if err != nil || filepath.Base(bus) != "serial-base" {
			return path, s.driver("hw.console", dir)
		}
		path = filepath.Dir(path)
	}
	return "", ""
}

// naturally orders names with numbers by the numbers: ttyS2 before ttyS10.
func naturally(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// watchdogs are the timers that drivers have registered. Without
// CONFIG_WATCHDOG_SYSFS there is nothing but their number.
func (s *scanner) watchdogs() []Watchdog {
	const class = "/sys/class/watchdog"
	names, err := s.root.Names(class)
	s.gap("hw.watchdog", class, err)
	place := map[string]string{}
	list := []Watchdog{}
	for _, name := range names {
		fact, dir := "hw.watchdog[name="+name+"]", class+"/"+name
		w := Watchdog{Name: name, Identity: s.text(fact+".identity", dir+"/identity")}
		if w.Timeout, err = s.root.Number(dir, "timeout"); err != nil {
			s.gap(fact+".timeout", dir+"/timeout", err)
		}
		w.NoWayOut = s.text(fact+".noWayOut", dir+"/nowayout") == "1"
		place[name], err = s.root.DevPath(class, name)
		s.gap(fact, dir, err)
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b Watchdog) int {
		dir := func(w Watchdog) string { return strings.TrimSuffix(place[w.Name], "/watchdog/"+w.Name) }
		return cmp.Or(cmp.Compare(dir(a), dir(b)), naturally(a.Name, b.Name))
	})
	return list
}
