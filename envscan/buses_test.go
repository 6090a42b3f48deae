package envscan

import (
	"context"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/sysfs"
)

// on is a scanner of a tree without devices behind it.
func (tr tree) on(t testing.TB) *scanner {
	t.Helper()
	return &scanner{root: sysfs.Root(tr.write(t)), privileged: true}
}

// device adds one on a bus, at a place below /sys/devices.
func (tr tree) device(bus, devPath string, attrs tree) {
	name := filepath.Base(devPath)
	tr["sys/bus/"+bus+"/devices/"+name] = "-> ../../../devices/" + devPath
	for k, v := range attrs {
		tr["sys/devices/"+devPath+"/"+k] = v
	}
}

func pciAttrs(class, vendor, device, driver string, more tree) tree {
	attrs := tree{
		"class": "0x" + class + "\n", "vendor": "0x" + vendor + "\n", "device": "0x" + device + "\n",
		"subsystem_vendor": "0x1af4\n", "subsystem_device": "0x1100\n", "revision": "0x02\n",
		"uevent": "PCI_CLASS=" + class + "\nMODALIAS=pci:v0000" + strings.ToUpper(vendor) + "d0000" + strings.ToUpper(device) + "sv00001AF4sd00001100bc02sc00i00\n",
	}
	if driver != "" {
		attrs["driver"] = "-> ../../../bus/pci/drivers/" + driver
	}
	for k, v := range more {
		attrs[k] = v
	}
	return attrs
}

func TestPCI(t *testing.T) {
	tr := base("")
	tr.device("pci", "pci0000:00/0000:00:1f.2", pciAttrs("010601", "8086", "2922", "ahci", tree{"iommu_group": "-> ../../../kernel/iommu_groups/7"}))
	tr.device("pci", "pci10000:00/10000:00:01.0", pciAttrs("020000", "8086", "10d3", "", nil))
	tr.device("pci", "pci0000:00/0000:00:02.0", pciAttrs("020000", "8086", "10d3", "e1000e", tree{"physfn": "-> ../0000:00:01.0"}))
	const modules = "lib/modules/6.12.48+deb13-amd64/"
	tr[modules+"modules.dep"] = "kernel/e1000e.ko.xz:\nkernel/ahci.ko.xz:\n"
	tr[modules+"modules.alias"] = "alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e\nalias pci:v00008086d00002922sv*sd*bc*sc*i* ahci\nalias pci:v00008086d00002922sv*sd*bc*sc*i* ata-piix\n"
	tr["sys/class/dmi/id/uevent"] = "MODALIAS=dmi:bvnX:\n"
	s := tr.on(t)
	pci, aliases := s.pci(), s.modaliases()
	modules1 := s.assign(aliases, pci)
	want := []PCI{
		{Address: "0000:00:02.0", Class: "020000", Vendor: "8086", Device: "10d3", SubVendor: "1af4", SubDevice: "1100", Revision: "02", Driver: "e1000e", Module: []string{"e1000e"}, Virtual: true},
		{Address: "0000:00:1f.2", Class: "010601", Vendor: "8086", Device: "2922", SubVendor: "1af4", SubDevice: "1100", Revision: "02", Driver: "ahci", Module: []string{"ahci", "ata_piix"}, IOMMU: "7"},
		{Address: "10000:00:01.0", Class: "020000", Vendor: "8086", Device: "10d3", SubVendor: "1af4", SubDevice: "1100", Revision: "02", Module: []string{"e1000e"}},
	}
	if !reflect.DeepEqual(pci, want) {
		t.Errorf("got %+v\nwant %+v", pci, want)
	}
	if want := []string{"ahci", "ata_piix", "e1000e"}; !slices.Equal(modules1, want) {
		t.Errorf("modules %v, want %v", modules1, want)
	}
	if len(aliases) != 3 || aliases[0] != "dmi:bvnX:" {
		t.Errorf("modaliases %q", aliases)
	}
	if len(s.gaps) > 0 {
		t.Errorf("gaps %v", s.gaps)
	}
}

