package raspberry

import (
	"slices"
	"strings"
)

// Board is a board that a card starts on, with the files that its boot ROM or
// EEPROM, and then the firmware, read from the slot: see "Boot folder contents" and
// "bootflow" of the Raspberry Pi documentation.
type Board struct {
	ID   string // as the option board has it
	Name string
	// Firmware are files of the package raspi-firmware. A Pi 5 has its own in an
	// EEPROM; a Pi 4 has the first stage there.
	Firmware []string
	// DeviceTree is the name that the firmware looks for with upstream_kernel=1.
	DeviceTree string
	// Console is the UART of the pins 8 and 10, or of a connector of its own, as
	// the kernel's console= has it.
	Console string
	// Lacks is what Debian 13's kernel has no driver for; empty: nothing that an
	// appliance needs.
	Lacks string
}

var (
	// bcm2837 boards have their first stage on the card.
	bcm2837 = []string{"bootcode.bin", "start.elf", "fixup.dat", "start_cd.elf", "fixup_cd.dat"}
	bcm2711 = []string{"start4.elf", "fixup4.dat", "start4cd.elf", "fixup4cd.dat"}
)

// uart is the serial port of the pins of all boards but the Pi 5.
const uart = "ttyS1,115200"

// Find is the board with an ID.
func Find(id string) (Board, bool) {
	for _, b := range Boards() {
		if b.ID == id {
			return b, true
		}
	}
	return Board{}, false
}

// Boards are all that a card is for.
func Boards() []Board {
	return []Board{
		{ID: "pi3", Name: "Raspberry Pi 3 Model B", Firmware: bcm2837, DeviceTree: "bcm2837-rpi-3-b.dtb", Console: uart},
		{ID: "pi3-plus", Name: "Raspberry Pi 3 Model B+", Firmware: bcm2837, DeviceTree: "bcm2837-rpi-3-b-plus.dtb", Console: uart},
		{ID: "pi3a-plus", Name: "Raspberry Pi 3 Model A+", Firmware: bcm2837, DeviceTree: "bcm2837-rpi-3-a-plus.dtb", Console: uart},
		{ID: "zero2w", Name: "Raspberry Pi Zero 2 W", Firmware: bcm2837, DeviceTree: "bcm2837-rpi-zero-2-w.dtb", Console: uart},
		{ID: "pi4", Name: "Raspberry Pi 4 Model B", Firmware: bcm2711, DeviceTree: "bcm2711-rpi-4-b.dtb", Console: uart},
		{ID: "pi400", Name: "Raspberry Pi 400", Firmware: bcm2711, DeviceTree: "bcm2711-rpi-400.dtb", Console: uart},
		{ID: "cm4", Name: "Compute Module 4", Firmware: bcm2711, DeviceTree: "bcm2711-rpi-cm4-io.dtb", Console: uart},
		{ID: "pi5", Name: "Raspberry Pi 5", DeviceTree: "bcm2712-rpi-5-b.dtb", Console: "ttyAMA10,115200", Lacks: "SD card, Ethernet, USB"},
	}
}

// extras are the firmware that lines of config.txt ask for, by their beginning.
var extras = map[string][]string{
	"start_x=1":     {"start_x.elf", "fixup_x.dat", "start4x.elf", "fixup4x.dat"},
	"start_debug=1": {"start_db.elf", "fixup_db.dat", "start4db.elf", "fixup4db.dat"},
}

// firmwareFiles are the files of raspi-firmware for all boards. The first stage is
// the first file of the slot.
func firmwareFiles(config []string) []string {
	var names []string
	for _, b := range Boards() {
		names = append(names, b.Firmware...)
	}
	for _, line := range config {
		names = append(names, extras[strings.ReplaceAll(line, " ", "")]...)
	}
	var unique []string
	for _, n := range names {
		if !slices.Contains(unique, n) {
			unique = append(unique, n)
		}
	}
	return unique
}
