package envscan

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// cpuFacts are those that the probe "cpu" fills. That of virtual machines is
// another's.
var cpuFacts = []string{
	"hw.cpu.vendor", "hw.cpu.model", "hw.cpu.family", "hw.cpu.modelID", "hw.cpu.stepping", "hw.cpu.microcode", "hw.cpu.count",
	"hw.cpu.sockets", "hw.cpu.cores", "hw.cpu.threads", "hw.cpu.flags", "hw.cpu.level",
	"hw.cpu.virtualization.extension", "hw.cpu.virtualization.present",
}

// cpuinfo is /proc/cpuinfo: a block of keys for each processor, and maybe one of
// the board.
type cpuinfo []map[string]string

// cpuinfo reads the first block where processors are all described alike, as x86
// does at a length that makes the file slow on large machines, and all of them
// elsewhere.
func (s *scanner) cpuinfo(fact string) cpuinfo {
	const path = "/proc/cpuinfo"
	f, err := os.Open(s.root.Path(path))
	if err != nil {
		s.gap(fact, path, err)
		return nil
	}
	defer f.Close()
	var info cpuinfo
	block := map[string]string{}
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 4096), 1<<20)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if ok {
			block[strings.TrimSpace(key)] = strings.TrimSpace(value)
			continue
		}
		if len(block) > 0 {
			info, block = append(info, block), map[string]string{}
		}
		if info.get("flags") != "" {
			return info
		}
	}
	s.gap(fact, path, lines.Err())
	if len(block) > 0 {
		info = append(info, block)
	}
	return info
}

// get is a key's value in the first block that has it.
func (i cpuinfo) get(key string) string {
	for _, block := range i {
		if v := block[key]; v != "" {
			return v
		}
	}
	return ""
}

// number is nil where a key has none.
func (i cpuinfo) number(key string) *int64 {
	n, err := strconv.ParseInt(i.get(key), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// flags are sorted: x86 calls them so, ARM calls them features, and RISC-V has
// them in the name of the instruction set.
func (i cpuinfo) flags() []string {
	flags := strings.Fields(i.get("flags") + " " + i.get("Features"))
	if isa := i.get("isa"); isa != "" {
		flags = append(flags, strings.Split(isa, "_")...)
	}
	slices.Sort(flags)
	return append([]string{}, slices.Compact(flags)...)
}

// arch is what the processor can, by Go's names; empty: not told.
func (i cpuinfo) arch() string {
	flags := i.flags()
	switch version := i.get("CPU architecture"); {
	case slices.Contains(flags, "lm"):
		return "amd64"
	case i.get("flags") != "" && slices.Contains(flags, "fpu"):
		return "386"
	case version == "8" || version == "AArch64":
		return "arm64"
	case strings.HasPrefix(version, "7"), strings.HasPrefix(version, "6"):
		return "arm"
	case strings.HasPrefix(i.get("isa"), "rv64"):
		return "riscv64"
	}
	return ""
}

func (s *scanner) cpu() CPU {
	info := s.cpuinfo("hw.cpu.model")
	c := CPU{
		Vendor: info.get("vendor_id"), Model: info.get("model name"),
		Family: info.number("cpu family"), ModelID: info.number("model"), Stepping: info.number("stepping"),
		Microcode: info.get("microcode"), Flags: info.flags(),
	}
	if info.get("CPU implementer") != "" {
		c.Vendor, c.Model = info.arm()
	}
	c.Level = level(c.Flags)
	for _, extension := range []string{"vmx", "svm"} {
		if slices.Contains(c.Flags, extension) {
			c.Virtualization.Extension = extension
		}
	}
	c.Virtualization.Present = s.exists(kvmDevice)
	s.topology(&c)
	return c
}

// levels are the flags that each level of x86-64 demands beyond the one below
// (x86-64 psABI 1.0 §3.1.1), by the kernel's names: pni is SSE3, abm is LZCNT.
// OSXSAVE shows in the kernel's listing of AVX, which it hides without.
var levels = [][]string{
	{"lm", "cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2"},
	{"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"},
	{"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
	{"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}

// level is the highest that sorted flags reach, or nil.
func level(flags []string) *int64 {
	var reached int64
	for _, demanded := range levels {
		for _, flag := range demanded {
			if _, has := slices.BinarySearch(flags, flag); !has {
				if reached == 0 {
					return nil
				}
				return &reached
			}
		}
		reached++
	}
	return &reached
}

const cpuDir = "/sys/devices/system/cpu"

// topology counts processors, cores and sockets that are online.
func (s *scanner) topology(c *CPU) {
	online, err := s.root.Text(cpuDir, "online")
	numbers := listed(online)
	if len(numbers) == 0 {
		s.uncounted(cpuDir+"/online", err, "count", "sockets", "cores", "threads")
		return
	}
	c.Count = len(numbers)
	sockets, cores := map[string]bool{}, map[string]bool{}
	for _, n := range numbers {
		dir := cpuDir + "/cpu" + strconv.Itoa(n) + "/topology"
		siblings, err := s.root.Text(dir, "core_cpus_list")
		if errors.Is(err, fs.ErrNotExist) { // before Linux 5.3
			siblings, err = s.root.Text(dir, "thread_siblings_list")
		}
		if err != nil {
			s.uncounted(dir, err, "sockets", "cores", "threads")
			return
		}
		sockets[s.text("hw.cpu.sockets", dir+"/physical_package_id")] = true
		cores[siblings] = true
		c.Threads = max(c.Threads, len(listed(siblings)))
	}
	c.Sockets, c.Cores = len(sockets), len(cores)
}

// uncounted notes what a file does not tell that every kernel should have.
func (s *scanner) uncounted(path string, err error, fields ...string) {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = errNoFile
	}
	for _, field := range fields {
		s.gap("hw.cpu."+field, path, err)
	}
}

// listed are the numbers in a kernel list such as "0-3,6".
func listed(list string) []int {
	var numbers []int
	for _, part := range strings.Split(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(last)
		}
		if err != nil || b-a > 1<<16 {
			continue
		}
		for n := a; n <= b; n++ {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
