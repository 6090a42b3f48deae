package vm

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/event"
)

// setup is a Config for which everything has been decided that depends on
// this machine. Its args method is pure.
type setup struct {
	Config
	qemu     string   // path of the emulator
	accel    string   // "kvm" or "tcg"
	code     string   // UEFI code image
	vars     string   // UEFI variable store
	template string   // what the store is made from
	initrd   string   // the one initrd file
	disks    []image  // what to open for each of Config.Disks
	backing  []image  // what lies under it where that is an overlay
	creds    []string // files of SMBIOS strings
	onboard  []string // files of SMBIOS structures
}

// image is a disk image as it is opened.
type image struct{ path, format string }

// backends are the host's ends of a machine's ports, as values of -chardev, and
// the descriptors of the network cards' cables.
type backends struct {
	console, monitor, events string
	cables                   map[int]int // by card
}

// opts joins option words: the first as it is, then keys with their values,
// whose commas are doubled as QEMU wants them. Empty values are left out.
func opts(first string, kv ...string) string {
	var b strings.Builder
	b.WriteString(first)
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i+1] != "" {
			fmt.Fprintf(&b, ",%s=%s", kv[i], strings.ReplaceAll(kv[i+1], ",", ",,"))
		}
	}
	return b.String()
}

// args are QEMU's arguments for the ports given.
func (s setup) args(b backends) []string {
	if s.Board != "" {
		return s.boardArgs(b)
	}
	a := []string{
		"-name", opts("guest="+strings.ReplaceAll(s.Name, ",", ",,"), "debug-threads", "on"),
		"-nodefaults", "-no-user-config", "-display", "none",
		"-m", strconv.Itoa(s.MemoryMiB),
		"-smp", strconv.Itoa(s.CPUs),
	}
	a = append(a, s.machineArgs()...)
	a = append(a, s.bootArgs()...)
	a = append(a, "-chardev", b.console, "-serial", "chardev:console")
	if b.monitor != "" {
		a = append(a, "-chardev", b.monitor, "-mon", "chardev=monitor,mode=control", "-S")
	} else {
		a = append(a, "-mon", "chardev=console,mode=readline")
	}
	a = append(a, s.nicsOn("00", rootBus, b.cables)...) // before QEMU puts others in their place
	a = append(a, "-device", "virtio-rng-pci")
	if b.events != "" {
		a = append(a, "-device", "virtio-serial-pci", "-chardev", b.events,
			"-device", opts("virtserialport", "chardev", "events", "name", event.Port))
	}
	a = append(a, s.controllerArgs()...)
	for i := range s.Disks {
		a = append(a, s.diskArgs(i)...)
	}
	for i, n := range s.NICs {
		if n.Address == "" {
			a = append(a, s.nicArgs(i, n, "", b.cables)...)
		}
	}
	if s.NoReboot {
		a = append(a, "-action", "reboot=shutdown")
	}
	if s.Watchdog != "" {
		a = append(a, "-device", "i6300esb", "-action", "watchdog="+s.Watchdog)
	}
	a = append(a, s.onboardArgs()...)
	a = append(a, s.bridgedNICArgs(b.cables)...) // last: what has no bus would come onto these
	if v := s.smbiosStrings(); v != "" {
		a = append(a, "-smbios", "type=11"+v)
	}
	return append(a, s.Extra...)
}

// smbiosStrings are what the guest's systemd reads.
func (s setup) smbiosStrings() (v string) {
	if s.EasyToEmulate && s.accel == "tcg" {
		for _, text := range easyToEmulate {
			v = opts(v, "value", text)
		}
	}
	for _, f := range s.creds {
		v = opts(v, "path", f)
	}
	return v
}

// machineArgs choose board, processor and firmware.
func (s setup) machineArgs() []string {
	machine, accel, cpu := "q35,vmport=off", s.accel, "max"
	if s.Arch == "arm64" {
		machine = "virt"
	}
	if s.Arch == "amd64" && s.Firmware == "bios" {
		machine += ",graphics=off" // SeaBIOS and GRUB show themselves on the serial port
	}
	switch {
	case s.accel == "kvm":
		cpu = "host"
	case s.Arch == "amd64":
		// QEMU 7.2 emulates cmpxchg16b wrongly: its flags come out as
		// garbage, and one Linux boot in five died of it, of a hundred
		// measured. QEMU 10 has it right; without the feature Linux uses
		// other instructions. And it emulates wide vectors so slowly that
		// SHA-256 takes twice as long with AVX as without. It copies one byte at a
		// time where a processor with fast string instructions is told to copy:
		// without them Linux copies in words, and a payload is copied in a quarter less.
		accel, cpu = "tcg,thread=multi", "max,-cx16,-avx,-avx2,-erms,-fsrm"
	default:
		accel = "tcg,thread=multi"
	}
	a := []string{"-machine", machine, "-accel", accel, "-cpu", cpu}
	if s.Firmware == "uefi" {
		a = append(a,
			"-drive", opts("if=pflash,unit=0,format=raw,readonly=on", "file", s.code),
			"-drive", opts("if=pflash,unit=1,format=raw", "file", s.vars))
	}
	return a
}

func (s setup) bootArgs() []string {
	if s.Kernel == "" {
		return nil
	}
	a := []string{"-kernel", s.Kernel}
	if s.initrd != "" {
		a = append(a, "-initrd", s.initrd)
	}
	line := s.Cmdline
	if s.EasyToEmulate && s.accel == "tcg" {
		line = strings.TrimSpace(line + " " + noWorkArounds)
	}
	if line != "" {
		a = append(a, "-append", line)
	}
	return a
}
