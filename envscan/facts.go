// Package envscan finds out what a machine is: an fs.FS of /sys, /proc, /dev
// and /etc, plus netlink, to Facts.
//
// It only reads: no probe writes, opens a disk for writing, or wakes one up.
// What could not be read is in Scan.Gaps with the reason, never silently
// missing. The document is deterministic outside State.
package envscan

// Schema is the value of Facts.Schema.
const Schema = "vic.env/1"

// Facts is the document that `vic-env dump` prints. Absent means not probed;
// lists are ordered by kind, bus path and port, never by name or ifindex.
type Facts struct {
	Schema string `json:"schema"`
	Scan   Report `json:"scan"`
	HW     HW     `json:"hw"`
	OS     OS     `json:"os"`
	State  State  `json:"state"`
}

// Report says how the facts were found.
type Report struct {
	Gaps []Gap `json:"gaps"`
}

// Gap is something that could not be read.
type Gap struct {
	Path string `json:"path"` // what was tried
	Why  string `json:"why"`
	Need string `json:"need,omitempty"` // what would make it readable: "root"
}

// HW is the machine.
type HW struct {
	Arch     string   `json:"arch"`     // GOARCH: amd64, arm64
	Firmware Firmware `json:"firmware"` //
	Memory   Memory   `json:"memory"`
	CPU      CPU      `json:"cpu"`
	DMI      *DMI     `json:"dmi,omitempty"`
	Disk     []Disk   `json:"disk"`
	// Volume is what is made from the disks: arrays, logical volumes, opened
	// containers, loop devices, in the order of their names.
	Volume []Volume `json:"volume,omitempty"`
	NIC    []NIC    `json:"nic"`
}

// Firmware says how the machine boots.
type Firmware struct {
	Type       string `json:"type"`                 // "uefi", "bios", or "devicetree" (no UEFI on such a board)
	SecureBoot *bool  `json:"secureBoot,omitempty"` // UEFI only
	VarsWrite  *bool  `json:"varsWritable,omitempty"`
}

// Memory is physical memory.
type Memory struct {
	Total int64 `json:"total"` // bytes usable by the kernel
}

// CPU is the processor.
type CPU struct {
	Model string `json:"model,omitempty"`
	Count int    `json:"count"` // logical, online
}

// DMI is what the firmware says of the machine.
type DMI struct {
	Vendor  string `json:"vendor,omitempty"`
	Product string `json:"product,omitempty"`
	Serial  string `json:"serial,omitempty"`
	UUID    string `json:"uuid,omitempty"`
}

// Disk is a whole block device that can be installed onto: no loop, ram, zram,
// dm or md devices, no optical drives.
type Disk struct {
	Name       string `json:"name"`             // kernel name: sda, nvme0n1
	Path       string `json:"path"`             // where it is plugged in, as udev's ID_PATH: pci-0000:00:1f.2-ata-1
	Serial     string `json:"serial,omitempty"` // as udev's ID_SERIAL_SHORT
	WWN        string `json:"wwn,omitempty"`    // "0x5000...", "eui...."
	Model      string `json:"model,omitempty"`
	Size       int64  `json:"size"`           // bytes
	SectorSize int    `json:"sectorSize"`     // logical, bytes
	Physical   int    `json:"physicalSector"` // bytes
	Transport  string `json:"transport"`      // nvme, sata, usb, mmc, virtio, scsi, xen
	Rotational bool   `json:"rotational"`
	Removable  bool   `json:"removable"`
	ReadOnly   bool   `json:"readOnly"`
	TableGUID  string `json:"tableGUID,omitempty"` // of its GPT
	// InUse names what holds the disk or a partition of it: "/dev/sda1
	// mounted on /", "swap", "dm-0 (lvm)", "md0".
	InUse []string `json:"inUse,omitempty"`
	// Links are the names below /dev/disk, when udev made them.
	Links []string `json:"links,omitempty"`
	Contents
}

// NIC is a physical network interface.
type NIC struct {
	Name       string `json:"name"` // at the time of the scan
	Path       string `json:"path"` // bus path as udev's ID_PATH: pci-0000:00:03.0
	Driver     string `json:"driver,omitempty"`
	HWAddr     string `json:"hwaddr,omitempty"` // permanent MAC
	HWAddrFrom string `json:"hwaddrFrom"`       // permanent, assigned, random, none
	Wireless   bool   `json:"wireless"`
	Modalias   string `json:"modalias,omitempty"`
}

// OS is the running system.
type OS struct {
	Kernel    string `json:"kernel"` // uname -r
	ID        string `json:"id,omitempty"`
	VersionID string `json:"versionID,omitempty"`
	Hostname  string `json:"hostname,omitempty"`
	Container string `json:"container,omitempty"` // docker, lxc, ...; absent: none
	RAM       bool   `json:"ram"`                 // this is vic's RAM system
}

// State is what changes from run to run.
type State struct {
	MemoryAvailable int64           `json:"memoryAvailable"` // bytes
	Links           map[string]Link `json:"links"`           // by NIC name
}

// Link is a NIC's state.
type Link struct {
	Up        bool     `json:"up"`
	Carrier   bool     `json:"carrier"`
	Addresses []string `json:"addresses,omitempty"` // CIDR
}