// Without the kernel's modules, nobody knows which are needed: that is no "none".
func TestNoModuleTree(t *testing.T) {
	s := base("").on(t)
	if m := s.assign(nil, nil); m == nil || len(m) > 0 || len(s.gaps) > 0 {
		t.Errorf("of no devices: %v %v", m, s.gaps)
	}
	s.assign([]string{"pci:v00008086d000010D3"}, nil)
	if len(s.gaps) != 2 || s.gaps[0].Fact != "hw.module" || s.gaps[0].Why != "the modules of the running kernel are not there" {
		t.Errorf("gaps %v", s.gaps)
	}
}

func TestUSB(t *testing.T) {
	tr := base("")
	usb := func(devPath, class, speed string, more tree) {
		attrs := tree{"idVendor": "1d6b\n", "idProduct": "0002\n", "bDeviceClass": class + "\n", "speed": speed + "\n"}
		for k, v := range more {
			attrs[k] = v
		}
		tr.device("usb", devPath, attrs)
	}
	const xhci = "pci0000:00/0000:00:14.0/"
	usb(xhci+"usb2", "09", "480", tree{"serial": "0000:00:14.0\n"})
	usb(xhci+"usb2/2-10", "00", "1.5", tree{"product": "Keyboard \n"})
	usb(xhci+"usb2/2-2", "09", "480", nil)
	usb(xhci+"usb2/2-2/2-2.4", "00", "480", tree{"manufacturer": "Acme\n", "product": "Disk\n", "serial": "X1\n"})
	usb(xhci+"usb3", "09", "10000", nil)
	usb("pci0000:00/0000:00:02.0/usb9", "09", "12", nil)
	for _, name := range []string{"2-2/2-2.4/2-2.4:1.0", "2-2/2-2.4/2-2.4:1.1", "2-10/2-10:1.0", "2-0:1.0"} {
		driver := map[string]string{"2-10/2-10:1.0": "usbhid", "2-0:1.0": "hub"}[name]
		if driver == "" {
			driver = "uas"
		}
		tr.device("usb", xhci+"usb2/"+name, tree{"driver": "-> ../x/drivers/" + driver})
	}
	s := tr.on(t)
	got := s.usb()
	var ports []string
	for _, u := range got {
		ports = append(ports, u.Port)
	}
	if want := []string{"usb9", "usb2", "2-2", "2-2.4", "2-10", "usb3"}; !slices.Equal(ports, want) {
		t.Fatalf("ports %v, want %v", ports, want)
	}
	disk := USB{Port: "2-2.4", Path: "pci-0000:00:14.0-usb-0:2.4", Vendor: "1d6b", Product: "0002", Name: "Disk", Maker: "Acme", Serial: "X1", Class: "00", Speed: 480, Driver: []string{"uas"}}
	if !reflect.DeepEqual(got[3], disk) {
		t.Errorf("got %+v\nwant %+v", got[3], disk)
	}
	if k := got[4]; k.Speed != 1.5 || k.Name != "Keyboard" || !slices.Equal(k.Driver, []string{"usbhid"}) {
		t.Errorf("keyboard %+v", k)
	}
	if hub := got[1]; hub.Path != "pci-0000:00:14.0" || !slices.Equal(hub.Driver, []string{"hub"}) || hub.Serial != "" {
		t.Errorf("root hub %+v", hub)
	}
	if len(s.gaps) > 0 {
		t.Errorf("gaps %v", s.gaps)
	}
}

