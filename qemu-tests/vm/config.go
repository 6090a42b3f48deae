package vm

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// Config describes one machine.
type Config struct {
	Name string // shown in the process list and in errors; default "vm"
	Arch string // "amd64" (default) or "arm64" (QEMU's virt machine)

	MemoryMiB int // default 256
	CPUs      int // default 2; an emulated amd64 has one

	// Firmware is "bios" (SeaBIOS; default on amd64), "uefi" (EDK II;
	// default on arm64), or "none" (arm64 with Kernel only).
	Firmware string
	// Vars is the path of this machine's UEFI variable store. It is made from
	// the firmware's template when absent, and kept, so that the next machine
	// with the same path has the same boot entries. Empty: a throw-away copy.
	Vars string

	// Kernel, when set, is booted directly. Initrd files are handed over as
	// one, in order, each aligned to 4 bytes (buffer-format.rst). Cmdline is
	// used as it is: a console must be asked for.
	Kernel  string
	Initrd  []string
	Cmdline string
	// Board is RaspberryPi, or empty: the architecture's own machine. DeviceTree is
	// what the firmware of a board gives the kernel.
	Board      string `json:",omitempty"`
	DeviceTree string `json:",omitempty"`

	Disks []Disk
	NICs  []NIC // none: no network at all

	// Credentials are systemd credentials (name -> value), handed over as
	// SMBIOS type 11 strings, systemd.system-credentials(7). QEMU reads them
	// from files that are removed once it has: no value is in the process's
	// arguments or in Command.
	Credentials map[string]string

	// EasyToEmulate asks the guest for what saves time where the processor is
	// emulated. A systemd has programs start at the same addresses each time: with
	// random ones QEMU has to translate each program anew at each start, which
	// takes three times as long as to run it. The kernel does without the
	// work-arounds for mistakes of real processors: a twentieth.
	EasyToEmulate bool `json:",omitempty"`

	// Events adds the virtio-serial port event.Port.
	Events bool

	// Watchdog is what an expired i6300esb watchdog does: "reset",
	// "poweroff", "pause" or "none". Empty: the machine has none.
	Watchdog string
	// NoReboot ends the run where the guest reboots (ErrReset) or panics
	// (ErrPanic, also when the guest then hangs).
	NoReboot bool

	// Accel is "kvm" or "tcg"; empty means ProbeAccel's answer.
	Accel string
	// Dir is the run folder: console log, and while the machine runs its
	// temporary files. It is made if absent, and kept. Empty: a temporary
	// folder that Close removes.
	Dir string
	// Extra is appended to QEMU's arguments.
	Extra []string
}

// Disk is a disk of a machine.
type Disk struct {
	Path   string
	Format string // "raw" or "qcow2"; empty: detected
	Serial string // at most 20 bytes
	// SectorSize is the logical and physical sector size: 512 (default) or
	// 4096 bytes. SATA disks have 512.
	SectorSize int
	// Physical is the physical sector size where it is not SectorSize: 4096 for
	// a disk that only pretends to have sectors of 512 bytes.
	Physical int
	// Model and WWN (16 hexadecimal digits) are what a SATA or SCSI disk says of
	// itself; RPM is how fast it turns, 1 for one without moving parts.
	Model    string
	WWN      string
	RPM      int
	ReadOnly bool
	Snapshot bool // writes go to a temporary overlay and are lost
	// Bus is "virtio" (default), "nvme", "sata", "usb", "scsi", or "mmc": an SD
	// card, of 512-byte sectors, without a serial number of its own, and with a
	// size that is a power of two.
	Bus string
	// BootIndex is the place in the firmware's boot order, from 1. 0 leaves
	// the order to the firmware, which under UEFI is that of its BootOrder
	// variable: any index in a machine makes the firmware change BootOrder.
	BootIndex int
	// Cache says what happens to a write: "writeback" (default: the host's
	// page cache, and a guest's flush reaches the host's disk), "unsafe"
	// (quickest; flushes are ignored), "writethrough", or "none" (O_DIRECT).
	Cache string
	// LogWrites, when set, is a file that receives every write and flush in
	// the format of the kernel's dm-log-writes: see package logwrites. Virtio,
	// SATA and SCSI disks have one, with a write cache: their guests flush,
	// while QEMU does not log that a write was forced (FUA, NVMe).
	LogWrites string
	// FailWrites, when not 0, is how many writes succeed before all that
	// follow fail with FailErrno (default EIO; ENOSPC for a disk that has no
	// space left); reads go on. Virtio and SCSI disks report it to the guest.
	FailWrites int
	FailErrno  syscall.Errno
	// Hotplug puts a virtio or nvme disk behind its own PCIe port, without
	// which PullDisk is refused. SCSI and USB disks need nothing.
	Hotplug bool
}

