package envscan

import (
	"cmp"
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/victorinix/vic/envscan/query"
	"github.com/victorinix/vic/internal/lazyregexp"
)

// kinds are hwmon's inputs: what is in their files, and what is reported.
// Documentation/hwmon/sysfs-interface.rst.
var kinds = map[string]struct {
	unit  string
	parts float64 // of the unit that the kernel counts
}{
	"temp": {"°C", 1e3}, "fan": {"rpm", 1}, "in": {"V", 1e3}, "curr": {"A", 1e3},
	"power": {"W", 1e6}, "energy": {"J", 1e6}, "humidity": {"%", 1e3},
}

var (
	inputName = lazyregexp.New(`^(([a-z]+)[0-9]+)_(input|average)$`)
	i2cName   = lazyregexp.New(`^[0-9]+-([0-9a-f]{4})$`)
)

// input is one while it is described.
type input struct {
	Sensor
	dir, file string
	status    string // of its device's runtime power management
}

// sensors lists what measures, and what it reads now.
func (s *scanner) sensors(ctx context.Context) ([]Sensor, map[string]float64) {
	const class = "/sys/class/hwmon"
	names, err := s.root.Names(class)
	s.gap("hw.sensor", class, err)
	var inputs []input
	for _, name := range names {
		inputs = append(inputs, s.chip(class+"/"+name)...)
	}
	// Of two chips that nothing tells apart the kernel's order does.
	slices.SortStableFunc(inputs, func(a, b input) int { return cmp.Compare(a.ID, b.ID) })
	seen := map[string]int{}
	list, readings := []Sensor{}, map[string]float64(nil)
	for _, in := range inputs {
		if seen[in.ID]++; seen[in.ID] > 1 {
			in.ID += "#" + strconv.Itoa(seen[in.ID])
		}
		list = append(list, in.Sensor)
		v, ok := s.reading(ctx, in)
		if ok && readings == nil {
			readings = map[string]float64{}
		}
		if ok {
			readings[in.ID] = v
		}
	}
	return list, readings
}

// chip lists the inputs of one. Old drivers have them at the device itself.
func (s *scanner) chip(dir string) []input {
	place := s.chipPlace(dir)
	if !s.exists(dir + "/name") {
		dir += "/device"
	}
	name := s.text("hw.sensor", dir+"/name")
	files, err := s.root.Names(dir)
	s.gap("hw.sensor", dir, err)
	status, _ := s.root.Text(dir, "device/power/runtime_status") // old kernels, and devices without it
	var list []input
	for _, file := range files {
		m := inputName.FindStringSubmatch(file)
		if m == nil || kinds[m[2]].unit == "" || m[3] == "average" && (m[2] != "power" || slices.Contains(files, m[1]+"_input")) {
			continue
		}
		list = append(list, input{Sensor{
			ID: place + "/" + name + "/" + m[1], Chip: name, Kind: m[2], Unit: kinds[m[2]].unit,
			Label: s.text("hw.sensor", dir+"/"+m[1]+"_label"),
		}, dir, file, status})
	}
	return list
}

// chipPlace is where the device is that a chip belongs to, without the numbers
// that depend on the order of probing.
func (s *scanner) chipPlace(dir string) string {
	devPath, err := s.root.DevPath(dir)
	s.gap("hw.sensor", dir, err)
	device := strings.TrimSuffix(filepath.Dir(devPath), "/hwmon")
	switch {
	case strings.HasPrefix(device, "virtual/thermal/"): // one chip for all zones of a type
		return "virtual/thermal"
	case i2cName.MatchString(filepath.Base(device)):
		return s.root.BusPath(device) + "-i2c-" + i2cName.FindStringSubmatch(filepath.Base(device))[1]
	}
	return s.root.BusPath(device)
}

var errAsleep = errors.New("the device sleeps, and to ask it would wake it")

// reading is what an input measures; a sensor that has nothing to say now has
// none. Some drivers wake their device for it, and drivetemp asks the disk,
// which many take for a reason not to stop.
func (s *scanner) reading(ctx context.Context, in input) (float64, bool) {
	fact, path := "state.sensors."+query.Name(in.ID), in.dir+"/"+in.file
	if !s.wake && (in.Chip == "drivetemp" || strings.HasPrefix(in.status, "suspend")) {
		s.gaps = append(s.gaps, Gap{Fact: fact, Path: path, Why: errAsleep.Error(), Need: "--wake"})
		return 0, false
	}
	if err := context.Cause(ctx); err != nil {
		s.gap(fact, path, err)
		return 0, false
	}
	text, err := s.root.Text(path)
	for _, mute := range []error{syscall.ENODATA, syscall.EAGAIN, syscall.ENXIO, syscall.EINVAL, syscall.ENODEV} {
		if errors.Is(err, mute) {
			return 0, false
		}
	}
	s.gap(fact, path, err)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	s.gap(fact, path, err)
	// Rounded to what was counted: 45.1 and not 45.1000000001.
	return math.Round(float64(n)/kinds[in.Kind].parts*1e6) / 1e6, err == nil
}
