package envscan

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/disk/sysfs"
)

// captured is a scanner of a tree.
func captured(t *testing.T, tr tree) *scanner {
	t.Helper()
	return &scanner{root: sysfs.Root(tr.write(t)), privileged: true}
}

// facts are the paths of a scanner's gaps.
func (s *scanner) missing() (facts []string) {
	for _, g := range s.sortedGaps() {
		facts = append(facts, g.Fact)
	}
	return facts
}

func TestArch(t *testing.T) {
	const x86, old, v8, v7 = "flags\t\t: fpu lm sse2\n", "flags\t\t: fpu sse2\n", "Features\t: fp asimd\nCPU architecture: 8\n", "CPU architecture: 7\n"
	for _, tt := range []struct{ kernel, cpuinfo, want string }{
		{"x86_64", x86, "amd64"},
		{"i686", x86, "amd64"}, // a kernel of 32 bits on a processor of 64
		{"i686", old, "386"},
		{"aarch64", v8, "arm64"},
		{"armv7l", v8, "arm64"}, // a Raspberry Pi 3 with its old system
		{"armv7l", v7, "arm"},
		{"riscv64", "isa\t: rv64imafdc_zicsr\n", "riscv64"},
		{"", x86, "amd64"},
		{"", v8, "arm64"},
		{"", "", ""},
		{"sparc64", "", "sparc64"},
	} {
		tr := tree{"proc/cpuinfo": tt.cpuinfo}
		if tt.kernel != "" {
			tr["proc/sys/kernel/arch"] = tt.kernel + "\n"
		}
		s := captured(t, tr)
		if got := s.arch(); got != tt.want || (tt.want == "") != (len(s.gaps) == 1) {
			t.Errorf("%+v: %s %+v", tt, got, s.gaps)
		}
	}
}

func TestDMI(t *testing.T) {
	thinkpad := tree{}
	for file, text := range map[string]string{
		"sys_vendor": "Maker", "product_name": "20XX", "product_version": "Laptop 9", "product_family": "Laptops", "product_sku": "SKU9",
		"product_serial": "EXAMPLE1", "product_uuid": "5D0F3C6E-6C0B-4C65-9D31-6B3F1C2A7E10", "board_vendor": "Boards", "board_name": "B1",
		"board_version": "r2", "board_serial": "EXAMPLE2", "chassis_asset_tag": "No Asset", "chassis_type": "10",
	} {
		thinkpad["sys/class/dmi/id/"+file] = text + "\n"
	}
	table, err := os.ReadFile("testdata/qemu.dmi")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		tree tree
		want *DMI
	}{
		"none": {tree{}, nil},
		"laptop": {thinkpad, &DMI{
			Vendor: "Maker", Product: "20XX", Version: "Laptop 9", Family: "Laptops", SKU: "SKU9", Serial: "EXAMPLE1",
			UUID: "5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10", BoardVendor: "Boards", Board: "B1", BoardVersion: "r2", BoardSerial: "EXAMPLE2",
			AssetTag: "No Asset", Chassis: "laptop",
		}},
		"board": {tree{
			"sys/firmware/devicetree/base/model":         "Raspberry Pi 4 Model B Rev 1.4\x00",
			"sys/firmware/devicetree/base/serial-number": "10000000deadbeef\x00",
			"sys/firmware/devicetree/base/compatible":    "raspberrypi,4-model-b\x00brcm,bcm2711\x00",
			"sys/firmware/devicetree/base/chassis-type":  "embedded\x00",
		}, &DMI{
			Vendor: "raspberrypi", Product: "Raspberry Pi 4 Model B Rev 1.4", Serial: "10000000deadbeef", Chassis: "embedded",
			Compatible: []string{"raspberrypi,4-model-b", "brcm,bcm2711"},
		}},
		"without the kernel's reading": {tree{"sys/firmware/dmi/tables/DMI": string(table)}, &DMI{
			Vendor: "QEMU", Product: "Standard PC (Q35 + ICH9, 2009)", Version: "pc-q35-7.2", Serial: "EXAMPLE3",
			UUID: "6e3c0f5d-0b6c-4c65-9d31-6b3f1c2a7e10", BoardVendor: "Board Maker", Board: "Board", BoardVersion: "pc-q35-7.2", BoardSerial: "EXAMPLE4", AssetTag: "Asset 7", Chassis: "vm",
		}},
		"by its power profile": {tree{"sys/class/dmi/id/sys_vendor": "Maker\n", "sys/class/dmi/id/chassis_type": "1\n", "sys/firmware/acpi/pm_profile": "4\n"},
			&DMI{Vendor: "Maker", Chassis: "server"}},
	} {
		s := captured(t, tt.tree)
		if diff := cmp.Diff(tt.want, s.dmi()); diff != "" || len(s.gaps) > 0 {
			t.Errorf("%s: %s %+v", name, diff, s.gaps)
		}
	}
}

