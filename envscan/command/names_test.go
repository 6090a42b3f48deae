package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// nicTree is a machine with a card behind a bridge that has slot 4.
func nicTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	const dev = "sys/devices/pci0000:00/0000:00:02.0"
	const nic = dev + "/0000:01:00.0"
	for name, content := range map[string]string{
		"proc/uptime": "1 1\n", dev + "/uevent": "", nic + "/uevent": "", nic + "/net/eth0/uevent": "INTERFACE=eth0\n",
		dev + "/modalias":      "pci:v00001B36d0000000Csv00001AF4sd00001100bc06sc04i00\n",
		nic + "/net/eth0/type": "1\n", nic + "/net/eth0/address": "52:54:00:12:34:56\n", nic + "/net/eth0/addr_assign_type": "0\n",
		"sys/bus/pci/slots/4/address": "0000:00:02\n",
		dev + "/subsystem":            "-> ../../../bus/pci", nic + "/subsystem": "-> ../../../../bus/pci",
		nic + "/net/eth0/device": "-> ../../../0000:01:00.0",
		"sys/class/net/eth0":     "-> ../../devices/pci0000:00/0000:00:02.0/0000:01:00.0/net/eth0",
	} {
		full := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		if target, link := strings.CutPrefix(content, "-> "); link && err == nil {
			err = os.Symlink(target, full)
		} else if err == nil {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestNamesVerb(t *testing.T) {
	root := nicTree(t)
	for _, tt := range []struct {
		args string
		code int
		out  string
	}{
		{"", 0, "NIC   SINCE  ONBOARD  SLOT  PATH    MAC              CHOSEN\n" +
			"eth0  v238   -        ens4  enp1s0  enx525400123456  ens4\n" +
			"eth0  v247   -        -     enp1s0  enx525400123456  enp1s0\n"},
		{"eth0 --scheme v241", 0, "NIC   SINCE  ONBOARD  SLOT  PATH    MAC              CHOSEN\n" +
			"eth0  v241   -        ens4  enp1s0  enx525400123456  ens4\n"},
		{"--format flat --scheme v257", 0, "hw.nic.0.name=\"eth0\"\nhw.nic.0.kind=\"ethernet\"\nhw.nic.0.path=\"pci-0000:01:00.0\"\nhw.nic.0.hwaddr=\"52:54:00:12:34:56\"\n" +
			"hw.nic.0.names.0.scheme=\"v257\"\nhw.nic.0.names.0.onboard=null\nhw.nic.0.names.0.slot=null\nhw.nic.0.names.0.path=\"enp1s0\"\nhw.nic.0.names.0.mac=\"enx525400123456\"\n"},
		{"eth1", exitNone, ""},
		{"--scheme v242", exitUsage, ""},
		{"--format xml", exitUsage, ""},
	} {
		var out, errs bytes.Buffer
		args := append([]string{"names", "--root", root}, strings.Fields(tt.args)...)
		if code := Main(t.Context(), args, Streams{Out: &out, Err: &errs}); code != tt.code || out.String() != tt.out {
			t.Errorf("%s: code %d\n%s%s", tt.args, code, &out, &errs)
		}
	}
}
