package envscan

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
)

// pci lists the functions on all PCI buses. Their attributes are the kernel's
// copies: to read the config space of a function in D3 would wake it.
// Documentation/ABI/testing/sysfs-bus-pci.
func (s *scanner) pci() []PCI {
	const bus = "/sys/bus/pci/devices"
	names, err := s.root.Names(bus)
	s.gap("hw.pci", bus, err)
	slices.SortFunc(names, compareAddress)
	list := []PCI{}
	for _, name := range names {
		dir, fact := bus+"/"+name, "hw.pci[address="+name+"]"
		hex := func(field, attr string) string {
			return strings.TrimPrefix(s.text(fact+"."+field, dir+"/"+attr), "0x")
		}
		list = append(list, PCI{
			Address: name, Class: hex("class", "class"), Vendor: hex("vendor", "vendor"), Device: hex("device", "device"),
			SubVendor: hex("subVendor", "subsystem_vendor"), SubDevice: hex("subDevice", "subsystem_device"),
			Revision: hex("revision", "revision"), Driver: s.driver(fact+".driver", dir),
			IOMMU: s.linkName(fact+".iommu", dir+"/iommu_group"), Virtual: s.linkName(fact+".virtual", dir+"/physfn") != "",
		})
	}
	return list
}

// compareAddress orders by domain, whose numbers may be longer than others, and
// then by bus, device and function.
func compareAddress(a, b string) int {
	return cmp.Or(cmp.Compare(strings.Index(a, ":"), strings.Index(b, ":")), cmp.Compare(a, b))
}

// baseName is the last element of a path, or nothing of none.
func baseName(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Base(path)
}
