package envscan

// HW is the machine.
type HW struct {
	Arch     string     `json:"arch"`     // by Go's names: amd64, arm64
	Firmware Firmware   `json:"firmware"` // how the machine boots
	TPM      *TPM       `json:"tpm"`      // its trusted platform module; null: none
	CPU      CPU        `json:"cpu"`      // its processors; all are of one kind
	Memory   Memory     `json:"memory"`   // its physical memory
	DMI      *DMI       `json:"dmi"`      // what the firmware says that it is; null: nothing
	Disk     []Disk     `json:"disk"`     // whole disks that can be installed onto, by bus path
	Volume   []Volume   `json:"volume"`   // what is made from disks: arrays, logical volumes, opened containers, loop devices, by name
	NIC      []NIC      `json:"nic"`      // physical network interfaces: what is made from them is in net.links
	PCI      []PCI      `json:"pci"`      // by address
	USB      []USB      `json:"usb"`      // by controller, bus and port
	GPU      []GPU      `json:"gpu"`      // by bus path
	Display  []Display  `json:"display"`  // connectors with something connected, by GPU and name
	Battery  []Battery  `json:"battery"`  // those that run the machine, by name
	Sensor   []Sensor   `json:"sensor"`   // what measures; readings are in state.sensors
	Console  []Console  `json:"console"`  // serial ports
	Watchdog []Watchdog `json:"watchdog"` // timers that reset the machine, by name
	// Modalias are the modaliases of all devices, sorted: what a kernel's
	// modules.alias is asked for.
	Modalias []string `json:"modalias"`
	// Module are the kernel modules that the running kernel's tree has for them,
	// sorted, with what they depend on left out. Absent without such a tree.
	Module []string `json:"module"`
}

// Firmware says how the machine boots.
type Firmware struct {
	Type       string `json:"type"`         // "uefi", "bios", or "devicetree" (no UEFI on such a board)
	Vendor     string `json:"vendor"`       // who wrote it
	Version    string `json:"version"`      // as its vendor writes it
	Date       string `json:"date"`         // as SMBIOS has it: month/day/year
	Bits       *int64 `json:"bits"`         // of UEFI: 64, or 32 on some small machines
	SecureBoot *bool  `json:"secureBoot"`   // UEFI only: only signed programs start
	SetupMode  *bool  `json:"setupMode"`    // UEFI only: keys may be enrolled
	VarsWrite  *bool  `json:"varsWritable"` // UEFI only: variables can be set
	// Boot is what UEFI tries, in its order; entries that are not in the order
	// are last, by number.
	Boot []BootEntry `json:"boot"`
	// BootCurrent is the entry that this boot came from, BootNext the one that
	// the next will: four hexadecimal digits.
	BootCurrent string `json:"bootCurrent"`
	BootNext    string `json:"bootNext"`
}

// BootEntry is a load option of UEFI.
type BootEntry struct {
	Number string `json:"number"`                     // four hexadecimal digits, as in Boot0001
	Label  string `json:"label"`                      // what a boot menu shows
	Active bool   `json:"active"`                     // it is tried
	Listed bool   `json:"listed"`                     // it is in BootOrder
	Path   string `json:"path" privacy:"identifying"` // device path as text, as efibootmgr prints it
}

// TPM is a trusted platform module.
type TPM struct {
	Version string `json:"version"` // "1.2", "2.0"
	Driver  string `json:"driver"`  // kernel driver: tpm_tis, tpm_crb
}

// CPU is the processor.
type CPU struct {
	Vendor    string   `json:"vendor"`    // GenuineIntel, AuthenticAMD, ARM, ...
	Model     string   `json:"model"`     // as the processor calls itself
	Family    *int64   `json:"family"`    // x86
	ModelID   *int64   `json:"modelID"`   // x86
	Stepping  *int64   `json:"stepping"`  // x86
	Microcode string   `json:"microcode"` // revision: 0x...
	Count     int      `json:"count"`     // logical processors, online
	Sockets   int      `json:"sockets"`   // packages on the board
	Cores     int      `json:"cores"`     // in all sockets
	Threads   int      `json:"threads"`   // of a core
	Flags     []string `json:"flags"`     // sorted
	// Level is the highest x86-64 microarchitecture level: 1 to 4; null
	// elsewhere.
	Level *int64 `json:"level"`
	// Virtualization is what runs virtual machines with the hardware's help.
	Virtualization Virtualization `json:"virtualization"`
}

