package envscan

import (
	"cmp"
	"reflect"
	"strconv"
	"strings"
)

const (
	dmiID      = "/sys/class/dmi/id"
	deviceTree = "/sys/firmware/devicetree/base"
	// pmProfile is what ACPI says that the machine is for.
	pmProfile = "/sys/firmware/acpi/pm_profile"
)

// dmi is what SMBIOS says, and what a device tree does. Without the kernel's own
// reading of SMBIOS (CONFIG_DMIID) the firmware's table is read.
func (s *scanner) dmi() *DMI {
	var d DMI
	if s.exists(dmiID) {
		s.dmiFromID(&d)
	} else {
		s.dmiFromTable(&d)
	}
	s.dmiFromTree(&d)
	if d.UUID != "" && strings.Trim(d.UUID, "0-") == "" {
		d.UUID = ""
	}
	if reflect.ValueOf(d).IsZero() {
		return nil
	}
	d.Chassis = s.chassis(d.Chassis)
	return &d
}

func (s *scanner) dmiFromID(d *DMI) {
	for file, field := range map[string]*string{
		"sys_vendor": &d.Vendor, "product_name": &d.Product, "product_version": &d.Version,
		"product_family": &d.Family, "product_sku": &d.SKU, "product_serial": &d.Serial, "product_uuid": &d.UUID,
		"board_vendor": &d.BoardVendor, "board_name": &d.Board, "board_version": &d.BoardVersion, "board_serial": &d.BoardSerial,
		"chassis_asset_tag": &d.AssetTag, "chassis_type": &d.Chassis,
	} {
		*field = s.text("hw.dmi."+dmiFact[file], dmiID+"/"+file)
	}
	d.UUID = strings.ToLower(d.UUID)
}

// dmiFact are the facts by the kernel's names of them.
var dmiFact = map[string]string{
	"sys_vendor": "vendor", "product_name": "product", "product_version": "version",
	"product_family": "family", "product_sku": "sku", "product_serial": "serial", "product_uuid": "uuid",
	"board_vendor": "boardVendor", "board_name": "board", "board_version": "boardVersion", "board_serial": "boardSerial",
	"chassis_asset_tag": "assetTag", "chassis_type": "chassis",
}

func (s *scanner) dmiFromTable(d *DMI) {
	t := s.smbios("hw.dmi")
	*d = DMI{
		Vendor: t.System.Vendor, Product: t.System.Product, Version: t.System.Version, Family: t.System.Family,
		SKU: t.System.SKU, Serial: t.System.Serial, UUID: t.System.UUID,
		BoardVendor: t.Board.Vendor, Board: t.Board.Product, BoardVersion: t.Board.Version, BoardSerial: t.Board.Serial,
		AssetTag: t.Chassis.AssetTag,
	}
	if t.Chassis.Type != 0 {
		d.Chassis = strconv.Itoa(t.Chassis.Type)
	}
}

// dmiFromTree adds what a device tree says (Devicetree Specification 0.4 §2.3.1,
// §3.2), which SMBIOS outranks where a board has both.
func (s *scanner) dmiFromTree(d *DMI) {
	if !s.exists(deviceTree) {
		return
	}
	d.Product = cmp.Or(d.Product, s.text("hw.dmi.product", deviceTree+"/model"))
	d.Serial = cmp.Or(d.Serial, s.text("hw.dmi.serial", deviceTree+"/serial-number"))
	if list := s.text("hw.dmi.compatible", deviceTree+"/compatible"); list != "" {
		d.Compatible = strings.Split(list, "\x00")
		// "vendor,model": the vendor's prefix is all the tree has of it.
		vendor, _, _ := strings.Cut(d.Compatible[0], ",")
		d.Vendor = cmp.Or(d.Vendor, vendor)
	}
}

// chassisNames are DSP0134 §7.4.1, as far as systemd-hostnamed trusts it.
var chassisNames = map[string]string{
	"3": "desktop", "4": "desktop", "6": "desktop", "7": "desktop", "13": "desktop", "35": "desktop", "36": "desktop",
	"8": "laptop", "9": "laptop", "10": "laptop", "14": "laptop", "11": "handset",
	"17": "server", "28": "server", "29": "server", "30": "tablet", "31": "convertible", "32": "convertible",
	"33": "embedded", "34": "embedded",
}

// profileNames are ACPI 6.5 §5.2.9.1.
var profileNames = map[string]string{
	"1": "desktop", "3": "desktop", "6": "desktop", "2": "laptop", "4": "server", "5": "server", "7": "server", "8": "tablet",
}

// chassis is what systemd-hostnamed says where nobody told it: a virtual machine
// is one whatever its firmware says.
func (s *scanner) chassis(kind string) string {
	if s.fork().vm() != "" { // whose gaps are os.vm's
		return "vm"
	}
	tree := s.text("hw.dmi.chassis", deviceTree+"/chassis-type")
	return cmp.Or(chassisNames[kind], profileNames[s.text("hw.dmi.chassis", pmProfile)], tree)
}
