package netname

// Device is what udev looks at to name an interface.
type Device struct {
	Name string // in use
	// Path is where it is below /sys/devices:
	// pci0000:00/0000:00:03.0/virtio0/net/eth0.
	Path     string
	Type     int64  // ARPHRD_*, include/uapi/linux/if_arp.h
	DevType  string // DEVTYPE: wlan, wwan; empty: ethernet
	Stacked  bool   // it stands on another interface: a VLAN, a port of a switch chip
	Assign   int64  // addr_assign_type: 0 is permanent; -1: not told
	Address  string // MAC in use
	PortName string // phys_port_name
	Port     uint32 // dev_port
	PortID   uint32 // dev_id
	// OF is its place in the device tree, as aliases have it: /soc/ethernet@1.
	OF string
	// Nodes are the devices that it hangs on, nearest first.
	Nodes []Node
	// Aliases are the device tree's: ethernet0 -> /soc/ethernet@1.
	Aliases map[string]string
	// Slots are the hotplug slots of /sys/bus/pci/slots by name, each with the
	// address of its device without the function: 0000:01:00.
	Slots map[string]string
}

// Node is a device on the way from an interface to the root of /sys/devices.
type Node struct {
	Name      string // 0000:00:03.0, virtio0, 1-2:1.0
	Subsystem string // pci, virtio, usb, platform, ...; may be empty
	DevType   string // usb_interface, usb_device
	OF        string // place in the device tree
	PCI       *PCI   // of the subsystem pci
}

// PCI is what is read of a PCI function.
type PCI struct {
	Index         *uint32 // of the firmware: ACPI _DSM, else SMBIOS type 41
	Label         string  // of the firmware
	SUN           *uint32 // ACPI _SUN: slot user number
	FunctionID    string  // s390; empty elsewhere
	ARI           bool
	Multifunction bool
	Bridge        bool
	// VF: it is a virtual function.
	VF *VF
}

// VF ties a virtual function of SR-IOV to its physical one.
type VF struct {
	Number string // of the virtual function: digits
	Nodes  []Node // from the physical function on, as in Device
}

// Values of Device.Type, include/uapi/linux/if_arp.h.
const (
	arpEther      = 1
	arpInfiniband = 32
	arpSLIP       = 256
)