func TestGraphics(t *testing.T) {
	tr := base("")
	tr.device("pci", "pci0000:00/0000:00:02.0", pciAttrs("030000", "1af4", "1050", "virtio-pci", tree{"boot_vga": "1\n"}))
	tr.device("pci", "pci0000:00/0000:01:00.0", pciAttrs("030200", "10de", "1234", "", tree{"boot_vga": "0\n"}))
	const card = "sys/devices/pci0000:00/0000:00:02.0/virtio0/drm/card1"
	tr["sys/class/drm/card1"] = "-> ../../devices/pci0000:00/0000:00:02.0/virtio0/drm/card1"
	tr["sys/devices/pci0000:00/0000:00:02.0/virtio0/driver"] = "-> ../../../../bus/virtio/drivers/virtio_gpu"
	tr[card+"/device"] = "-> ../../../virtio0"
	tr["sys/class/drm/renderD128"] = "-> ../../devices/pci0000:00/0000:00:02.0/virtio0/drm/renderD128"
	for name, status := range map[string]string{"card1-Virtual-1": "connected", "card1-HDMI-A-1": "disconnected"} {
		tr["sys/class/drm/"+name] = "-> ../../devices/pci0000:00/0000:00:02.0/virtio0/drm/card1/" + name
		tr[card+"/"+name+"/status"] = status + "\n"
		tr[card+"/"+name+"/modes"] = "5120x1440\n1920x1080\n1920x1080\n640x480\n"
		tr[card+"/"+name+"/edid"] = string(screen())
	}
	tr["sys/class/drm/card0"] = "-> ../../devices/faux/vkms/drm/card0"
	tr["sys/devices/faux/vkms/drm/card0/x"] = ""
	s := tr.on(t)
	gpus, displays := s.graphics()
	if want := []GPU{{Path: "pci-0000:00:02.0", Driver: "virtio_gpu", Boot: true, Card: "card1"}, {Path: "pci-0000:01:00.0"}}; !reflect.DeepEqual(gpus, want) {
		t.Errorf("got %+v\nwant %+v", gpus, want)
	}
	want := []Display{{Connector: "Virtual-1", GPU: "pci-0000:00:02.0", Maker: "VIC", Model: "Test 27", Serial: "SN42", Mode: "5120x1440",
		Modes: []string{"5120x1440", "1920x1080", "640x480"}, Width: 597, Height: 336}}
	if !reflect.DeepEqual(displays, want) {
		t.Errorf("got %+v\nwant %+v", displays, want)
	}
	if len(s.gaps) > 0 {
		t.Errorf("gaps %v", s.gaps)
	}
}

func TestBatteries(t *testing.T) {
	tr := base("")
	for name, uevent := range map[string]string{
		"AC":              "POWER_SUPPLY_TYPE=Mains\nPOWER_SUPPLY_ONLINE=1\n",
		"BAT0":            "POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_PRESENT=1\nPOWER_SUPPLY_STATUS=Not charging\nPOWER_SUPPLY_TECHNOLOGY=Li-ion\nPOWER_SUPPLY_CYCLE_COUNT=0\nPOWER_SUPPLY_ENERGY_FULL_DESIGN=50200000\nPOWER_SUPPLY_ENERGY_FULL=41007000\nPOWER_SUPPLY_CAPACITY=93\nPOWER_SUPPLY_MANUFACTURER=ACME \nPOWER_SUPPLY_MODEL_NAME=B1\nPOWER_SUPPLY_SERIAL_NUMBER= 77\n",
		"BAT1":            "POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_STATUS=Discharging\nPOWER_SUPPLY_CYCLE_COUNT=112\nPOWER_SUPPLY_CHARGE_FULL_DESIGN=5000000\nPOWER_SUPPLY_CHARGE_FULL=4000000\nPOWER_SUPPLY_CHARGE_NOW=1000000\nPOWER_SUPPLY_VOLTAGE_MIN_DESIGN=11400000\nPOWER_SUPPLY_VOLTAGE_NOW=12600000\n",
		"BAT2":            "POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_PRESENT=0\n",
		"hid-mouse-batt":  "POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_SCOPE=Device\nPOWER_SUPPLY_CAPACITY=50\n",
		"BATold":          "POWER_SUPPLY_NAME=BATold\n", // its type is a file alone
		"charge-no-volts": "POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_CHARGE_FULL=4000000\n",
	} {
		tr["sys/class/power_supply/"+name+"/uevent"] = uevent
	}
	tr["sys/class/power_supply/BATold/type"] = "Battery\n"
	// A mouse whose uevent would be a gap: it is not read.
	tr["sys/class/power_supply/mouse/type"], tr["sys/class/power_supply/mouse/scope"] = "Battery\n", "Device\n"
	tr["sys/class/power_supply/mouse/uevent/x"] = ""
	s := tr.on(t)
	list, charges := s.batteries()
	n := func(v int64) *int64 { return &v }
	want := []Battery{
		{Name: "BAT0", Maker: "ACME", Model: "B1", Serial: "77", Technology: "Li-ion", Design: n(50200), Full: n(41007)},
		{Name: "BAT1", Design: n(57000), Full: n(45600), Cycles: n(112)},
		{Name: "BATold"},
		{Name: "charge-no-volts"},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v\nwant %+v", list, want)
	}
	if len(s.gaps) > 0 {
		t.Errorf("gaps %v", s.gaps)
	}
	if charges["BAT0"] != (Charge{"not charging", 93}) || charges["BAT1"] != (Charge{"discharging", 25}) || len(charges) != 4 {
		t.Errorf("charges %v", charges)
	}
}