// NIC is a network card; without a Cable, on its own user-mode network: 10.0.2.0/24
// for the first, 10.0.3.0/24 for the second, and so on, with DHCP, DNS and a router.
type NIC struct {
	MAC   string // default 52:54:00:76:69:00 plus the card's index
	Model string // default virtio-net-pci; usb-net is plugged into USB
	// Address is the place on the PCI bus: BUS:SLOT.FUNCTION in hexadecimal, such
	// as 3d:00.0. Buses other than 00 are behind root ports, and have slot 00
	// alone. Empty: QEMU chooses.
	Address string
	// Index and Label are what the firmware calls an onboard card (SMBIOS type
	// 41). Index 0: the firmware does not know it.
	Index int
	Label string
	// Forward lists guest TCP ports; each is reachable on a free port of the
	// host's loopback address, see Machine.Addr.
	Forward []int
	// Guest is the address that the ports lead to, for a guest that does not ask for
	// one by DHCP; empty: the first that DHCP gives.
	Guest string
	// Restrict cuts the guest off from the host and the world; forwarded
	// ports still work.
	Restrict bool
	// Cable, when set, is a stream socket that the card's frames go through, each
	// after its length in 4 bytes (big endian), in place of the user-mode network.
	// The machine takes it: it is closed here once QEMU has it, and on errors.
	Cable *os.File `json:"-"`
}

var diskBuses = map[string]bool{"virtio": true, "nvme": true, "sata": true, "usb": true, "scsi": true, "mmc": true}
var cacheModes = map[string]bool{"writeback": true, "unsafe": true, "writethrough": true, "none": true}
var watchdogActions = map[string]bool{"": true, "reset": true, "poweroff": true, "pause": true, "none": true}

var (
	wwnForm     = lazyregexp.New(`^[0-9a-f]{16}$`)
	addressForm = lazyregexp.New(`^[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$`)
)

// withDefaults fills in what was left out and makes paths absolute.
func (c Config) withDefaults() (Config, error) {
	def(&c.Name, "vm")
	def(&c.Arch, "amd64")
	defInt(&c.MemoryMiB, 256)
	defInt(&c.CPUs, 2)
	if c.Arch == "arm64" {
		def(&c.Firmware, "uefi")
	}
	def(&c.Firmware, "bios")
	c.Disks = append([]Disk(nil), c.Disks...)
	c.NICs = append([]NIC(nil), c.NICs...)
	c.Initrd = append([]string(nil), c.Initrd...)
	paths := []*string{&c.Vars, &c.Kernel, &c.DeviceTree, &c.Dir}
	for i := range c.Initrd {
		paths = append(paths, &c.Initrd[i])
	}
	for i := range c.Disks {
		d := &c.Disks[i]
		def(&d.Bus, "virtio")
		def(&d.Cache, "writeback")
		if d.FailErrno == 0 {
			d.FailErrno = syscall.EIO
		}
		defInt(&d.SectorSize, 512)
		paths = append(paths, &d.Path, &d.LogWrites)
	}
	for i := range c.NICs {
		def(&c.NICs[i].Model, "virtio-net-pci")
		def(&c.NICs[i].MAC, fmt.Sprintf("52:54:00:76:69:%02x", i))
	}
	for _, p := range paths {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return c, fmt.Errorf("resolve %s: %w", *p, err)
		}
		*p = abs
	}
	return c, c.validate()
}

