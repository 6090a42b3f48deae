package envscan

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// arch is the kernel's architecture by Go's name, or failing that (before
// Linux 6.1) the program's.
func (s *scanner) arch() string {
	machine := s.text("/proc/sys/kernel/arch")
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
	s.gap(secureBoot, err)
	if err == nil && len(b) >= 5 {
		on := b[4] == 1
		f.SecureBoot = &on
	}
	mounts, err := s.root.Mounts()
	s.gap("/proc/self/mountinfo", err)
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
	for _, line := range strings.Split(s.text("/proc/meminfo"), "\n") {
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
	c := CPU{Count: countList(s.text("/sys/devices/system/cpu/online"))}
	processors := 0
	for _, line := range strings.Split(s.text("/proc/cpuinfo"), "\n") {
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
		d.Vendor = s.text(id + "/sys_vendor")
		d.Product = s.text(id + "/product_name")
		d.Serial = s.text(id + "/product_serial")
		d.UUID = strings.ToLower(s.text(id + "/product_uuid"))
	case s.exists(tree):
		d.Product = s.text(tree + "/model")
		d.Serial = s.text(tree + "/serial-number")
	}
	if d == (DMI{}) {
		return nil
	}
	return &d
}

func (s *scanner) os() OS {
	o := OS{
		Kernel:    s.text("/proc/sys/kernel/osrelease"),
		Hostname:  s.text("/proc/sys/kernel/hostname"),
		Container: s.container(),
		RAM:       s.exists("/vic/request.json"),
	}
	if o.Hostname == "(none)" { // the kernel's word for none
		o.Hostname = ""
	}
	text, err := s.root.Text("etc/os-release")
	if os.IsNotExist(err) {
		text = s.text("/usr/lib/os-release")
	} else {
		s.gap("/etc/os-release", err)
	}
	for _, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "ID":
			o.ID = unquote(value)
		case "VERSION_ID":
			o.VersionID = unquote(value)
		}
	}
	return o
}

// unquote handles the quoting that os-release(5) allows.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		s = s[1 : len(s)-1]
	}
	return strings.NewReplacer(`\"`, `"`, `\$`, `$`, `\\`, `\`, "\\`", "`").Replace(s)
}

// container says which container manager runs this system, by the marks that
// they leave (https://systemd.io/CONTAINER_INTERFACE).
func (s *scanner) container() string {
	if name, err := s.root.Text("run/systemd/container"); err == nil && name != "" {
		return name
	}
	for _, mark := range [][2]string{{"/.dockerenv", "docker"}, {"/run/.containerenv", "podman"}} {
		if s.exists(mark[0]) {
			return mark[1]
		}
	}
	environ := s.text("/proc/1/environ")
	for _, v := range strings.Split(environ, "\x00") {
		if name, ok := strings.CutPrefix(v, "container="); ok && name != "" {
			return name
		}
	}
	cgroup := s.text("/proc/1/cgroup")
	for _, name := range []string{"docker", "lxc", "kubepods"} {
		if strings.Contains(cgroup, "/"+name) {
			return name
		}
	}
	return ""
}
