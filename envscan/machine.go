package envscan

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/envscan/smbios"
)

// machineProbes find what board, processor, memory and firmware are.
var machineProbes = []prober{
	{"arch", []string{"hw.arch"}, func(_ context.Context, s *scanner) func(*Facts) {
		arch := s.arch()
		return func(f *Facts) { f.HW.Arch = arch }
	}},
	{"firmware", []string{"hw.firmware"}, func(_ context.Context, s *scanner) func(*Facts) {
		firmware := s.firmware()
		return func(f *Facts) { f.HW.Firmware = firmware }
	}},
	{"tpm", []string{"hw.tpm"}, func(_ context.Context, s *scanner) func(*Facts) {
		tpm := s.tpm()
		return func(f *Facts) { f.HW.TPM = tpm }
	}},
	{"dmi", []string{"hw.dmi"}, func(_ context.Context, s *scanner) func(*Facts) {
		dmi := s.dmi()
		return func(f *Facts) { f.HW.DMI = dmi }
	}},
	{"cpu", cpuFacts, func(_ context.Context, s *scanner) func(*Facts) {
		cpu := s.cpu()
		return func(f *Facts) {
			cpu.Virtualization.Openable, cpu.Virtualization.Works = f.HW.CPU.Virtualization.Openable, f.HW.CPU.Virtualization.Works
			f.HW.CPU = cpu
		}
	}},
	{"kvm", []string{"hw.cpu.virtualization.openable", "hw.cpu.virtualization.works"}, func(ctx context.Context, s *scanner) func(*Facts) {
		openable, works := s.kvm(ctx)
		return func(f *Facts) {
			f.HW.CPU.Virtualization.Openable, f.HW.CPU.Virtualization.Works = openable, works
		}
	}},
	{"memory", []string{"hw.memory.total"}, func(_ context.Context, s *scanner) func(*Facts) {
		total, _ := s.memory()
		return func(f *Facts) { f.HW.Memory.Total = total }
	}},
	{"dimm", []string{"hw.memory.dimm"}, func(_ context.Context, s *scanner) func(*Facts) {
		list := s.dimms()
		return func(f *Facts) { f.HW.Memory.DIMM = list }
	}},
	{"console", []string{"hw.console"}, func(_ context.Context, s *scanner) func(*Facts) {
		list := s.consoles()
		return func(f *Facts) { f.HW.Console = list }
	}},
	{"watchdog", []string{"hw.watchdog"}, func(_ context.Context, s *scanner) func(*Facts) {
		list := s.watchdogs()
		return func(f *Facts) { f.HW.Watchdog = list }
	}},
}

// goArch are Go's names of the kernel's architectures.
var goArch = map[string]string{
	"x86_64": "amd64", "aarch64": "arm64", "i386": "386", "i486": "386", "i586": "386", "i686": "386",
	"armv6l": "arm", "armv7l": "arm", "armv8l": "arm", "riscv64": "riscv64", "loongarch64": "loong64",
	"ppc64": "ppc64", "ppc64le": "ppc64le", "s390x": "s390x", "mips64": "mips64",
}

// wider are the architectures of processors that run a kernel of fewer bits:
// vic's own programs, and so its systems, are for the wider one.
var wider = map[string]string{"386": "amd64", "arm": "arm64"}

// arch is the processor's architecture by Go's name. The kernel's may be
// narrower, and that of programs narrower still.
func (s *scanner) arch() string {
	const fact, path = "hw.arch", "/proc/sys/kernel/arch" // since Linux 6.1
	kernel := s.text(fact, path)
	arch := kernel
	if name, known := goArch[kernel]; known {
		arch = name
	}
	info := s.cpuinfo(fact)
	switch can := info.arch(); {
	case arch == "" && can != "":
		return can
	case arch == "" && s.live:
		return runtime.GOARCH
	case arch == "":
		s.gap(fact, path, errNoFile)
	case can == wider[arch] && can != "":
		return can
	}
	return arch
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

const smbiosTable = "/sys/firmware/dmi/tables/DMI"

// smbios reads the firmware's table, which only root may, for some facts. What
// was read before damage counts.
func (s *scanner) smbios(facts ...string) (t smbios.Table) {
	b, err := s.root.ReadFile(smbiosTable)
	if err == nil {
		t, err = smbios.Parse(b)
	}
	for _, fact := range facts {
		s.gap(fact, smbiosTable, err)
	}
	return t
}

func (s *scanner) dimms() []DIMM {
	list := []DIMM{}
	for _, d := range s.smbios("hw.memory.dimm").DIMM {
		list = append(list, DIMM(d))
	}
	return list
}

// tpm is the first, which is the one that the firmware measures into.
func (s *scanner) tpm() *TPM {
	const class = "/sys/class/tpm"
	names, err := s.root.Names(class)
	s.gap("hw.tpm", class, err)
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, "tpm") || strings.HasPrefix(n, "tpmrm") })
	if len(names) == 0 {
		return nil
	}
	dir := class + "/" + names[0]
	t := TPM{Driver: s.driver("hw.tpm.driver", dir+"/device")}
	switch s.text("hw.tpm.version", dir+"/tpm_version_major") {
	case "2":
		t.Version = "2.0"
	case "1":
		t.Version = "1.2"
	case "": // before Linux 5.6, and only those of version 1.2 have capabilities
		if strings.Contains(s.text("hw.tpm.version", dir+"/device/caps"), "TCG version: 1.2") {
			t.Version = "1.2"
		}
	}
	return &t
}
