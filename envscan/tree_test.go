package envscan

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree is a system as files: content, or "-> target" for a link.
type tree map[string]string

// write makes the files below a new directory.
func (tr tree) write(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range tr {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "-> "); link {
			err = os.Symlink(target, full)
		} else {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// disk adds a block device at a place below /sys/devices.
func (tr tree) disk(name, devPath, dev string, sectors string, attrs tree) {
	dir := "sys/devices/" + devPath + "/block/" + name
	tr["sys/block/"+name] = "-> ../devices/" + devPath + "/block/" + name
	tr[dir+"/dev"] = dev + "\n"
	tr[dir+"/size"] = sectors + "\n"
	tr[dir+"/ro"] = "0\n"
	tr[dir+"/removable"] = "0\n"
	tr[dir+"/queue/logical_block_size"] = "512\n"
	tr[dir+"/queue/physical_block_size"] = "512\n"
	tr[dir+"/queue/rotational"] = "0\n"
	if !strings.HasPrefix(devPath, "virtual") {
		tr[dir+"/device"] = "-> ../.."
	}
	for k, v := range attrs {
		tr[dir+"/"+k] = v
	}
}

// nic adds a network interface whose device is at a place below /sys/devices.
func (tr tree) nic(name, devPath, driver, mac string, attrs tree) {
	dir := "sys/devices/" + devPath + "/net/" + name
	tr["sys/class/net/"+name] = "-> ../../devices/" + devPath + "/net/" + name
	if !strings.HasPrefix(devPath, "virtual") {
		tr[dir+"/device"] = "-> ../../../" + filepath.Base(devPath)
	}
	tr["sys/devices/"+devPath+"/driver"] = "-> ../../../bus/x/drivers/" + driver
	tr[dir+"/type"] = "1\n"
	tr[dir+"/address"] = mac + "\n"
	tr[dir+"/addr_assign_type"] = "0\n"
	tr[dir+"/dev_port"] = "0\n"
	tr[dir+"/flags"] = "0x1003\n"
	tr[dir+"/carrier"] = "1\n"
	for k, v := range attrs {
		tr[dir+"/"+k] = v
	}
}

// base is what every system has.
func base(mounts string) tree {
	return tree{
		"proc/self/mountinfo":             mounts,
		"proc/swaps":                      "Filename\tType\tSize\tUsed\tPriority\n",
		"proc/meminfo":                    "MemTotal:         498764 kB\nMemFree: 1 kB\nMemAvailable:     412345 kB\n",
		"proc/cpuinfo":                    "processor\t: 0\nmodel name\t: Example CPU @ 3.0GHz\n\nprocessor\t: 1\nmodel name\t: Example CPU @ 3.0GHz\n",
		"proc/sys/kernel/arch":            "x86_64\n",
		"proc/sys/kernel/osrelease":       "6.12.48+deb13-amd64\n",
		"proc/sys/kernel/hostname":        "box\n",
		"etc/os-release":                  "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n",
		"sys/devices/system/cpu/online":   "0-1\n",
		"sys/class/net/lo":                "-> ../../devices/virtual/net/lo",
		"sys/devices/virtual/net/lo/type": "772\n",
	}
}

// gptDisk is an image with the header of a GPT.
func gptDisk(guid string) string {
	b := make([]byte, 4096)
	h := b[512:604]
	copy(h, "EFI PART")
	binary.LittleEndian.PutUint64(h[24:], 1)
	copy(h[56:72], guid)
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h))
	return string(b)
}