func def(s *string, v string) {
	if *s == "" {
		*s = v
	}
}

func defInt(i *int, v int) {
	if *i == 0 {
		*i = v
	}
}

// validate checks a Config that has its defaults.
func (c Config) validate() error {
	switch {
	case c.Arch != "amd64" && c.Arch != "arm64":
		return fmt.Errorf("machine %s: arch %q is not amd64 or arm64", c.Name, c.Arch)
	case c.Firmware != "bios" && c.Firmware != "uefi" && c.Firmware != "none":
		return fmt.Errorf("machine %s: firmware %q is not bios, uefi or none", c.Name, c.Firmware)
	case c.Arch == "arm64" && c.Firmware == "bios":
		return fmt.Errorf("machine %s: arm64 has no BIOS", c.Name)
	case c.Firmware == "none" && (c.Arch != "arm64" || c.Kernel == ""):
		return fmt.Errorf("machine %s: firmware none needs arm64 and a kernel", c.Name)
	case c.Vars != "" && c.Firmware != "uefi":
		return fmt.Errorf("machine %s: a variable store needs firmware uefi, not %s", c.Name, c.Firmware)
	case (len(c.Credentials) > 0 || c.EasyToEmulate) && c.Firmware == "none":
		return fmt.Errorf("machine %s: credentials travel in SMBIOS tables, which need firmware", c.Name)
	case c.Kernel == "" && (len(c.Initrd) > 0 || c.Cmdline != ""):
		return fmt.Errorf("machine %s: initrd and command line need a kernel", c.Name)
	case c.MemoryMiB < 0 || c.CPUs < 0:
		return fmt.Errorf("machine %s: %d MiB of memory, %d CPUs", c.Name, c.MemoryMiB, c.CPUs)
	case c.Accel != "" && c.Accel != "kvm" && c.Accel != "tcg":
		return fmt.Errorf("machine %s: accelerator %q is not kvm or tcg", c.Name, c.Accel)
	case !watchdogActions[c.Watchdog]:
		return fmt.Errorf("machine %s: watchdog action %q is not reset, poweroff, pause or none", c.Name, c.Watchdog)
	}
	if err := c.fitsBoard(); err != nil {
		return fmt.Errorf("machine %s: %w", c.Name, err)
	}
	if err := validateCredentials(c.Credentials); err != nil {
		return fmt.Errorf("machine %s: %w", c.Name, err)
	}
	for _, d := range c.Disks {
		if err := d.validate(); err != nil {
			return fmt.Errorf("machine %s: disk %s: %w", c.Name, d.Path, err)
		}
	}
	taken := map[string]bool{}
	for i, n := range c.NICs {
		err := n.validate()
		if err == nil && taken[n.Address] && n.Address != "" {
			err = fmt.Errorf("another is at %s", n.Address)
		}
		if err != nil {
			return fmt.Errorf("machine %s: network card %d: %w", c.Name, i, err)
		}
		taken[n.Address] = true
	}
	return nil
}

