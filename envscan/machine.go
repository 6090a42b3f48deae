package envscan

import (
	"context"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// machineProbes find what board, processor, memory and firmware are.
var machineProbes = []prober{
	{"board", []string{"hw.arch", "hw.firmware", "hw.tpm", "hw.dmi"}, func(_ context.Context, s *scanner) func(*Facts) {
		arch := s.arch()
		firmware, dmi := s.firmware(arch), s.dmi()
		return func(f *Facts) { f.HW.Arch, f.HW.Firmware, f.HW.DMI = arch, firmware, dmi }
	}},
	{"cpu", []string{"hw.cpu"}, func(_ context.Context, s *scanner) func(*Facts) {
		cpu := s.cpu()
		return func(f *Facts) { f.HW.CPU = cpu }
	}},
	{"memory", []string{"hw.memory"}, func(_ context.Context, s *scanner) func(*Facts) {
		total, _ := s.memory()
		return func(f *Facts) { f.HW.Memory.Total = total }
	}},
}

// arch is the kernel's architecture by Go's name, or failing that (before
// Linux 6.1) the program's.
func (s *scanner) arch() string {
	machine := s.text("hw.arch", "/proc/sys/kernel/arch")
	names := map[string]string{"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm", "riscv64": "riscv64", "": runtime.GOARCH}
	if name, ok := names[machine]; ok {
		return name
	}
	return machine
}

const (
	efivars    = "/sys/firmware/efi/efivars"
	secureBoot = efivars + "/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
)

// firmware looks for the run time services of UEFI. A machine that has none and
// is not a PC boots by a device tree.
func (s *scanner) firmware(arch string) Firmware {
	if !s.exists("/sys/firmware/efi") {
		if s.exists("/sys/firmware/devicetree/base") {
			return Firmware{Type: "devicetree"}
		}
		return Firmware{Type: "bios"}
	}
	f := Firmware{Type: "uefi"}
	// Four bytes of attributes, then the value (UEFI 2.10 §3.3).
	b, err := s.root.ReadFile(secureBoot)
	s.gap("hw.firmware.secureBoot", secureBoot, err)
	if err == nil && len(b) >= 5 {
		on := b[4] == 1
		f.SecureBoot = &on
	}
	mounts, err := s.root.Mounts()
	s.gap("hw.firmware.varsWritable", "/proc/self/mountinfo", err)
	if err == nil {
		writable := false
		for _, m := range mounts {
			if m.Type == "efivarfs" && m.Target == efivars {
				writable = slices.Contains(strings.Split(m.Options, ","), "rw")
			}
		}
		f.VarsWrite = &writable
	}
	return f
}

// memory is MemTotal and MemAvailable, in bytes.
func (s *scanner) memory() (total, available int64) {
	for _, line := range strings.Split(s.text("hw.memory.total", "/proc/meminfo"), "\n") {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			continue
		}
		switch f[0] {
		case "MemTotal:":
			total = n << 10
		case "MemAvailable:":
			available = n << 10
		}
	}
	return total, available
}

func (s *scanner) cpu() CPU {
	c := CPU{Count: countList(s.text("hw.cpu.count", "/sys/devices/system/cpu/online"))}
	processors := 0
	for _, line := range strings.Split(s.text("hw.cpu.model", "/proc/cpuinfo"), "\n") {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "processor":
			processors++
		case "model name":
			c.Model = strings.TrimSpace(value)
		}
	}
	if c.Count == 0 {
		c.Count = processors
	}
	return c
}

// countList counts the numbers in a kernel list such as "0-3,6".
func countList(list string) int {
	n := 0
	for _, part := range strings.Split(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		if err != nil {
			continue
		}
		b := a
		if isRange {
			if b, err = strconv.Atoi(last); err != nil || b < a {
				continue
			}
		}
		n += b - a + 1
	}
	return n
}

// dmi is what SMBIOS says, or the device tree.
func (s *scanner) dmi() *DMI {
	const id, tree = "/sys/class/dmi/id", "/sys/firmware/devicetree/base"
	var d DMI
	switch {
	case s.exists(id):
		d.Vendor = s.text("hw.dmi.vendor", id+"/sys_vendor")
		d.Product = s.text("hw.dmi.product", id+"/product_name")
		d.Serial = s.text("hw.dmi.serial", id+"/product_serial")
		d.UUID = strings.ToLower(s.text("hw.dmi.uuid", id+"/product_uuid"))
	case s.exists(tree):
		d.Product = s.text("hw.dmi.product", tree+"/model")
		d.Serial = s.text("hw.dmi.serial", tree+"/serial-number")
	}
	if reflect.ValueOf(d).IsZero() {
		return nil
	}
	return &d
}
