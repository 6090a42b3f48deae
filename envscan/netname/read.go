package netname

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/lazyregexp"
)

// Read reads what Of needs of an interface. Attributes that are not there are
// as in udev: not part of the name. An interface without a place in /sys/devices
// is an error.
func Read(root sysfs.Root, name string) (Device, error) {
	devPath, err := root.DevPath("sys/class/net", name)
	if err != nil {
		return Device{}, fmt.Errorf("read network interface %s: %w", name, err)
	}
	r := reader{root}
	d := Device{Name: name, Path: devPath, Assign: -1}
	dir := path.Join("sys/devices", devPath)
	if d.Type, err = root.Number(dir, "type"); err != nil {
		return d, fmt.Errorf("read network interface %s: %w", name, err)
	}
	if n, err := root.Number(dir, "addr_assign_type"); err == nil {
		d.Assign = n
	}
	link, err1 := root.Number(dir, "iflink")
	index, err2 := root.Number(dir, "ifindex")
	d.Stacked = err1 == nil && err2 == nil && link != index
	d.DevType = r.devType(dir)
	d.Address, d.PortName = r.text(dir, "address"), r.line(dir, "phys_port_name")
	d.Port, d.PortID = r.number(dir, "dev_port"), r.number(dir, "dev_id")
	d.OF = r.ofNode(dir)
	if d.Nodes, err = r.nodes(path.Dir(devPath), true); err != nil {
		return d, fmt.Errorf("read network interface %s: %w", name, err)
	}
	if d.Slots, err = r.slots(); err != nil {
		return d, fmt.Errorf("read PCI slots: %w", err)
	}
	if d.Aliases, err = r.aliases(); err != nil {
		return d, fmt.Errorf("read device tree aliases: %w", err)
	}
	return d, nil
}

type reader struct{ root sysfs.Root }

// text is an attribute, or empty.
func (r reader) text(elem ...string) string {
	s, err := r.root.Text(elem...)
	if err != nil {
		return ""
	}
	return s
}

// line is an attribute of which only the end of the line is cut off.
func (r reader) line(elem ...string) string {
	b, err := r.root.ReadFile(elem...)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(b), "\r\n")
}

func (r reader) number(elem ...string) uint32 {
	n, _ := unsigned(r.text(elem...), 32)
	return uint32(n)
}

// optional is a number that may be missing.
func (r reader) optional(elem ...string) *uint32 {
	n, ok := unsigned(r.text(elem...), 32)
	if !ok {
		return nil
	}
	v := uint32(n)
	return &v
}

func (r reader) exists(elem ...string) bool {
	_, err := r.root.Stat(elem...)
	return err == nil
}

// devType is DEVTYPE of the device's uevent.
func (r reader) devType(dir string) string {
	for line := range strings.Lines(r.text(dir, "uevent")) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVTYPE="); ok {
			return v
		}
	}
	return ""
}

// ofNode is where of_node points to in the device tree: /soc/ethernet@1.
func (r reader) ofNode(dir string) string {
	target, err := r.root.Readlink(dir, "of_node")
	if err != nil {
		return ""
	}
	// A link that climbs is one of /sys, whatever the root is.
	at := target
	if !path.IsAbs(target) {
		at = path.Join("/", dir, target)
	}
	_, node, ok := strings.Cut(at, "/firmware/devicetree/base/")
	if !ok {
		return ""
	}
	return "/" + node
}

// nodes are the devices from a place below /sys/devices up. Folders that only
// group, such as net, have no uevent.
func (r reader) nodes(devPath string, vf bool) ([]Node, error) {
	var list []Node
	for p := devPath; p != "." && p != "/"; p = path.Dir(p) {
		dir := path.Join("sys/devices", p)
		if !r.exists(dir, "uevent") {
			continue
		}
		n := Node{Name: path.Base(p), DevType: r.devType(dir), OF: r.ofNode(dir)}
		if target, err := r.root.Readlink(dir, "subsystem"); err == nil {
			n.Subsystem = filepath.Base(target)
		}
		if n.Subsystem == "pci" {
			var err error
			if n.PCI, err = r.pci(dir, p, vf); err != nil {
				return nil, err
			}
		}
		list = append(list, n)
	}
	return list, nil
}