// Virtualization says whether /dev/kvm is usable, in three steps of doubt.
type Virtualization struct {
	Extension string `json:"extension"` // vmx, svm; null: none, or not of this architecture
	Present   bool   `json:"present"`   // /dev/kvm is there
	Openable  *bool  `json:"openable"`  // by the user who scans
	// Works: a virtual machine of two instructions has run to its end, within a
	// second. Some hosts have a /dev/kvm whose guests hang or crash.
	Works *bool `json:"works"`
}

// Memory is physical memory.
type Memory struct {
	Total int64  `json:"total" unit:"bytes"` // usable by the kernel
	DIMM  []DIMM `json:"dimm"`               // modules that are plugged in, as SMBIOS lists them
}

// DIMM is a memory module.
type DIMM struct {
	Slot         string `json:"slot"`                         // as printed on the board
	Bank         string `json:"bank"`                         // as the firmware calls it: P0_Node0_Channel0_Dimm0
	Size         int64  `json:"size" unit:"bytes"`            // of the module
	Type         string `json:"type"`                         // DDR4, DDR5, ...
	Speed        int64  `json:"speed" unit:"MT/s"`            // it can; 0: unknown
	Configured   int64  `json:"configured" unit:"MT/s"`       // it runs at; 0: unknown
	Manufacturer string `json:"manufacturer"`                 // who made it
	Part         string `json:"part"`                         // part number
	Serial       string `json:"serial" privacy:"identifying"` // serial number of the module
}

// DMI is what the firmware says of the machine: SMBIOS, or the device tree.
type DMI struct {
	Vendor       string `json:"vendor"`                            // who made the machine
	Product      string `json:"product"`                           // its name
	Version      string `json:"version"`                           // of the product
	Family       string `json:"family"`                            // product line
	SKU          string `json:"sku"`                               // number that it is sold under
	Serial       string `json:"serial" privacy:"identifying"`      // serial number of the machine
	UUID         string `json:"uuid" privacy:"identifying"`        // of the machine, lower case
	BoardVendor  string `json:"boardVendor"`                       // who made the board
	Board        string `json:"board"`                             // name of the board
	BoardVersion string `json:"boardVersion"`                      // revision of the board
	BoardSerial  string `json:"boardSerial" privacy:"identifying"` // serial number of the board
	AssetTag     string `json:"assetTag" privacy:"identifying"`    // what its owner calls it
	Chassis      string `json:"chassis"`                           // desktop, laptop, server, vm, ...: as systemd-hostnamed
	// Compatible are the strings of a device tree, most particular first.
	Compatible []string `json:"compatible"`
}

// Disk is a whole block device that can be installed onto: no loop, ram, zram,
// dm or md devices, no optical drives.
type Disk struct {
	Name       string `json:"name"`                            // kernel name: sda, nvme0n1
	Path       string `json:"path"`                            // where it is plugged in, as udev's ID_PATH: pci-0000:00:1f.2-ata-1
	Serial     string `json:"serial" privacy:"identifying"`    // as udev's ID_SERIAL_SHORT
	WWN        string `json:"wwn" privacy:"identifying"`       // "0x5000...", "eui...."
	Model      string `json:"model"`                           // as the disk calls itself
	Firmware   string `json:"firmware"`                        // revision of the disk's own
	Size       int64  `json:"size" unit:"bytes"`               // of the whole disk
	SectorSize int    `json:"sectorSize" unit:"bytes"`         // logical
	Physical   int    `json:"physicalSector" unit:"bytes"`     // sector that it writes at once
	Transport  string `json:"transport"`                       // nvme, sata, usb, mmc, virtio, scsi, xen
	Rotational bool   `json:"rotational"`                      // it spins
	Removable  bool   `json:"removable"`                       // the medium can be taken out
	ReadOnly   bool   `json:"readOnly"`                        // the kernel writes nothing to it
	TableGUID  string `json:"tableGUID" privacy:"identifying"` // of its GPT
	// SMART is the disk's own verdict; null: it gives none, as virtual ones and
	// sticks do.
	SMART *SMART `json:"smart"`
	// InUse names what holds the disk or a partition of it: "/dev/sda1
	// mounted on /", "swap", "dm-0 (lvm)", "md0".
	InUse []string `json:"inUse" privacy:"identifying"`
	// Links are the names below /dev/disk, when udev made them.
	Links []string `json:"links" privacy:"identifying"`
	Contents
}

