package envscan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// vmOther is a virtual machine of an unknown maker.
const vmOther = "vm-other"

// vm names what runs this machine, as systemd-detect-virt --vm does and in the
// same order: some who are known by their firmware before the processor, which
// only tells that they use KVM; then the processor; then the firmware of others.
func (s *scanner) vm() string {
	firmware := s.vmFromDMI()
	if slices.Contains([]string{"oracle", "xen", "amazon", "parallels", "google"}, firmware) {
		return firmware
	}
	info := s.cpuinfo("os.vm")
	if strings.HasPrefix(info.get("vendor_id"), "User Mode Linux") {
		return "uml"
	}
	xen := s.exists("/proc/xen")
	if xen && !s.dom0() {
		return "xen"
	}
	processor := s.vmFromCPU(info)
	if processor != "" && processor != vmOther && processor != "microsoft" {
		return processor
	}
	if xen { // the one that runs the others
		return processor
	}
	// QEMU signs as Microsoft where it acts as Hyper-V, so that is the last word.
	certain := func(name string) string {
		if name == vmOther {
			return ""
		}
		return name
	}
	kernel, tree := s.vmFromKernel(), s.vmFromTree()
	return cmp.Or(certain(firmware), certain(kernel), certain(tree), certain(processor), processor, firmware, kernel, tree)
}

// vmSigns are the names by what hypervisors sign with in CPUID.
var vmSigns = map[string]string{
	"XenVMMXenVMM": "xen", "KVMKVMKVM": "kvm", "Linux KVM Hv": "kvm", "TCGTCGTCGTCG": "qemu",
	"VMwareVMware": "vmware", "Microsoft Hv": "microsoft", "bhyve bhyve ": "bhyve", "QNXQVMBSQG": "qnx",
	"ACRNACRNACRN": "acrn", "SRESRESRESRE": "sre", "Apple VZ": "apple",
}

// vmFromCPU asks the processor. In a captured tree it is not there to be asked,
// but the clocks that the hypervisor offered are.
func (s *scanner) vmFromCPU(info cpuinfo) string {
	if s.live {
		signature, present := hypervisor()
		if !present {
			return ""
		}
		return cmp.Or(vmSigns[signature], vmOther)
	}
	if !slices.Contains(info.flags(), "hypervisor") {
		return ""
	}
	clocks := strings.Fields(s.text("os.vm", "/sys/devices/system/clocksource/clocksource0/available_clocksource"))
	for _, c := range [][2]string{{"kvm-clock", "kvm"}, {"xen", "xen"}, {"hyperv_clocksource_tsc_page", "microsoft"}, {"hyperv_clocksource_msr", "microsoft"}} {
		if slices.Contains(clocks, c[0]) {
			return c[1]
		}
	}
	return vmOther
}

// vmMakers are the beginnings of what firmware of virtual machines calls itself.
var vmMakers = [][2]string{
	{"KVM", "kvm"}, {"OpenStack", "kvm"}, {"KubeVirt", "kvm"}, {"Amazon EC2", "amazon"}, {"QEMU", "qemu"},
	{"VMware", "vmware"}, {"VMW", "vmware"}, {"innotek GmbH", "oracle"}, {"VirtualBox", "oracle"}, {"Oracle Corporation", "oracle"},
	{"Xen", "xen"}, {"Bochs", "bochs"}, {"Parallels", "parallels"}, {"BHYVE", "bhyve"}, {"Hyper-V", "microsoft"},
	{"Apple Virtualization", "apple"}, {"Google Compute Engine", "google"},
}

func (s *scanner) vmFromDMI() string {
	name := ""
	// The product first, to tell KVM from QEMU without it.
	for _, file := range []string{"product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"} {
		text := s.text("os.vm", dmiID+"/"+file)
		for _, m := range vmMakers {
			if name == "" && strings.HasPrefix(text, m[0]) {
				name = m[1]
			}
		}
	}
	if name != "" && name != "amazon" {
		return name
	}
	// The table is root's alone, and no gap: what it adds is little.
	virtual, known := s.firmwareIsVirtual()
	switch {
	case name == "amazon" && known && !virtual:
		return ""
	case name == "amazon" && !known:
		_, metal, is := strings.Cut(s.text("os.vm", dmiID+"/product_name"), ".metal")
		if is && (metal == "" || strings.HasPrefix(metal, "-")) {
			return ""
		}
	case name == "" && virtual:
		return vmOther
	}
	return name
}

// firmwareIsVirtual asks SMBIOS, where this user may.
func (s *scanner) firmwareIsVirtual() (virtual, known bool) {
	if _, err := s.root.ReadFile(smbiosTable); err != nil {
		return false, false
	}
	return s.smbios("os.vm").Firmware.Virtual, true
}

// dom0 is Xen's domain that runs the others (xen/include/public/features.h).
func (s *scanner) dom0() bool {
	if features, err := s.root.Text("sys/hypervisor/properties/features"); err == nil {
		bits, err := strconv.ParseUint(features, 16, 64)
		return err == nil && bits&(1<<11) != 0
	}
	capabilities := strings.Split(s.text("os.vm", "/proc/xen/capabilities"), ",")
	return slices.Contains(capabilities, "control_d")
}

func (s *scanner) vmFromKernel() string {
	switch s.text("os.vm", "/sys/hypervisor/type") {
	case "":
		return ""
	case "xen":
		return "xen"
	}
	return vmOther
}

// vmFromTree looks into the device tree.
func (s *scanner) vmFromTree() string {
	switch kind := s.text("os.vm", deviceTree+"/hypervisor/compatible"); {
	case kind == "linux,kvm":
		return "kvm"
	case strings.Contains(kind, "xen"):
		return "xen"
	case strings.Contains(kind, "vmware"):
		return "vmware"
	case kind != "":
		return vmOther
	}
	if s.exists(deviceTree+"/ibm,partition-name") && s.exists(deviceTree+"/hmc-managed?") && !s.exists(deviceTree+"/chosen/qemu,graphic-width") {
		return "powervm"
	}
	names, err := s.root.Names(deviceTree)
	s.gap("os.vm", deviceTree, err)
	if slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "fw-cfg") }) || s.text("os.vm", deviceTree+"/compatible") == "qemu,pseries" {
		return "qemu"
	}
	return ""
}
