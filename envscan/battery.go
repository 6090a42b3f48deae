package envscan

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// batteries lists those that the machine runs from: not a mouse's
// (scope Device), not a bay without one. Documentation/ABI/testing/sysfs-class-power.
func (s *scanner) batteries() ([]Battery, map[string]Charge) {
	const class = "/sys/class/power_supply"
	names, err := s.root.Names(class)
	s.gap("hw.battery", class, err)
	list, charges := []Battery{}, map[string]Charge(nil)
	for _, name := range names {
		dir := class + "/" + name
		fact := "hw.battery[name=" + name + "]"
		// What else there is of a mouse would be asked of the mouse, by radio.
		kind := s.text(fact, dir+"/type")
		if kind != "" && kind != "Battery" || s.text(fact, dir+"/scope") == "Device" {
			continue
		}
		// All in one, so that the firmware is asked once; what it does not answer
		// is left out by the kernel.
		text, err := s.root.Text(dir, "uevent")
		s.gap(fact, dir+"/uevent", err)
		p := parsePower(text)
		p["TYPE"] = cmp.Or(kind, p.get("TYPE"))
		if p.get("TYPE") != "Battery" || p.get("SCOPE") == "Device" || p.get("PRESENT") == "0" {
			continue
		}
		list = append(list, p.battery(name))
		if charges == nil {
			charges = map[string]Charge{}
		}
		charges[name] = p.charge()
	}
	return list, charges
}

// power is what the kernel says of a power supply, without POWER_SUPPLY_.
type power map[string]string

func parsePower(uevent string) power {
	p := power{}
	for line := range strings.Lines(uevent) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		if key, ok := strings.CutPrefix(key, "POWER_SUPPLY_"); ok {
			p[key] = strings.TrimSpace(value)
		}
	}
	return p
}

func (p power) get(key string) string { return p[key] }

// number is a count of millionths; absent, and what the firmware does not know,
// is not ok.
func (p power) number(key string) (int64, bool) {
	n, err := strconv.ParseInt(p[key], 10, 64)
	return n, err == nil && n > 0
}

func (p power) battery(name string) Battery {
	b := Battery{
		Name: name, Maker: p.get("MANUFACTURER"), Model: p.get("MODEL_NAME"), Serial: p.get("SERIAL_NUMBER"),
		Technology: p.get("TECHNOLOGY"), Design: p.capacity("FULL_DESIGN"), Full: p.capacity("FULL"),
	}
	if b.Technology == "Unknown" {
		b.Technology = ""
	}
	if n, ok := p.number("CYCLE_COUNT"); ok { // 0 is "not available"
		b.Cycles = &n
	}
	return b
}

// capacity is what a battery holds, in mWh. Batteries that count charge (µAh)
// are taken at the voltage that they are made for (µV), which does not change
// while they are used.
func (p power) capacity(which string) *int64 {
	if energy, ok := p.number("ENERGY_" + which); ok {
		mWh := (energy + 500) / 1000
		return &mWh
	}
	charge, okCharge := p.number("CHARGE_" + which)
	volt, okVolt := p.number("VOLTAGE_MIN_DESIGN")
	if !okVolt {
		volt, okVolt = p.number("VOLTAGE_MAX_DESIGN")
	}
	if !okCharge || !okVolt {
		return nil
	}
	mWh := int64(math.Round(float64(charge) * float64(volt) / 1e9))
	return &mWh
}

// charge is a battery's state; the kernel's percentage, or else what it holds
// of what it can.
func (p power) charge() Charge {
	c := Charge{Status: strings.ToLower(p.get("STATUS"))}
	if percent, err := strconv.ParseInt(p.get("CAPACITY"), 10, 64); err == nil {
		c.Percent = percent
		return c
	}
	for _, unit := range []string{"ENERGY", "CHARGE"} {
		now, err := strconv.ParseInt(p.get(unit+"_NOW"), 10, 64)
		full, ok := p.number(unit + "_FULL")
		if err == nil && ok {
			c.Percent = int64(math.Round(100 * float64(now) / float64(full)))
			return c
		}
	}
	return c
}