// SMART is what a disk says of its own health. Its counters are in state.disk.
type SMART struct {
	Protocol string `json:"protocol"` // "ata", "nvme", "scsi", "mmc"
	// Verdict is "ok", "warning" (it counts errors, is worn, or too hot) or
	// "failing" (it says so itself).
	Verdict string `json:"verdict"`
	// Reasons are for people: "media errors: 12".
	Reasons []string `json:"reasons"`
}

// NIC is a physical network interface.
type NIC struct {
	Name       string `json:"name"`                          // at the time of the scan
	NameFrom   string `json:"nameFrom"`                      // who chose it: enumerated, predictable (both the kernel), user, renamed
	Kind       string `json:"kind"`                          // ethernet, infiniband, wlan, wwan
	Path       string `json:"path"`                          // bus path as udev's ID_PATH: pci-0000:00:03.0
	Port       int64  `json:"port"`                          // of several on one device, from 0: dev_port
	Driver     string `json:"driver"`                        // kernel driver: virtio_net
	HWAddr     string `json:"hwaddr" privacy:"identifying"`  // permanent MAC; null: it has none of its own
	HWAddrFrom string `json:"hwaddrFrom"`                    // permanent, assigned, random, none
	Current    string `json:"current" privacy:"identifying"` // MAC in use, which a bond may have set
	Wireless   bool   `json:"wireless"`                      // it is a wireless card
	Modalias   string `json:"modalias"`                      // what its driver is found by
	// Module are the kernel modules for it, by the running kernel's tree.
	Module []string `json:"module"`
	// Index and Label are the firmware's (ACPI _DSM, SMBIOS type 41).
	Index *int64 `json:"index"`
	Label string `json:"label"`
	// MaxSpeed is the highest that the port can.
	MaxSpeed *int64 `json:"maxSpeed" unit:"Mb/s"`
	// Names are those that udev could give it, oldest scheme first; each holds
	// until the next. Schemes that name it as the one before are left out.
	Names []Names `json:"names"`
	// Wiphy is what the radio of a wireless card can.
	Wiphy *Wiphy `json:"wiphy"`
}

// Names are the candidates of one naming scheme (systemd.net-naming-scheme(7)).
// What the scheme cannot give is null.
type Names struct {
	Scheme  string `json:"scheme"`                    // from this one on: "v238"
	Onboard string `json:"onboard"`                   // ID_NET_NAME_ONBOARD: eno1
	Slot    string `json:"slot"`                      // ID_NET_NAME_SLOT: ens3
	Path    string `json:"path"`                      // ID_NET_NAME_PATH: enp0s3
	MAC     string `json:"mac" privacy:"identifying"` // ID_NET_NAME_MAC: enx525400123456
}

// Wiphy is a radio.
type Wiphy struct {
	Name  string   `json:"name"`  // phy0
	Modes []string `json:"modes"` // sorted: ap, managed, monitor, ...
	Bands []string `json:"bands"` // sorted: 2.4GHz, 5GHz, 6GHz, 60GHz
}

// PCI is a function of a PCI device.
type PCI struct {
	Address   string   `json:"address"`   // 0000:00:1f.2
	Class     string   `json:"class"`     // six hexadecimal digits: class, subclass, interface
	Vendor    string   `json:"vendor"`    // four hexadecimal digits
	Device    string   `json:"device"`    // ID of the device: four hexadecimal digits
	SubVendor string   `json:"subVendor"` // ID of the card's vendor: four hexadecimal digits
	SubDevice string   `json:"subDevice"` // ID of the card: four hexadecimal digits
	Revision  string   `json:"revision"`  // two hexadecimal digits
	Driver    string   `json:"driver"`    // in use
	Module    []string `json:"module"`    // for it, by the running kernel's tree
	IOMMU     string   `json:"iommu"`     // group
	Virtual   bool     `json:"virtual"`   // a virtual function (SR-IOV)
}

