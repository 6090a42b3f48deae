package envscan

import (
	"errors"
	"strings"
	"testing"
)

func example() Facts {
	return Facts{
		Schema: Schema,
		Scan: Report{Gaps: []Gap{
			{Fact: "hw.disk[name=sda].serial", Path: "/sys/block/sda/serial", Why: "permission denied", Need: "root"},
			{Fact: "hw.gpu", Path: "probe gpus", Why: "it did not answer in time"},
		}},
		HW: HW{
			Arch: "amd64", Firmware: Firmware{Type: "uefi"},
			Disk: []Disk{{Name: "sdb", Size: 1 << 60, Serial: "B"}, {Name: "sda", Transport: "sata"}},
			NIC:  []NIC{{Name: "eth0", Driver: "virtio_net", HWAddr: "52:54:00:00:00:01"}, {Name: "eth1", Driver: "e1000e"}},
		},
		OS:    OS{Type: "linux", ID: "debian"},
		State: State{Links: map[string]Link{"eth0.100": {MTU: 1500}}},
	}
}

func TestValue(t *testing.T) {
	f := example()
	for path, want := range map[string]string{
		"env.os":                          "linux",
		"os":                              "linux",
		"os.id":                           "debian",
		"hw.firmware":                     "uefi",
		"hw.disk.0.size":                  "1152921504606846976",
		"hw.disk[0].serial":               "B",
		"hw.disk[name=sdb].serial":        "B",
		"hw.nic[driver=virtio_net].name":  "eth0",
		"hw.disk.1.rotational":            "false",
		"state.links.eth0.100.mtu":        "1500",
		`state.links."eth0.100".mtu`:      "1500",
		"hw.disk[transport!=null].name":   "sda",
		"hw.disk[size>1T].name":           "sdb",
		"hw.nic[hwaddr=null,port=0].name": "eth1",
	} {
		if v, err := Value(f, path); err != nil || v != want {
			t.Errorf("%s: %q %v", path, v, err)
		}
	}
	for path, want := range map[string]struct {
		err  error
		text string
	}{
		"hw.nik":                         {ErrUnknown, `look up hw.nik: env.hw has no "nik"; did you mean "nic"?`},
		"zzzzzz":                         {ErrUnknown, `env has no "zzzzzz", only schema, scan, hw`},
		"hw.arch.x":                      {ErrUnknown, "env.hw.arch is a single value"},
		"hw.nic.name":                    {ErrUnknown, `env.hw.nic is a list, counted from 0: "name" is no index; choose with env.hw.nic.0 or`},
		"hw.nic[drive=x].name":           {ErrUnknown, `env.hw.nic has no "drive"; did you mean "driver"?`},
		"hw.nic[0":                       {ErrUnknown, "read path"},
		"hw.nic":                         {ErrUnknown, "it is a list of 2 and no single value"},
		"hw.nic.0":                       {ErrUnknown, "it is an object and no single value: it has name, nameFrom"},
		"hw.nic.*.name":                  {ErrUnknown, "it means several: hw.nic.0.name, hw.nic.1.name"},
		"hw.nic.2.name":                  {ErrNull, "env.hw.nic is a list of 2, counted from 0: it has no 2"},
		"hw.nic[driver=r8169].name":      {ErrNull, "env.hw.nic is a list of 2, counted from 0: it has no [driver=r8169]"},
		"hw.nic.1.hwaddr":                {ErrNull, "it is null: this machine has no such thing"},
		"hw.tpm.version":                 {ErrNull, "env.hw.tpm is null"},
		"state.links.wlan0.mtu":          {ErrNull, "env.state.links has no wlan0, only eth0.100"},
		"hw.disk.1.serial":               {ErrAbsent, "it could not be read: hw.disk[name=sda].serial: /sys/block/sda/serial: permission denied (needs root)"},
		"hw.disk[transport=sata].serial": {ErrAbsent, "permission denied (needs root)"},
		"hw.gpu.0.driver":                {ErrAbsent, "hw.gpu: probe gpus: it did not answer in time"},
		"hw.gpu":                         {ErrAbsent, "probe gpus"},
	} {
		v, err := Value(f, path)
		if !errors.Is(err, want.err) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %q %v", path, v, err)
		}
		if known := KnownPath(path); (known == nil) != (want.err != ErrUnknown || strings.Contains(want.text, "it means") || strings.Contains(want.text, "it is a")) {
			t.Errorf("%s: KnownPath says %v", path, known)
		}
	}
	f.Scan.Only = []string{"hw"}
	if _, err := Value(f, "os.id"); !errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), "limited to hw") {
		t.Error(err)
	}
}

func TestKnownPath(t *testing.T) {
	for _, path := range []string{
		"env", "", "os", "env.os.id", "hw.disk.0.table.entries.0.mbr.type", "hw.disk.7.content.0.group.role", "state.sensors.x", "state.sensors.a.b/c", `state.disk."sda".used`,
		"hw.disk[partition.content.type=ext4].name", "hw.nic[names.scheme=v238].name", "hw.disk.0.mounts", "state.links.a.b.up",
	} {
		if err := KnownPath(path); err != nil {
			t.Error(err)
		}
	}
	for path, want := range map[string]string{
		"environment":                       `no "environment"`,
		"hw.disk.0.table.entries.0.x":       "env.hw.disk.0.table.entries.0 has no",
		"hw.disk.0.table.guid.x":            "single value",
		"state.disk.sda.worn":               `no "worn"`,
		"hw.disk.-1":                        "is a list, counted from 0",
		"os[id=debian]":                     "env.os is no list",
		"os.*":                              "env.os is no list",
		"hw..arch":                          "expected the name of a fact",
		"os.id=debian":                      "is a comparison",
		"hw.disk.0.table.entries.0.content": "has no",
	} {
		if err := KnownPath(path); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestComplete(t *testing.T) {
	for text, want := range map[string]string{
		"h": "hw", "hw.dm": "hw.dmi", "env.hw.dm": "env.hw.dmi", "hw.nic.": "hw.nic.0", "hw.nic.0.hwaddrF": "hw.nic.0.hwaddrFrom", "hw.disk[name=sda].ser": "hw.disk[name=sda].serial",
		"hw.nik.": "", "hw.arch.x": "", "[": "", "state.links.": "", "state.links.eth0.m": "state.links.eth0.mtu",
	} {
		if got := strings.Join(Complete(text), " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
