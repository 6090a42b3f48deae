package envscan

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// thread adds the topology of a processor.
func (tr tree) thread(n, socket, siblings string) {
	dir := "sys/devices/system/cpu/cpu" + n + "/topology/"
	tr[dir+"physical_package_id"], tr[dir+"thread_siblings_list"] = socket+"\n", siblings+"\n"
}

func TestCPU(t *testing.T) {
	four, family, model, stepping := int64(1), int64(25), int64(97), int64(2)
	amd := tree{
		"proc/cpuinfo":                  "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 97\nmodel name\t: AMD Example 8\nstepping\t: 2\nmicrocode\t: 0xa601206\nflags\t\t: svm fpu lm cmov cx8 fxsr mmx syscall sse sse2 fpu\nbugs\t\t: x\n\nprocessor\t: 1\nvendor_id\t: never read\n",
		"sys/devices/system/cpu/online": "0-2,4\n", "dev/kvm": "",
	}
	amd.thread("0", "0", "0,4")
	amd.thread("4", "0", "0,4")
	amd.thread("1", "0", "1")
	amd.thread("2", "1", "2")
	rock := tree{
		"proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd aes\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x2\nCPU part\t: 0xd05\n\n" +
			"processor\t: 1\nFeatures\t: fp asimd aes\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n\nprocessor\t: 2\nCPU implementer\t: 0x41\nCPU part\t: 0xfff\n\nRevision\t: c03112\nSerial\t\t: 0\n",
		"sys/devices/system/cpu/online": "0\n",
	}
	rock.thread("0", "-1", "0")
	for name, tt := range map[string]struct {
		tree    tree
		want    CPU
		missing []string
	}{
		"amd": {amd, CPU{
			Vendor: "AuthenticAMD", Model: "AMD Example 8", Family: &family, ModelID: &model, Stepping: &stepping, Microcode: "0xa601206",
			Count: 4, Sockets: 2, Cores: 3, Threads: 2, Level: &four, Flags: []string{"cmov", "cx8", "fpu", "fxsr", "lm", "mmx", "sse", "sse2", "svm", "syscall"},
			Virtualization: Virtualization{Extension: "svm", Present: true},
		}, nil},
		"big and little": {rock, CPU{Vendor: "ARM", Model: "Cortex-A55 + Cortex-A76 + 0xfff", Count: 1, Sockets: 1, Cores: 1, Threads: 1, Flags: []string{"aes", "asimd", "fp"}}, nil},
		"unknown maker": {tree{"proc/cpuinfo": "CPU implementer\t: 0x99\nCPU part\t: 0x1\n"}, CPU{Vendor: "0x99", Model: "0x1", Flags: []string{}},
			[]string{"hw.cpu.cores", "hw.cpu.count", "hw.cpu.sockets", "hw.cpu.threads"}},
		"no topology": {tree{"sys/devices/system/cpu/online": "0-3\n"}, CPU{Count: 4, Flags: []string{}}, []string{"hw.cpu.cores", "hw.cpu.sockets", "hw.cpu.threads"}},
	} {
		s := captured(t, tt.tree)
		if diff := cmp.Diff(tt.want, s.cpu()) + cmp.Diff(tt.missing, s.missing()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestListed(t *testing.T) {
	for list, want := range map[string][]int{"0-2,4": {0, 1, 2, 4}, "7": {7}, "": nil, "x": nil, "3-1": nil, "0-99999999": nil} {
		if diff := cmp.Diff(want, listed(list)); diff != "" {
			t.Errorf("%s: %s", list, diff)
		}
	}
}

func TestLevel(t *testing.T) {
	var flags []string
	for want, more := range levels {
		if want > 0 {
			if got := level(slices.Sorted(slices.Values(flags))); got == nil || *got != int64(want) {
				t.Errorf("with the flags of level %d: %v", want, got)
			}
		}
		flags = append(flags, more...)
		if got := level(slices.Sorted(slices.Values(flags[1:]))); got != nil {
			t.Errorf("without %s: %d", flags[0], *got)
		}
	}
	if got := level(slices.Sorted(slices.Values(flags))); got == nil || *got != 4 {
		t.Errorf("with all: %v", got)
	}
	if got := level(nil); got != nil {
		t.Errorf("with none: %d", *got)
	}
}