// USB is a USB device; hubs are some too.
type USB struct {
	// Port is the number of the bus, which depends on the order in which the
	// kernel found them, and those of the ports: 1-4.2; usb1 is the hub in the
	// controller.
	Port string `json:"port"`
	// Path is where it is plugged in whatever the bus's number, as udev's
	// ID_PATH: pci-0000:00:14.0-usb-0:4.2
	Path    string   `json:"path"`
	Vendor  string   `json:"vendor"`                       // four hexadecimal digits
	Product string   `json:"product"`                      // ID of the product: four hexadecimal digits
	Name    string   `json:"name"`                         // as the device calls itself
	Maker   string   `json:"maker"`                        // who made it, as the device says
	Serial  string   `json:"serial" privacy:"identifying"` // serial number of the device
	Class   string   `json:"class"`                        // two hexadecimal digits; 00: each interface has its own
	Speed   float64  `json:"speed" unit:"Mb/s"`            // 1.5, 12, 480, 5000, ...
	Driver  []string `json:"driver"`                       // of its interfaces, sorted
}

// GPU is a graphics device.
type GPU struct {
	Path   string `json:"path"`   // bus path as udev's ID_PATH
	Driver string `json:"driver"` // kernel driver: i915
	Boot   bool   `json:"boot"`   // the firmware's screen is on it
	Card   string `json:"card"`   // /dev/dri name: card0
}

// Display is a screen.
type Display struct {
	Connector string `json:"connector"`                    // HDMI-A-1
	GPU       string `json:"gpu"`                          // bus path of its GPU
	Maker     string `json:"maker"`                        // three letters, from the EDID
	Model     string `json:"model"`                        // as the screen calls itself
	Serial    string `json:"serial" privacy:"identifying"` // serial number of the screen
	Mode      string `json:"mode"`                         // preferred: 1920x1080
	// Modes are all sizes that the kernel would give it, the preferred one first.
	Modes  []string `json:"modes"`
	Width  int64    `json:"width" unit:"mm"`  // of the picture; 0: unknown
	Height int64    `json:"height" unit:"mm"` // of the picture; 0: unknown
}

// Battery is one that runs the machine (not a mouse's).
type Battery struct {
	Name       string `json:"name"`                         // kernel name: BAT0
	Maker      string `json:"maker"`                        // who made it
	Model      string `json:"model"`                        // as the battery calls itself
	Serial     string `json:"serial" privacy:"identifying"` // serial number of the battery
	Technology string `json:"technology"`                   // Li-ion, Li-poly, ...
	Design     *int64 `json:"design" unit:"mWh"`            // held when it was new
	Full       *int64 `json:"full" unit:"mWh"`              // holds today
	Cycles     *int64 `json:"cycles"`                       // times it was charged
}

// Sensor is an input of hwmon.
type Sensor struct {
	ID    string `json:"id"`    // "DEVICE PATH/NAME/INPUT", which does not change with the order of probing
	Chip  string `json:"chip"`  // coretemp
	Kind  string `json:"kind"`  // temp, fan, in, curr, power, energy, humidity
	Label string `json:"label"` // what it measures, as the driver or board says: Core 0
	Unit  string `json:"unit"`  // °C, rpm, V, A, W, J, %
}

// Console is a serial port with hardware behind it.
type Console struct {
	Name   string `json:"name"`   // ttyS0, ttyAMA0
	Path   string `json:"path"`   // place below /sys/devices
	Driver string `json:"driver"` // serial8250, pl011
	// Kernel: the kernel's messages go there.
	Kernel bool `json:"kernel"`
}

// Watchdog is a timer that resets the machine.
type Watchdog struct {
	Name     string `json:"name"`             // watchdog0
	Identity string `json:"identity"`         // as the driver calls it
	Timeout  int64  `json:"timeout" unit:"s"` // it waits before it resets the machine
	NoWayOut bool   `json:"noWayOut"`         // once started it cannot be stopped
}
