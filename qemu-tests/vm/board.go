package vm

import (
	"fmt"
	"strconv"
	"strings"
)

// RaspberryPi is the Config.Board of QEMU's Raspberry Pi 3 B. Its firmware is not
// emulated: the machine is given a kernel and the device tree. It has 1 GiB, four
// processors, one SD card (Bus "mmc"), and network cards on USB; its console is the
// UART of the pins, ttyS1 for Linux.
const RaspberryPi = "raspi3b"

// fitsBoard refuses what a board does not have.
func (c Config) fitsBoard() error {
	switch {
	case c.Board == "":
		return nil
	case c.Board != RaspberryPi:
		return fmt.Errorf("board %q is not %s", c.Board, RaspberryPi)
	case c.Arch != "arm64" || c.Firmware != "none":
		return fmt.Errorf("board %s is for arm64 with firmware none", c.Board)
	case c.Kernel == "" || c.DeviceTree == "":
		return fmt.Errorf("board %s needs a kernel and a device tree", c.Board)
	case len(c.Disks) > 1 || len(c.Disks) == 1 && (c.Disks[0].Bus != "mmc" || c.Disks[0].LogWrites != "" || c.Disks[0].FailWrites > 0 || c.Disks[0].ReadOnly):
		return fmt.Errorf("board %s has one disk, a plain one of bus mmc", c.Board)
	case c.Events || c.Watchdog != "" || len(c.Credentials) > 0 || c.EasyToEmulate:
		return fmt.Errorf("board %s has no PCI and no SMBIOS tables", c.Board)
	}
	for i, n := range c.NICs {
		if n.Model != "usb-net" {
			return fmt.Errorf("network card %d: board %s has cards of model usb-net, not %s", i, c.Board, n.Model)
		}
	}
	return nil
}

// boardArgs are QEMU's arguments for a board. The SD card is the board's own device:
// it takes a drive, not a block node.
func (s setup) boardArgs(b backends) []string {
	a := []string{
		"-name", opts("guest="+strings.ReplaceAll(s.Name, ",", ",,"), "debug-threads", "on"),
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", s.Board, "-accel", "tcg,thread=multi", "-m", "1G", "-smp", "4", "-dtb", s.DeviceTree,
	}
	a = append(a, s.bootArgs()...)
	// The first UART is Bluetooth's.
	a = append(a, "-chardev", b.console, "-serial", "null", "-serial", "chardev:console")
	if b.monitor != "" {
		a = append(a, "-chardev", b.monitor, "-mon", "chardev=monitor,mode=control", "-S")
	} else {
		a = append(a, "-mon", "chardev=console,mode=readline")
	}
	for i, d := range s.Disks {
		a = append(a, "-drive", opts("if=sd", "id", "disk"+strconv.Itoa(i), "format", s.disks[i].format, "cache", d.Cache, "file", s.disks[i].path))
	}
	for i, n := range s.NICs {
		a = append(a, s.nicArgs(i, n, "", b.cables)...)
	}
	if s.NoReboot {
		a = append(a, "-action", "reboot=shutdown")
	}
	return append(a, s.Extra...)
}