func (d Disk) validate() error {
	switch {
	case d.Path == "":
		return fmt.Errorf("no path")
	case d.Format != "" && d.Format != "raw" && d.Format != "qcow2":
		return fmt.Errorf("format %q is not raw or qcow2", d.Format)
	case !diskBuses[d.Bus]:
		return fmt.Errorf("bus %q is not virtio, nvme, sata, usb, scsi or mmc", d.Bus)
	case !cacheModes[d.Cache]:
		return fmt.Errorf("cache %q is not writeback, unsafe, writethrough or none", d.Cache)
	case d.SectorSize != 512 && d.SectorSize != 4096:
		return fmt.Errorf("sector size %d is not 512 or 4096", d.SectorSize)
	case d.SectorSize != 512 && d.Bus == "sata":
		return fmt.Errorf("QEMU's SATA disks have 512-byte sectors, not %d", d.SectorSize)
	case d.SectorSize != 512 && d.Bus == "mmc":
		return fmt.Errorf("SD cards have 512-byte sectors, not %d", d.SectorSize)
	case (d.Model != "" || d.WWN != "" || d.RPM != 0) && d.Bus != "sata" && d.Bus != "scsi":
		return fmt.Errorf("QEMU's %s disks have no model, WWN and speed to choose", d.Bus)
	case d.WWN != "" && !wwnForm.MatchString(d.WWN):
		return fmt.Errorf("WWN %q is not 16 hexadecimal digits", d.WWN)
	case d.LogWrites != "" && (d.Bus == "nvme" || d.Bus == "usb" || d.Cache == "writethrough"):
		return fmt.Errorf("the log of writes would lack flushes on %s with cache %s", d.Bus, d.Cache)
	case d.FailWrites < 0 || d.FailWrites > maxFailWrites:
		return fmt.Errorf("writes can fail after 1 to %d, not %d", maxFailWrites, d.FailWrites)
	case d.FailWrites > 0 && d.Bus != "virtio" && d.Bus != "scsi":
		return fmt.Errorf("writes can fail on virtio and scsi, not %s", d.Bus)
	case len(d.Serial) > 20:
		return fmt.Errorf("serial %q has %d bytes, 20 fit", d.Serial, len(d.Serial))
	case d.BootIndex < 0:
		return fmt.Errorf("boot index %d", d.BootIndex)
	case d.Hotplug && d.Bus != "virtio" && d.Bus != "nvme":
		return fmt.Errorf("hotplug ports are for virtio and nvme, not %s", d.Bus)
	}
	return nil
}

func (n NIC) validate() error {
	if hw, err := net.ParseMAC(n.MAC); err != nil || len(hw) != 6 {
		return fmt.Errorf("hardware address %q is not six bytes", n.MAC)
	}
	switch {
	case n.Address != "" && !addressForm.MatchString(n.Address):
		return fmt.Errorf("PCI address %q is not of the form 3d:00.0", n.Address)
	case n.Address > "01" && n.Address[3:5] != "00":
		return fmt.Errorf("PCI address %s: behind a root port there is slot 00 alone", n.Address)
	case n.Model == "usb-net" && n.Address != "":
		return fmt.Errorf("one on USB has no PCI address")
	case n.Index != 0 && n.Address == "":
		return fmt.Errorf("onboard index %d needs a PCI address", n.Index)
	case n.Index < 0 || n.Index > 255:
		return fmt.Errorf("onboard index %d is not 0 to 255", n.Index)
	case n.Label != "" && n.Index == 0:
		return fmt.Errorf("label %q needs an onboard index", n.Label)
	}
	if n.Cable != nil && (n.Restrict || len(n.Forward) > 0) {
		return fmt.Errorf("ports are forwarded, and guests cut off, by the user-mode network, which one with a cable has not")
	}
	if _, err := netip.ParseAddr(n.Guest); n.Guest != "" && err != nil {
		return fmt.Errorf("guest %q is no address: %w", n.Guest, err)
	}
	for _, p := range n.Forward {
		if p < 1 || p > 65535 {
			return fmt.Errorf("port %d cannot be forwarded", p)
		}
	}
	return nil
}

// validateCredentials checks what would otherwise be lost on the way: SMBIOS
// numbers strings with one byte, and systemd takes names that are file names.
func validateCredentials(creds map[string]string) error {
	if len(creds) > 255 {
		return fmt.Errorf("%d credentials, SMBIOS holds 255", len(creds))
	}
	for name := range creds {
		if name == "" || len(name) > 255 || strings.ContainsAny(name, "/:=\x00") || name == "." || name == ".." {
			return fmt.Errorf("credential name %q is not a file name without : and =", name)
		}
	}
	return nil
}
