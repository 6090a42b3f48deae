package like

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// buses are QEMU's for the transports that facts name.
var buses = map[string]string{"nvme": "nvme", "sata": "sata", "ata": "sata", "usb": "usb", "virtio": "virtio", "scsi": "scsi", "sas": "scsi", "mmc": "mmc"}

const (
	maxSerial = 20 // bytes, of QEMU's disks
	maxSATA   = 6  // ports of the board's controller
	// turning and still are speeds: QEMU tells the kernel no more than whether
	// a disk turns.
	turning, still = 7200, 1
)

// disks makes one of each, on a controller of its kind.
func (m *maker) disks(limit int64) {
	sata := 0
	for _, d := range m.facts.HW.Disk {
		fact := "hw.disk[name=" + d.Name + "]"
		bus, ok := buses[d.Transport]
		if !ok {
			bus = "virtio"
		}
		if bus == "sata" {
			if sata++; sata > maxSATA {
				bus = "scsi"
			}
		}
		if bus != d.Transport {
			m.differs(fact+".transport", d.Transport, bus, "QEMU's machine has none, or no more, of them")
		}
		v := vm.Disk{Path: d.Name, Format: "raw", Bus: bus, Serial: m.serial(fact, d, bus), ReadOnly: d.ReadOnly}
		m.sectors(fact, d, &v)
		m.identity(fact, d, &v)
		m.Config.Disks = append(m.Config.Disks, v)
		m.Disks = append(m.Disks, Disk{Name: d.Name, Size: m.size(fact, d, bus, int64(v.SectorSize), limit)})
	}
}

func (m *maker) serial(fact string, d envscan.Disk, bus string) string {
	switch {
	case bus == "mmc":
		if d.Serial != "" {
			m.differs(fact+".serial", d.Serial, "QEMU's own", "SD cards of QEMU are all alike")
		}
		return ""
	case len(d.Serial) > maxSerial:
		short := d.Serial[:maxSerial]
		m.differs(fact+".serial", d.Serial, short, fmt.Sprintf("QEMU's disks have %d bytes for it", maxSerial))
		return short
	}
	return d.Serial
}

// sectors sets logical and physical size, of which a board's SATA disks and
// cards have one of 512 bytes alone.
func (m *maker) sectors(fact string, d envscan.Disk, v *vm.Disk) {
	v.SectorSize = 512
	if d.SectorSize == 4096 && v.Bus != "sata" && v.Bus != "mmc" {
		v.SectorSize = 4096
	}
	if d.SectorSize != v.SectorSize {
		m.differs(fact+".sectorSize", d.SectorSize, v.SectorSize, "QEMU's "+v.Bus+" disks have no others")
	}
	if d.Physical == 4096 && v.SectorSize == 512 && v.Bus != "mmc" {
		v.Physical = 4096
	}
}

var (
	wwn   = lazyregexp.New(`^0x([0-9a-f]{16})$`)
	plain = lazyregexp.New(`^[ -~]*$`)
)

// identity sets what SATA and SCSI disks can say of themselves.
func (m *maker) identity(fact string, d envscan.Disk, v *vm.Disk) {
	if v.Bus != "sata" && v.Bus != "scsi" {
		if d.WWN != "" {
			m.differs(fact+".wwn", d.WWN, "QEMU's own or none", "QEMU's "+v.Bus+" disks have none to choose")
		}
		return
	}
	v.RPM = still
	if d.Rotational {
		v.RPM = turning
	}
	if w := wwn.FindStringSubmatch(d.WWN); w != nil {
		v.WWN = w[1]
	} else if d.WWN != "" {
		m.differs(fact+".wwn", d.WWN, "", "it is not of 64 bits")
	}
	limit := map[string]int{"sata": 40, "scsi": 16}[v.Bus] // ATA and SCSI INQUIRY have room for so much
	if len(d.Model) <= limit && plain.MatchString(d.Model) {
		v.Model = strings.TrimSpace(d.Model)
	} else {
		m.differs(fact+".model", d.Model, "QEMU HARDDISK", fmt.Sprintf("there is room for %d plain letters", limit))
	}
}

// size is that of the image: as in the original unless it is limited. A card's
// is a power of two.
func (m *maker) size(fact string, d envscan.Disk, bus string, sector, limit int64) int64 {
	size, why := d.Size, ""
	if limit > 0 && size > limit {
		size, why = limit, "scaled down"
	}
	if bus == "mmc" && size > 0 && bits.OnesCount64(uint64(size)) != 1 {
		size = 1 << (bits.Len64(uint64(size)) - 1)
		why = "cards of QEMU have a size that is a power of two"
	}
	if size = size / sector * sector; size != d.Size {
		if why == "" {
			why = "it is no whole number of sectors"
		}
		m.differs(fact+".size", d.Size, size, why)
	}
	return size
}
