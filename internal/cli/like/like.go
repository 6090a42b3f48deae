// Package like turns the facts of a machine into a virtual machine that looks
// like it to whoever asks for its network cards, disks, memory, processors and
// firmware. It is pure, and says what comes out different.
//
//	Facts --New--> Machine: vm.Config without what boots, Disks to make, Differences
//
// Of what QEMU has no likeness (graphics, batteries, sensors, a TPM), nothing is
// made and nothing said.
package like

import (
	"fmt"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// Options scale a machine down. What is 0 stays as it is.
type Options struct {
	MaxMemory int64 // bytes
	MaxCPUs   int
	MaxDisk   int64 // bytes, of each disk
	// IGB: this QEMU has the card igb, as those from version 8.0 on.
	IGB bool
}

// Machine is what New makes of facts.
type Machine struct {
	// Config has no kernel, and the paths of its disks are the names of Disks.
	Config vm.Config
	Disks  []Disk
	// Radios is how many wireless cards mac80211_hwsim has to make.
	Radios      int
	Differences []Difference
}

// Disk is a disk image to make, for the disk of the same number in Config.
type Disk struct {
	Name string // of the original: sda
	Size int64  // bytes
}

// Difference is something that is not as in the original.
type Difference struct {
	Fact string `json:"fact"` // path, as in the document
	Was  string `json:"was"`
	Is   string `json:"is"`
	Why  string `json:"why"`
}

func (d Difference) String() string {
	return fmt.Sprintf("%s is %s, not %s: %s", d.Fact, d.Is, d.Was, d.Why)
}

// maker collects the differences.
type maker struct {
	facts envscan.Facts
	igb   bool
	Machine
}

func (m *maker) differs(fact string, was, is any, why string) {
	m.Differences = append(m.Differences, Difference{Fact: fact, Was: text(was), Is: text(is), Why: why})
}

func text(v any) string {
	if s := fmt.Sprint(v); s != "" {
		return s
	}
	return "null"
}

// New is the machine that is like the facts. The error is for facts of machines
// that QEMU cannot be made into at all.
func New(f envscan.Facts, o Options) (Machine, error) {
	if f.HW.Arch != "amd64" && f.HW.Arch != "arm64" {
		return Machine{}, fmt.Errorf("hw.arch is %s: only amd64 and arm64 can be made", text(f.HW.Arch))
	}
	if f.HW.Memory.Total <= 0 || f.HW.CPU.Count <= 0 {
		return Machine{}, fmt.Errorf("hw.memory.total is %d and hw.cpu.count %d: these are no facts of a machine", f.HW.Memory.Total, f.HW.CPU.Count)
	}
	m := maker{facts: f, igb: o.IGB, Machine: Machine{Config: vm.Config{Name: "like", Arch: f.HW.Arch}}}
	m.firmware()
	m.memory(o.MaxMemory)
	m.processors(o.MaxCPUs)
	m.disks(o.MaxDisk)
	m.nics()
	return m.Machine, nil
}

func (m *maker) firmware() {
	was := m.facts.HW.Firmware.Type
	switch {
	case m.facts.HW.Arch == "arm64":
		m.Config.Firmware = "uefi"
	case was == "uefi" || was == "bios":
		m.Config.Firmware = was
	default:
		m.Config.Firmware = "bios"
	}
	if was != m.Config.Firmware {
		m.differs("hw.firmware.type", was, m.Config.Firmware, "QEMU has no other for "+m.facts.HW.Arch)
	}
	if s := m.facts.HW.Firmware.SecureBoot; s != nil && *s {
		m.differs("hw.firmware.secureBoot", true, false, "the virtual machine has no keys")
	}
}

// memoryStep is what memory comes in: the kernel and the firmware take a part of
// the last step, which is not in hw.memory.total.
const memoryStep = 128 << 20

func (m *maker) memory(limit int64) {
	var size int64
	for _, d := range m.facts.HW.Memory.DIMM {
		size += d.Size
	}
	total := m.facts.HW.Memory.Total
	if size < total || size > 2*total { // the firmware's list is not to be believed
		size = (total + memoryStep - 1) / memoryStep * memoryStep
	}
	if limit > 0 && size > limit {
		m.differs("hw.memory.total", size, limit, "scaled down")
		size = limit
	}
	m.Config.MemoryMiB = max(1, int(size>>20))
}

// maxProcessors is what QEMU's boards can have without an IOMMU.
const maxProcessors = 255

func (m *maker) processors(limit int) {
	count, why := m.facts.HW.CPU.Count, "scaled down"
	if limit == 0 || limit > maxProcessors {
		limit, why = maxProcessors, "the board has no more"
	}
	if count > limit {
		m.differs("hw.cpu.count", count, limit, why)
		count = limit
	}
	m.Config.CPUs = count
}