// headerType is where in the configuration space bit 7 says that there are
// several functions (PCI Local Bus 3.0 §6.2.1).
const headerType = 0x0e

// pci reads a function. vf: also, if it is a virtual one, its physical one.
func (r reader) pci(dir, devPath string, vf bool) (*PCI, error) {
	p := &PCI{Label: r.line(dir, "label"), FunctionID: r.text(dir, "function_id")}
	if p.Index = r.optional(dir, "acpi_index"); p.Index == nil {
		p.Index = r.optional(dir, "index")
	}
	p.SUN = r.optional(dir, "firmware_node/sun")
	p.ARI = r.text(dir, "ari_enabled") == "1"
	p.Bridge = isBridge(r.text(dir, "modalias"))
	var err error
	if p.Multifunction, err = r.multifunction(dir); err != nil {
		return nil, fmt.Errorf("read PCI configuration space: %w", err)
	}
	if vf {
		p.VF, err = r.virtual(dir, devPath)
	}
	return p, err
}

// multifunction reads no more of the configuration space than anybody may: some
// devices do not bear to be asked for all of it.
func (r reader) multifunction(dir string) (bool, error) {
	f, err := os.Open(r.root.Path(dir, "config"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	var header [headerType + 1]byte
	if _, err := io.ReadFull(f, header[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return header[headerType]&0x80 != 0, nil
}

var virtfn = lazyregexp.New(`^virtfn([0-9]+)$`)

// virtual finds the physical function of a virtual one, and which of its
// virtual ones it is.
func (r reader) virtual(dir, devPath string) (*VF, error) {
	physical, err := r.root.DevPath(dir, "physfn")
	if err != nil {
		return nil, nil // it is no virtual function
	}
	physDir := path.Join("sys/devices", physical)
	names, err := r.root.Names(physDir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		m := virtfn.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if at, err := r.root.DevPath(physDir, name); err == nil && at == devPath {
			nodes, err := r.nodes(physical, false)
			return &VF{Number: m[1], Nodes: nodes}, err
		}
	}
	return nil, nil
}

// isBridge looks in a modalias for subclass 04, as udev does, whatever the class.
func isBridge(modalias string) bool {
	i := strings.LastIndex(modalias, "s")
	return strings.HasPrefix(modalias, "pci:") && i >= 0 && strings.HasPrefix(modalias[i:], "sc04")
}

// slots are nil where the kernel has no PCI slots at all.
func (r reader) slots() (map[string]string, error) {
	const dir = "sys/bus/pci/slots"
	if !r.exists(dir) {
		return nil, nil
	}
	names, err := r.root.Names(dir)
	if err != nil {
		return nil, err
	}
	slots := map[string]string{}
	for _, name := range names {
		slots[name] = r.text(dir, name, "address")
	}
	return slots, nil
}

func (r reader) aliases() (map[string]string, error) {
	const dir = "sys/firmware/devicetree/base/aliases"
	names, err := r.root.Names(dir)
	if err != nil {
		return nil, err
	}
	aliases := map[string]string{}
	for _, name := range names {
		if strings.HasPrefix(name, "ethernet") {
			aliases[name] = r.text(dir, name)
		}
	}
	return aliases, nil
}

// Kind is what an interface is for: ethernet, infiniband, wlan or wwan; empty:
// something else, such as CAN.
func (d Device) Kind() string {
	switch {
	case d.DevType == "wlan" || d.DevType == "wwan":
		return d.DevType
	case d.Type == arpEther:
		return "ethernet"
	case d.Type == arpInfiniband:
		return "infiniband"
	}
	return ""
}

// Firmware is the index and label that the firmware gives the device that the
// interface is on; nil and empty: none.
func (d Device) Firmware() (index *int64, label string) {
	nodes := skipVirtio(d.Nodes)
	if len(nodes) == 0 || nodes[0].PCI == nil {
		return nil, ""
	}
	if i := nodes[0].PCI.Index; i != nil {
		v := int64(*i)
		index = &v
	}
	return index, nodes[0].PCI.Label
}