func TestTPM(t *testing.T) {
	driver := tree{"sys/class/tpm/tpm0": "-> ../../devices/x/tpm/tpm0", "sys/devices/x/tpm/tpm0/device": "-> ../..", "sys/devices/x/driver": "-> ../../bus/acpi/drivers/tpm_tis"}
	for version, attrs := range map[string]tree{
		"2.0": {"sys/devices/x/tpm/tpm0/tpm_version_major": "2\n"},
		"1.2": {"sys/devices/x/caps": "Manufacturer: 0x49465800\nTCG version: 1.2\nFirmware version: 6.40\n"},
		"":    {},
	} {
		for path, text := range driver {
			attrs[path] = text
		}
		attrs["sys/class/tpmrm/tpmrm0"] = ""
		s := captured(t, attrs)
		if diff := cmp.Diff(&TPM{Version: version, Driver: "tpm_tis"}, s.tpm()); diff != "" {
			t.Error(diff)
		}
	}
	if got := captured(t, tree{}).tpm(); got != nil {
		t.Errorf("%+v", got)
	}
}

const (
	efiGlobal = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	efiLoader = "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
)

// efiTree has variables in hexadecimal.
func efiTree(t *testing.T, mount string, variables map[string]string) tree {
	t.Helper()
	tr := tree{"sys/firmware/efi/fw_platform_size": "64\n", "proc/self/mountinfo": "26 25 0:20 / /sys/firmware/efi/efivars " + mount + " - efivarfs efivarfs rw\n"}
	for name, value := range variables {
		b, err := hex.DecodeString(strings.ReplaceAll(value, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		tr["sys/firmware/efi/efivars/"+name] = "\x06\x00\x00\x00" + string(b)
	}
	return tr
}

// bootOption starts a file on no particular disk.
func bootOption(active, label string) string {
	wide := func(s string) string {
		return hex.EncodeToString([]byte(strings.Join(strings.Split(s+"\x00", ""), "\x00") + "\x00"))
	}
	return active + "000000 0e00" + wide(label) + "04040a00" + wide("\\a") + "7fff0400"
}

func TestFirmware(t *testing.T) {
	yes, no, bits := true, false, int64(64)
	tr := efiTree(t, "rw,nosuid", map[string]string{
		"SecureBoot" + efiGlobal: "01", "SetupMode" + efiGlobal: "00",
		"BootCurrent" + efiGlobal: "0200", "BootNext" + efiGlobal: "0a00", "BootOrder" + efiGlobal: "0200 ff00 0000 0200",
		"Boot0000" + efiGlobal: bootOption("01", "First"), "Boot0002" + efiGlobal: bootOption("00", "Third"),
		"Boot000A" + efiGlobal: bootOption("01", "Not listed"), "Boot0003" + efiGlobal: "00",
		"BootOptionSupport" + efiGlobal: "00000000", "Boot0004-00000000-0000-0000-0000-000000000000": "00",
	})
	tr["sys/class/dmi/id/bios_vendor"], tr["sys/class/dmi/id/bios_version"], tr["sys/class/dmi/id/bios_date"] = "Maker\n", "1.2\n", "04/01/2025\n"
	s := captured(t, tr)
	want := Firmware{
		Type: "uefi", Vendor: "Maker", Version: "1.2", Date: "04/01/2025", Bits: &bits, SecureBoot: &yes, SetupMode: &no, VarsWrite: &yes,
		BootCurrent: "0002", BootNext: "000A",
		Boot: []BootEntry{
			{"0002", "Third", false, true, `\a`}, {"0000", "First", true, true, `\a`},
			{Number: "0003"}, {"000A", "Not listed", true, false, `\a`},
		},
	}
	if diff := cmp.Diff(want, s.firmware()); diff != "" {
		t.Error(diff)
	}
	if got := s.missing(); cmp.Diff(got, []string{"hw.firmware.boot[number=0003]"}) != "" {
		t.Error(got)
	}
}

// TestFirmwareElsewhere: machines that have less than all.
func TestFirmwareElsewhere(t *testing.T) {
	no, bits := false, int64(64)
	fields := func(names ...string) (list []string) {
		for _, n := range names {
			list = append(list, "hw.firmware."+n)
		}
		return list
	}
	hidden := []string{"boot", "bootCurrent", "bootNext", "secureBoot", "setupMode", "varsWritable"}
	readOnly := efiTree(t, "ro,nosuid", map[string]string{"x" + efiGlobal: "00"})
	unmounted := efiTree(t, "rw", nil)
	unmounted["proc/self/mountinfo"] = ""
	for name, tt := range map[string]struct {
		tree    tree
		want    Firmware
		missing []string
	}{
		"bios":                {tree{"sys/firmware/acpi/x": ""}, Firmware{Type: "bios"}, nil},
		"board":               {tree{"sys/firmware/devicetree/base/model": "x"}, Firmware{Type: "devicetree"}, nil},
		"read only":           {readOnly, Firmware{Type: "uefi", Bits: &bits, VarsWrite: &no}, nil},
		"not mounted":         {unmounted, Firmware{Type: "uefi", Bits: &bits}, fields(hidden...)},
		"hidden by container": {tree{"sys/firmware/x": ""}, Firmware{}, fields("bits", "boot", "bootCurrent", "bootNext", "secureBoot", "setupMode", "type", "varsWritable")},
	} {
		s := captured(t, tt.tree)
		if name == "hidden by container" {
			if err := os.Remove(s.root.Path("sys/firmware/x")); err != nil {
				t.Fatal(err)
			}
		}
		if name == "not mounted" {
			if err := os.Mkdir(s.root.Path("sys/firmware/efi/efivars"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		tt.want.Boot = []BootEntry{}
		if diff := cmp.Diff(tt.want, s.firmware()) + cmp.Diff(tt.missing, s.missing()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestLoader(t *testing.T) {
	s := captured(t, efiTree(t, "rw", map[string]string{"LoaderInfo" + efiLoader: "7300 7900 7300 7400 6500 6d00 6400 2d00 6200 6f00 6f00 7400 2000 3200 3500 3700 0000"}))
	if got := s.loader(); got != "systemd-boot 257" || len(s.gaps) > 0 {
		t.Errorf("%q %+v", got, s.gaps)
	}
	if got := captured(t, tree{}).loader(); got != "" {
		t.Errorf("%q", got)
	}
}

func TestDIMMs(t *testing.T) {
	table, err := os.ReadFile("testdata/qemu.dmi")
	if err != nil {
		t.Fatal(err)
	}
	s := captured(t, tree{"sys/firmware/dmi/tables/DMI": string(table)})
	want := []DIMM{{Slot: "A1 0", Bank: "BANK 0", Size: 512 << 20, Type: "RAM", Speed: 3200, Configured: 3200, Manufacturer: "Memory Maker", Part: "PART-1", Serial: "EXAMPLE5"}}
	if diff := cmp.Diff(want, s.dimms()); diff != "" || len(s.gaps) > 0 {
		t.Error(diff, s.gaps)
	}
	s = captured(t, tree{"sys/firmware/dmi/tables/DMI": string(table[:100])})
	if got := s.dimms(); len(got) != 0 || len(s.gaps) != 1 || !strings.Contains(s.gaps[0].Why, "parse SMBIOS table") {
		t.Errorf("%+v %+v", got, s.gaps)
	}
}

func TestConsoles(t *testing.T) {
	tr := tree{
		"sys/class/tty/console/active": "tty0 ttyS0\n",
		"sys/class/tty/ttyS0":          "-> ../../devices/pnp0/00:03/00:03:0/00:03:0.0/tty/ttyS0",
		"sys/class/tty/ttyS1":          "-> ../../devices/platform/serial8250/tty/ttyS1",
		"sys/class/tty/ttyS4":          "-> ../../devices/pci0000:00/0000:00:16.3/tty/ttyS4",
		"sys/class/tty/ttyUSB0":        "-> ../../devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0",

		"sys/devices/pnp0/00:03/00:03:0/00:03:0.0/tty/ttyS0/type":                      "4\n",
		"sys/devices/pnp0/00:03/00:03:0/00:03:0.0/subsystem":                           "-> ../../../../../bus/serial-base",
		"sys/devices/pnp0/00:03/00:03:0/00:03:0.0/driver":                              "-> ../../../../../bus/serial-base/drivers/port",
		"sys/devices/pnp0/00:03/00:03:0/subsystem":                                     "-> ../../../../bus/serial-base",
		"sys/devices/pnp0/00:03/driver":                                                "-> ../../../bus/pnp/drivers/serial",
		"sys/devices/pnp0/00:03/subsystem":                                             "-> ../../../bus/pnp",
		"sys/devices/platform/serial8250/tty/ttyS1/type":                               "0\n", // nothing there
		"sys/devices/pci0000:00/0000:00:16.3/tty/ttyS4/type":                           "4\n",
		"sys/devices/pci0000:00/0000:00:16.3/driver":                                   "-> ../../../bus/pci/drivers/serial",
		"sys/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0/dev": "188:0\n",
	}
	s := captured(t, tr)
	want := []Console{
		{Name: "ttyS4", Path: "pci0000:00/0000:00:16.3", Driver: "serial"},
		{Name: "ttyS0", Path: "pnp0/00:03", Driver: "serial", Kernel: true},
	}
	if diff := cmp.Diff(want, s.consoles()); diff != "" || len(s.gaps) > 0 {
		t.Error(diff, s.gaps)
	}
}

func TestWatchdogs(t *testing.T) {
	s := captured(t, tree{
		"sys/class/watchdog/watchdog0":                                      "-> ../../devices/virtual/watchdog/watchdog0",
		"sys/class/watchdog/watchdog1":                                      "-> ../../devices/pci0000:00/0000:00:04.0/watchdog/watchdog1",
		"sys/devices/virtual/watchdog/watchdog0/identity":                   "Software Watchdog\n",
		"sys/devices/virtual/watchdog/watchdog0/timeout":                    "60\n",
		"sys/devices/virtual/watchdog/watchdog0/nowayout":                   "0\n",
		"sys/devices/pci0000:00/0000:00:04.0/watchdog/watchdog1/identity":   "i6300ESB timer\n",
		"sys/devices/pci0000:00/0000:00:04.0/watchdog/watchdog1/timeout":    "30\n",
		"sys/devices/pci0000:00/0000:00:04.0/watchdog/watchdog1/nowayout":   "1\n",
		"sys/devices/pci0000:00/0000:00:04.0/watchdog/watchdog1/bootstatus": "0\n",
	})
	want := []Watchdog{{"watchdog1", "i6300ESB timer", 30, true}, {"watchdog0", "Software Watchdog", 60, false}}
	if diff := cmp.Diff(want, s.watchdogs()); diff != "" || len(s.gaps) > 0 {
		t.Error(diff, s.gaps)
	}
}