func TestSensors(t *testing.T) {
	tr := base("")
	chip := func(n, devPath, name string, attrs tree) {
		dir := devPath + "/hwmon/hwmon" + n
		tr["sys/class/hwmon/hwmon"+n] = "-> ../../devices/" + dir
		tr["sys/devices/"+dir+"/device"] = "-> ../.."
		tr["sys/devices/"+dir+"/name"] = name + "\n"
		for k, v := range attrs {
			tr["sys/devices/"+dir+"/"+k] = v
		}
	}
	chip("7", "platform/coretemp.0", "coretemp", tree{"temp1_input": "45125\n", "temp1_label": "Package id 0\n", "temp1_max": "1\n", "fan1_input": "1200\n"})
	chip("1", "pci0000:00/0000:00:1f.4/i2c-3/3-0019", "jc42", tree{"temp1_input": "31000\n"})
	chip("2", "pci0000:00/0000:00:1f.4/i2c-3/3-0018", "jc42", tree{"temp1_input": "30000\n"})
	chip("0", "virtual/thermal/thermal_zone0", "acpitz", tree{"temp1_input": "-5000\n"})
	chip("4", "pci0000:00/0000:01:00.0", "amdgpu", tree{"power1_average": "7000000\n", "in0_input": "812\n"})
	chip("5", "pci0000:00/0000:00:1f.2/ata2/host1/target1:0:0/1:0:0:0", "drivetemp", tree{"temp1_input": "33000\n"})
	tr["sys/devices/pci0000:00/0000:01:00.0/power/runtime_status"] = "suspended\n"
	tr["sys/devices/platform/coretemp.0/power/runtime_status"] = "unsupported\n"
	s := tr.on(t)
	list, readings := s.sensors(context.Background())
	want := []Sensor{
		{ID: "pci-0000:00:1f.2-ata-2/drivetemp/temp1", Chip: "drivetemp", Kind: "temp", Unit: "°C"},
		{ID: "pci-0000:00:1f.4-i2c-0018/jc42/temp1", Chip: "jc42", Kind: "temp", Unit: "°C"},
		{ID: "pci-0000:00:1f.4-i2c-0019/jc42/temp1", Chip: "jc42", Kind: "temp", Unit: "°C"},
		{ID: "pci-0000:01:00.0/amdgpu/in0", Chip: "amdgpu", Kind: "in", Unit: "V"},
		{ID: "pci-0000:01:00.0/amdgpu/power1", Chip: "amdgpu", Kind: "power", Unit: "W"},
		{ID: "platform-coretemp.0/coretemp/fan1", Chip: "coretemp", Kind: "fan", Unit: "rpm"},
		{ID: "platform-coretemp.0/coretemp/temp1", Chip: "coretemp", Kind: "temp", Label: "Package id 0", Unit: "°C"},
		{ID: "virtual/thermal/acpitz/temp1", Chip: "acpitz", Kind: "temp", Unit: "°C"},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v\nwant %+v", list, want)
	}
	wantReadings := map[string]float64{
		"pci-0000:00:1f.4-i2c-0018/jc42/temp1": 30, "pci-0000:00:1f.4-i2c-0019/jc42/temp1": 31,
		"platform-coretemp.0/coretemp/fan1": 1200, "platform-coretemp.0/coretemp/temp1": 45.125, "virtual/thermal/acpitz/temp1": -5,
	}
	if !reflect.DeepEqual(readings, wantReadings) {
		t.Errorf("readings %v, want %v", readings, wantReadings)
	}
	// Neither the suspended card nor the disk was asked; with leave both are.
	if len(s.gaps) != 3 || s.gaps[0].Need != "--wake" {
		t.Errorf("gaps %v", s.gaps)
	}
	s.gaps, s.wake = nil, true
	if _, readings = s.sensors(context.Background()); readings["pci-0000:01:00.0/amdgpu/power1"] != 7 || len(readings) != 8 || len(s.gaps) > 0 {
		t.Errorf("with leave to wake: %v %v", readings, s.gaps)
	}
}
