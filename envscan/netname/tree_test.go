package netname

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/sysfs"
)

// tree is a /sys as files: content, or "-> /sys/..." for a link, which is
// written relative as the kernel's are.
type tree map[string]string

// device adds a device below /sys/devices and the attributes that are given as
// name=value.
func (tr tree) device(at, subsystem, devType string, attrs ...string) tree {
	dir := "sys/devices/" + at
	tr[dir+"/uevent"] = ""
	if subsystem == "net" {
		tr[dir+"/uevent"] = "INTERFACE=eth0\nIFINDEX=2\n"
	}
	if devType != "" {
		tr[dir+"/uevent"] += "DEVTYPE=" + devType + "\n"
	}
	if subsystem != "" {
		tr[dir+"/subsystem"] = "-> /sys/bus/" + subsystem
		tr["sys/bus/"+subsystem+"/uevent"] = "" // so that the folder is there
	}
	for _, a := range attrs {
		name, value, _ := strings.Cut(a, "=")
		tr[dir+"/"+name] = value
	}
	return tr
}

// pci adds functions of PCI, each below the one before.
func (tr tree) pci(at string, attrs ...string) tree {
	return tr.device(at, "pci", "", append([]string{"config=" + header(false)}, attrs...)...)
}

// header is the beginning of a configuration space.
func header(multifunction bool) string {
	b := make([]byte, 64)
	if multifunction {
		b[headerType] = 0x80
	}
	return string(b)
}

const bridge = "modalias=pci:v00001B36d0000000Csv00001AF4sd00001100bc06sc04i00\n"

// nic adds an interface named eth0.
func (tr tree) nic(at, devType string, attrs ...string) tree {
	all := []string{"type=1\n", "ifindex=2\n", "iflink=2\n", "dev_port=0\n", "dev_id=0x0\n",
		"addr_assign_type=0\n", "address=52:54:00:12:34:56\n", "phys_port_name=\n"}
	tr["sys/class/net/eth0"] = "-> /sys/devices/" + at + "/net/eth0"
	return tr.device(at+"/net/eth0", "net", devType, append(all, attrs...)...)
}

func (tr tree) with(attrs ...string) tree {
	for _, a := range attrs {
		name, value, _ := strings.Cut(a, "=")
		tr[name] = value
	}
	return tr
}

func (tr tree) write(t testing.TB) sysfs.Root {
	t.Helper()
	root := t.TempDir()
	tr.writeTo(t, root)
	return sysfs.Root(root)
}

func (tr tree) writeTo(t testing.TB, root string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(tr)) {
		content := tr[name]
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "-> /"); link {
			var rel string
			if rel, err = filepath.Rel("/"+path.Dir(name), "/"+target); err == nil {
				err = os.Symlink(rel, full)
			}
		} else {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// lines are the names by all schemes, one line for each change.
func lines(t testing.TB, tr tree) string {
	t.Helper()
	d, err := Read(tr.write(t), "eth0")
	if err != nil {
		t.Fatal(err)
	}
	when, names := InEffect(d)
	var out []string
	for i, n := range names {
		line := when[i].Name
		for _, v := range []string{n.Onboard, n.Slot, n.Path, n.MAC} {
			if v == "" {
				v = "-"
			}
			line += " " + v
		}
		out = append(out, strings.ReplaceAll(line, "x525400123456", "xMAC"))
	}
	return strings.Join(out, "\n")
}
