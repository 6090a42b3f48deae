package envscan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// arm names the processors of ARM, which tell who made the design and a number
// of its own (Arm ARM, MIDR_EL1). Machines with several kinds have them in the
// order of their processors, joined by " + ".
func (i cpuinfo) arm() (vendor, model string) {
	var models []string
	for _, block := range i {
		implementer, part := hexNumber(block["CPU implementer"]), hexNumber(block["CPU part"])
		if implementer < 0 {
			continue // the board's
		}
		m := armMakers()[implementer]
		vendor = cmp.Or(vendor, m.name, block["CPU implementer"])
		name := cmp.Or(m.parts[part], block["CPU part"])
		if !slices.Contains(models, name) {
			models = append(models, name)
		}
	}
	return vendor, strings.Join(models, " + ")
}

// hexNumber reads a number with 0x; -1 is none.
func hexNumber(s string) int64 {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return -1
	}
	return n
}

// armMaker is who designs processors, and their names by part number.
type armMaker struct {
	name  string
	parts map[int64]string
}

// armMakers are by implementer: arch/arm64/include/asm/cputype.h, and the
// makers' manuals.
var armMakers = sync.OnceValue(func() map[int64]armMaker {
	return map[int64]armMaker{
		0x41: {"ARM", map[int64]string{
			0xb76: "ARM1176", 0xc05: "Cortex-A5", 0xc07: "Cortex-A7", 0xc08: "Cortex-A8", 0xc09: "Cortex-A9",
			0xc0d: "Cortex-A12", 0xc0e: "Cortex-A17", 0xc0f: "Cortex-A15",
			0xd01: "Cortex-A32", 0xd02: "Cortex-A34", 0xd03: "Cortex-A53", 0xd04: "Cortex-A35", 0xd05: "Cortex-A55",
			0xd06: "Cortex-A65", 0xd07: "Cortex-A57", 0xd08: "Cortex-A72", 0xd09: "Cortex-A73", 0xd0a: "Cortex-A75",
			0xd0b: "Cortex-A76", 0xd0c: "Neoverse-N1", 0xd0d: "Cortex-A77", 0xd0e: "Cortex-A76AE", 0xd0f: "AEMv8",
			0xd40: "Neoverse-V1", 0xd41: "Cortex-A78", 0xd42: "Cortex-A78AE", 0xd43: "Cortex-A65AE", 0xd44: "Cortex-X1",
			0xd46: "Cortex-A510", 0xd47: "Cortex-A710", 0xd48: "Cortex-X2", 0xd49: "Neoverse-N2", 0xd4a: "Neoverse-E1",
			0xd4b: "Cortex-A78C", 0xd4c: "Cortex-X1C", 0xd4d: "Cortex-A715", 0xd4e: "Cortex-X3", 0xd4f: "Neoverse-V2",
			0xd80: "Cortex-A520", 0xd81: "Cortex-A720", 0xd82: "Cortex-X4", 0xd83: "Neoverse-V3AE", 0xd84: "Neoverse-V3",
			0xd85: "Cortex-X925", 0xd87: "Cortex-A725", 0xd8e: "Neoverse-N3",
		}},
		0x42: {"Broadcom", map[int64]string{0x0f: "Brahma-B15", 0x100: "Brahma-B53", 0x516: "ThunderX2"}},
		0x43: {"Cavium", map[int64]string{0x0a0: "ThunderX", 0x0a1: "ThunderX-88XX", 0x0a2: "ThunderX-81XX", 0x0a3: "ThunderX-83XX", 0x0af: "ThunderX2-99xx", 0x0b8: "ThunderX3-T110"}},
		0x46: {"Fujitsu", map[int64]string{0x001: "A64FX", 0x003: "MONAKA"}},
		0x48: {"HiSilicon", map[int64]string{0xd01: "TaiShan-v110", 0xd02: "TaiShan-v120", 0xd40: "Cortex-A76", 0xd41: "Cortex-A77"}},
		0x4e: {"NVIDIA", map[int64]string{0x000: "Denver", 0x003: "Denver 2", 0x004: "Carmel", 0x010: "Olympus"}},
		0x50: {"APM", map[int64]string{0x000: "X-Gene"}},
		0x51: {"Qualcomm", map[int64]string{
			0x06f: "Krait", 0x201: "Kryo", 0x205: "Kryo", 0x211: "Kryo", 0x800: "Falkor-V1/Kryo", 0x801: "Kryo-V2",
			0x802: "Kryo-3XX-Gold", 0x803: "Kryo-3XX-Silver", 0x804: "Kryo-4XX-Gold", 0x805: "Kryo-4XX-Silver", 0xc00: "Falkor", 0xc01: "Saphira", 0x001: "Oryon",
		}},
		0x53: {"Samsung", map[int64]string{0x001: "exynos-m1", 0x002: "exynos-m3", 0x003: "exynos-m4", 0x004: "exynos-m5"}},
		0x56: {"Marvell", map[int64]string{0x131: "Feroceon-88FR131", 0x581: "PJ4/PJ4b", 0x584: "PJ4B-MP"}},
		0x61: {"Apple", map[int64]string{
			0x022: "Icestorm-M1", 0x023: "Firestorm-M1", 0x024: "Icestorm-M1-Pro", 0x025: "Firestorm-M1-Pro", 0x028: "Icestorm-M1-Max", 0x029: "Firestorm-M1-Max",
			0x032: "Blizzard-M2", 0x033: "Avalanche-M2", 0x034: "Blizzard-M2-Pro", 0x035: "Avalanche-M2-Pro", 0x038: "Blizzard-M2-Max", 0x039: "Avalanche-M2-Max",
		}},
		0x6d: {"Microsoft", map[int64]string{0xd49: "Azure-Cobalt-100"}},
		0xc0: {"Ampere", map[int64]string{0xac3: "Ampere-1", 0xac4: "Ampere-1a"}},
	}
})
