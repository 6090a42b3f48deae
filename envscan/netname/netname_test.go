package netname

import (
	"strings"
	"testing"
)

const root = "pci0000:00/"

// twoPorts is a card behind a root port that has a slot.
func behindPort(multifunction bool, slotAddress string) tree {
	return tree{}.device("pci0000:00", "", "").
		pci(root+"0000:00:02.0", bridge).
		pci(root+"0000:00:02.0/0000:01:00.0", "config="+header(multifunction)).
		nic(root+"0000:00:02.0/0000:01:00.0", "").
		with("sys/bus/pci/slots/4/address=" + slotAddress + "\n")
}

type namesCase struct {
	tree tree
	// want says onboard, slot, path and MAC from each scheme on that changes
	// one of them.
	want string
}

func TestNames(t *testing.T) {
	for name, tt := range namesCases() {
		t.Run(name, func(t *testing.T) {
			if got := lines(t, tt.tree); got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func namesCases() map[string]namesCase {
	return map[string]namesCase{
		"pci": {
			tree{}.pci(root+"0000:00:03.0").nic(root+"0000:00:03.0", ""),
			"v238 - - enp0s3 enxMAC",
		},
		"virtio": {
			tree{}.pci(root+"0000:00:03.0").device(root+"0000:00:03.0/virtio0", "virtio", "").nic(root+"0000:00:03.0/virtio0", ""),
			"v238 - - enp0s3 enxMAC",
		},
		"multifunction": {
			tree{}.pci("pci0001:00/0001:0a:1f.0", "config="+header(true)).nic("pci0001:00/0001:0a:1f.0", ""),
			"v238 - - enP1p10s31f0 enxMAC",
		},
		"function of a device whose first says nothing": {
			tree{}.pci(root+"0000:00:1f.6").nic(root+"0000:00:1f.6", ""),
			"v238 - - enp0s31f6 enxMAC",
		},
		"domain of a volume management device": {
			tree{}.pci("pci10000:e0/10000:e1:00.0").nic("pci10000:e0/10000:e1:00.0", ""),
			"v238 - - enP65536p225s0 enxMAC",
		},
		"no configuration space": {
			tree{}.device(root+"0000:00:03.0", "pci", "").nic(root+"0000:00:03.0", ""),
			"v238 - - enp0s3 enxMAC",
		},
		"wlan": {
			tree{}.pci(root+"0000:03:00.0").nic(root+"0000:03:00.0", "wlan"),
			"v238 - - wlp3s0 wlxMAC",
		},
		"onboard index": {
			tree{}.pci(root+"0000:00:19.0", "index=2\n", "acpi_index=1\n", "label=Port 1\n").nic(root+"0000:00:19.0", ""),
			"v238 eno1 - enp0s25 enxMAC",
		},
		"onboard index 0": {
			tree{}.pci(root+"0000:00:19.0", "index=0\n").nic(root+"0000:00:19.0", ""),
			"v238 - - enp0s25 enxMAC\nv240 eno0 - enp0s25 enxMAC",
		},
		"onboard index of 15 bits": {
			tree{}.pci(root+"0000:00:19.0", "index=16384\n").nic(root+"0000:00:19.0", ""),
			"v238 - - enp0s25 enxMAC\nv249 eno16384 - enp0s25 enxMAC",
		},
		"onboard index that means nothing": {
			tree{}.pci(root+"0000:00:19.0", "index=16777215\n").nic(root+"0000:00:19.0", ""),
			"v238 - - enp0s25 enxMAC",
		},
		"port name": {
			tree{}.pci(root+"0000:05:00.0", "index=1").nic(root+"0000:05:00.0", "", "phys_port_name=p1\n", "dev_port=3\n"),
			"v238 eno1np1 - enp5s0np1 enxMAC",
		},
		"port number": {
			tree{}.pci(root+"0000:05:00.0", "index=1").nic(root+"0000:05:00.0", "", "dev_port=3\n"),
			"v238 eno1d3 - enp5s0d3 enxMAC",
		},
		"port name that could hide something": {
			tree{}.pci(root+"0000:05:00.0").nic(root+"0000:05:00.0", "", "phys_port_name=p\x1b1\n"),
			"v238 - - enp5s0 enxMAC\nv254 - - - enxMAC",
		},
		"representor": {
			tree{}.pci(root+"0000:05:00.0", "index=1").nic(root+"0000:05:00.0", "", "phys_port_name=pf0vf12\n"),
			"v238 eno1npf0vf12 - enp5s0npf0vf12 enxMAC\nv254 eno1r12 - enp5s0r12 enxMAC",
		},
		"slot": {
			behindPort(false, "0000:01:00"),
			"v238 - ens4 enp1s0 enxMAC",
		},
		"slot of the bridge": {
			behindPort(false, "0000:00:02"),
			"v238 - ens4 enp1s0 enxMAC\nv247 - - enp1s0 enxMAC",
		},
		"slot of the bridge of several functions": {
			behindPort(true, "0000:00:02"),
			"v238 - ens4f0 enp1s0f0 enxMAC\nv247 - - enp1s0f0 enxMAC\nv251 - ens4f0 enp1s0f0 enxMAC\nv255 - - enp1s0f0 enxMAC",
		},
		"slot by _SUN": {
			behindPort(false, "0000:07:00").with("sys/devices/" + root + "0000:00:02.0/0000:01:00.0/firmware_node/sun=9\n"),
			"v238 - - enp1s0 enxMAC\nv257 - ens9 enp1s0 enxMAC",
		},
		"_SUN of the bridge": {
			behindPort(false, "0000:01:00").with("sys/devices/" + root + "0000:00:02.0/firmware_node/sun=9\n"),
			"v238 - ens4 enp1s0 enxMAC",
		},
		"_SUN of the bridge of several functions": {
			behindPort(true, "0000:07:00").with("sys/devices/" + root + "0000:00:02.0/firmware_node/sun=9\n"),
			"v238 - - enp1s0f0 enxMAC\nv257 - ens9f0 enp1s0f0 enxMAC",
		},
		"slot without a number, slot 0": {
			behindPort(false, "0000:07:00").with("sys/bus/pci/slots/3-2/address=0000:01:00", "sys/bus/pci/slots/0/address=0000:01:00"),
			"v238 - - enp1s0 enxMAC",
		},
		"s390 function": {
			tree{}.pci("pci0002:00/0002:00:00.0", "function_id=0x00000211\n").nic("pci0002:00/0002:00:00.0", "").
				with("sys/bus/pci/slots/00000211/address=0002:00:00"),
			// Until then the digits of the slot were read as octal, as a leading 0 says.
			"v238 - enP2s137 enP2p0s0 enxMAC\nv249 - ens529 enP2p0s0 enxMAC",
		},
		"infiniband": {
			tree{}.pci(root+"0000:15:00.0").nic(root+"0000:15:00.0", "", "type=32\n", "dev_id=0x1\n", "address=80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:00:01\n"),
			"v238 - - - -\nv240 - - ibp21s0 -\nv254 - - ibp21s0d1 -",
		},
		"slip": {
			tree{}.pci(root+"0000:00:03.0").nic(root+"0000:00:03.0", "", "type=256"),
			"v238 - - slp0s3 slxMAC",
		},
		"can": {
			tree{}.pci(root+"0000:00:03.0").nic(root+"0000:00:03.0", "", "type=280"),
			"v238 - - - -",
		},
		"stacked": {
			tree{}.pci(root+"0000:00:03.0").nic(root+"0000:00:03.0", "", "iflink=7\n"),
			"v238 - - - -",
		},
		"random address": {
			tree{}.pci(root+"0000:00:03.0").nic(root+"0000:00:03.0", "", "addr_assign_type=1\n"),
			"v238 - - enp0s3 -",
		},
		"ari": {
			tree{}.pci(root+"0000:05:01.2", "ari_enabled=1\n").nic(root+"0000:05:01.2", ""),
			"v238 - - enp5s1f2 enxMAC\nv239 - - enp5s1f10 enxMAC",
		},
		"virtual function": {
			tree{}.pci(root+"0000:05:00.0", "index=1", "virtfn0=-> /sys/devices/"+root+"0000:05:02.0", "virtfn3=-> /sys/devices/"+root+"0000:05:02.3").
				pci(root+"0000:05:02.3", "physfn=-> /sys/devices/"+root+"0000:05:00.0").
				nic(root+"0000:05:02.3", "").
				with("sys/bus/pci/slots/6/address=0000:05:00"),
			"v238 - - enp5s2f3 enxMAC\nv239 eno1v3 ens6v3 enp5s0v3 enxMAC",
		},
		"usb behind pci": {
			tree{}.pci(root+"0000:00:14.0").
				device(root+"0000:00:14.0/usb2", "usb", "usb_device").
				device(root+"0000:00:14.0/usb2/2-1", "usb", "usb_device").
				device(root+"0000:00:14.0/usb2/2-1/2-1.4", "usb", "usb_device").
				device(root+"0000:00:14.0/usb2/2-1/2-1.4/2-1.4:2.6", "usb", "usb_interface").
				nic(root+"0000:00:14.0/usb2/2-1/2-1.4/2-1.4:2.6", "wwan").
				with("sys/bus/pci/slots/7/address=0000:00:14"),
			"v238 - wws7u1u4c2i6 wwp0s20u1u4c2i6 wwxMAC",
		},
		"usb without pci": {
			tree{}.device("platform/soc/fe980000.usb/usb1/1-1/1-1:1.0", "usb", "usb_interface").
				nic("platform/soc/fe980000.usb/usb1/1-1/1-1:1.0", ""),
			"v238 - - - enxMAC\nv253 - - enu1 enxMAC",
		},
		"usb without a number of an interface": {
			tree{}.device("platform/soc/usb1/1-1/1-1", "usb", "usb_interface").nic("platform/soc/usb1/1-1/1-1", ""),
			"v238 - - - enxMAC",
		},
		"longer than an interface's name": {
			tree{}.pci("pci10000:e0/10000:e1:00.0").
				device("pci10000:e0/10000:e1:00.0/usb2/2-1.4.3.2:1.0", "usb", "usb_interface").
				nic("pci10000:e0/10000:e1:00.0/usb2/2-1.4.3.2:1.0", ""),
			"v238 - - enP65536p225s0u1u4u3u2 enxMAC",
		},
		"longer than a property": {
			tree{}.pci(root+"0000:00:03.0").nic(root+"0000:00:03.0", "", "phys_port_name="+strings.Repeat("p", 121)),
			"v238 - - - enxMAC",
		},
		"bcma": {
			tree{}.pci(root+"0000:02:00.0").device(root+"0000:02:00.0/bcma0:2", "bcma", "").nic(root+"0000:02:00.0/bcma0:2", "wlan"),
			"v238 - - wlp2s0b2 wlxMAC",
		},
		"bcma core 0": {
			tree{}.pci(root+"0000:02:00.0").device(root+"0000:02:00.0/bcma0:0", "bcma", "").nic(root+"0000:02:00.0/bcma0:0", "wlan"),
			"v238 - - wlp2s0 wlxMAC",
		},
		"ccw": {
			tree{}.device("css0/0.0.0007/0.0.f5f0", "ccwgroup", "").nic("css0/0.0.0007/0.0.f5f0", ""),
			"v238 - - encf5f0 enxMAC",
		},
		"virtio on ccw": {
			tree{}.device("css0/0.0.0000/0.0.0000", "ccw", "").device("css0/0.0.0000/0.0.0000/virtio1", "virtio", "").nic("css0/0.0.0000/0.0.0000/virtio1", ""),
			"v238 - - enc0 enxMAC",
		},
		"vio": {
			tree{}.device("vio/30000002", "vio", "").nic("vio/30000002", ""),
			"v238 - env2 - enxMAC",
		},
		"acpi, three letters": {
			tree{}.device("platform/APM0D05:01", "platform", "").nic("platform/APM0D05:01", ""),
			"v238 - - enaapmd05i1 enxMAC",
		},
		"acpi, four letters": {
			tree{}.device("platform/HISI00C2:00", "platform", "").nic("platform/HISI00C2:00", ""),
			"v238 - - enahisic2i0 enxMAC",
		},
		"platform without acpi": {
			tree{}.device("platform/fd580000.ethernet", "platform", "").nic("platform/fd580000.ethernet", ""),
			"v238 - - - enxMAC",
		},
		"device tree alias": {
			onTree("fd580000.ethernet", "scb/ethernet@7d580000").with("sys/firmware/devicetree/base/aliases/ethernet1=/scb/ethernet@7d580000\x00"),
			"v238 - - - enxMAC\nv252 end1 - - enxMAC",
		},
		"device tree alias without a number": {
			onTree("fd580000.ethernet", "scb/ethernet@7d580000").with("sys/firmware/devicetree/base/aliases/ethernet=/scb/ethernet@7d580000\x00"),
			"v238 - - - enxMAC\nv252 end0 - - enxMAC",
		},
		"device tree aliases that contradict each other": {
			onTree("fd580000.ethernet", "scb/ethernet@7d580000").with("sys/firmware/devicetree/base/aliases/ethernet=/scb/ethernet@7d580000\x00", "sys/firmware/devicetree/base/aliases/ethernet0=/else\x00"),
			"v238 - - - enxMAC",
		},
		"device tree alias of another": {
			onTree("fd580000.ethernet", "scb/ethernet@7d580000").with("sys/firmware/devicetree/base/aliases/ethernet0=/scb/ethernet@1\x00"),
			"v238 - - - enxMAC",
		},
		"device tree alias of a port": {
			onTree("switch", "soc/switch").with(
				"sys/devices/platform/switch/net/eth0/of_node=-> /sys/firmware/devicetree/base/soc/switch/port@2",
				"sys/firmware/devicetree/base/soc/switch/port@2/reg=x",
				"sys/firmware/devicetree/base/aliases/ethernet2=/soc/switch/port@2\x00"),
			"v238 - - - enxMAC\nv257 end2 - - enxMAC",
		},
		"xen": {
			tree{}.device("vif-2", "xen", "").nic("vif-2", ""),
			"v238 - - - enxMAC\nv250 - enX2 - enxMAC",
		},
		"netdevsim": {
			tree{}.device("netdevsim12", "netdevsim", "").nic("netdevsim12", "", "phys_port_name=p1\n", "addr_assign_type=1\n"),
			"v238 - - - -\nv243 - - eni12np1 -",
		},
		"hyper-v": {
			tree{}.device("LNXSYSTM:00/VMBUS:00/f8615163-df3e-46c5-913f-f2d2f965ed0e", "vmbus", "").nic("LNXSYSTM:00/VMBUS:00/f8615163-df3e-46c5-913f-f2d2f965ed0e", ""),
			"v238 - - - enxMAC",
		},
		"hwsim": {
			tree{}.device("virtual/mac80211_hwsim/hwsim0", "mac80211_hwsim", "").nic("virtual/mac80211_hwsim/hwsim0", "wlan"),
			"v238 - - - wlxMAC",
		},
		"raw ip modem": {
			tree{}.pci(root+"0000:05:00.0").nic(root+"0000:05:00.0", "wwan", "type=519"),
			"v238 - - - -",
		},
	}
}

func onTree(device, node string) tree {
	return tree{"sys/firmware/devicetree/base/" + node + "/compatible": "x"}.
		device("platform/"+device, "platform", "", "of_node=-> /sys/firmware/devicetree/base/"+node).
		nic("platform/"+device, "")
}

// A card in another slot has another path, and the same MAC.
func TestCardMoves(t *testing.T) {
	at := func(bus string) Names {
		d, err := Read(tree{}.pci(root+bus).nic(root+bus, "").write(t), "eth0")
		if err != nil {
			t.Fatal(err)
		}
		return Of(d, Latest())
	}
	before, after := at("0000:03:00.0"), at("0000:04:00.0")
	if before.Path == after.Path || before.MAC != after.MAC {
		t.Errorf("before %+v, after %+v: the path must change and the MAC must not", before, after)
	}
}

func TestDefault(t *testing.T) {
	for _, tt := range []struct {
		n    Names
		want string
	}{
		{Names{"eno1", "ens1", "enp1s0", "enx525400000001"}, "eno1"},
		{Names{"", "ens1", "enp1s0", "enx525400000001"}, "ens1"},
		{Names{"eno1nsomethinglong", "", "enp1s0", ""}, "enp1s0"},
		{Names{"", "", "", "enx525400000001"}, ""}, // the default file does not name by MAC
	} {
		if got := Default(tt.n); got != tt.want {
			t.Errorf("Default(%+v) = %q, want %q", tt.n, got, tt.want)
		}
	}
}

func TestValid(t *testing.T) {
	for name, ok := range map[string]bool{
		"lan0": true, "enx525400123456": true, "a.b-c_d": true,
		"": false, "0123": false, "enx5254001234567": false, "a/b": false, "a b": false,
		"a:b": false, "a%d": false, "..": false, "all": false, "default": false, "ü": false, "a\x7f": false,
	} {
		if err := Valid(name); (err == nil) != ok {
			t.Errorf("Valid(%q) = %v", name, err)
		}
	}
}

func TestOfSystemd(t *testing.T) {
	for version, want := range map[string]string{
		"238": "v238", "241-7~deb10u10": "v241", "242": "v241", "247.3-7+deb11u4": "v247", "252.39-1~deb12u1": "v252",
		"254.5": "v253", "256": "v255", "257.13-1~deb13u1": "v257", "258~rc1": "v257", "1:255": "v255",
	} {
		s, exact, err := OfSystemd(version)
		if err != nil || s.Name != want || exact == strings.HasPrefix(version, "258") {
			t.Errorf("OfSystemd(%q) = %s, %v, %v, want %s", version, s.Name, exact, err, want)
		}
	}
	for _, version := range []string{"", "232-25", "x"} {
		if _, _, err := OfSystemd(version); err == nil {
			t.Errorf("OfSystemd(%q): no error", version)
		}
	}
	if _, err := Find("v242"); err == nil {
		t.Error("Find(v242): no error")
	}
	if s, err := Find("v247"); err != nil || s.Name != "v247" {
		t.Errorf("Find(v247) = %v, %v", s, err)
	}
}
