package envscan

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
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
	tr[dir+"/uevent"] = "INTERFACE=" + name + "\n"
	if attrs["phy80211/x"] != "" || driver == "iwlwifi" {
		tr[dir+"/uevent"] += "DEVTYPE=wlan\n"
	}
	for at := devPath; at != "."; at = filepath.Dir(at) {
		subsystem, uevent := subsystemOf(filepath.Base(at))
		tr["sys/devices/"+at+"/uevent"] = uevent
		if subsystem != "" {
			tr["sys/devices/"+at+"/subsystem"] = "-> " + strings.Repeat("../", strings.Count(at, "/")+2) + "bus/" + subsystem
		}
	}
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

// subsystemOf tells the kind of a device by its name.
func subsystemOf(name string) (subsystem, uevent string) {
	switch {
	case strings.Count(name, ":") == 2:
		return "pci", ""
	case strings.HasPrefix(name, "virtio"):
		return "virtio", ""
	case strings.Contains(name, "-") && strings.Contains(name, ":"):
		return "usb", "DEVTYPE=usb_interface\n"
	case strings.Contains(name, "-"), strings.HasPrefix(name, "usb"):
		return "usb", "DEVTYPE=usb_device\n"
	}
	return "", ""
}

// base is what every system has.
func base(mounts string) tree {
	return tree{
		"proc/self/mountinfo":           mounts,
		"proc/swaps":                    "Filename\tType\tSize\tUsed\tPriority\n",
		"proc/meminfo":                  "MemTotal:         498764 kB\nMemFree: 1 kB\nMemAvailable:     412345 kB\n",
		"proc/cpuinfo":                  "processor\t: 0\nmodel name\t: Example CPU @ 3.0GHz\n\nprocessor\t: 1\nmodel name\t: Example CPU @ 3.0GHz\n",
		"proc/sys/kernel/arch":          "x86_64\n",
		"proc/sys/kernel/osrelease":     "6.12.48+deb13-amd64\n",
		"proc/sys/kernel/hostname":      "box\n",
		"etc/os-release":                "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n",
		"proc/1/comm":                   "systemd\n",
		"proc/uptime":                   "1234.56 2000.00\n",
		"sys/devices/system/cpu/online": "0-1\n",
		"sys/devices/system/cpu/cpu0/topology/core_cpus_list":      "0-1\n",
		"sys/devices/system/cpu/cpu0/topology/physical_package_id": "0\n",
		"sys/devices/system/cpu/cpu1/topology/core_cpus_list":      "0-1\n",
		"sys/devices/system/cpu/cpu1/topology/physical_package_id": "0\n",
		"sys/class/net/lo":                "-> ../../devices/virtual/net/lo",
		"sys/devices/virtual/net/lo/type": "772\n",
	}
}

// partition adds a partition of a disk, with its place in sectors.
func (tr tree) partition(disk, name, dev string, number int, start, size uint64) {
	dir := "sys/devices/" + disk + "/" + name
	tr[dir+"/partition"] = strconv.Itoa(number) + "\n"
	tr[dir+"/dev"] = dev + "\n"
	tr[dir+"/start"] = strconv.FormatUint(start, 10) + "\n"
	tr[dir+"/size"] = strconv.FormatUint(size, 10) + "\n"
}

// part is an entry of a GPT, in sectors, and what its bytes begin with.
type part struct {
	first, last uint64
	content     string
}

// gptDisk is an image of 1 MiB with a GPT in both copies.
func gptDisk(guid string, parts ...part) string {
	const sectors, count = 2048, 128
	b := make([]byte, sectors*512)
	le := binary.LittleEndian
	copy(b[446:], "\x00\x00\x02\x00\xee\xff\xff\xff\x01\x00\x00\x00\xff\x07\x00\x00")
	copy(b[510:], "\x55\xaa")
	entries := make([]byte, count*128)
	for i, p := range parts {
		e := entries[i*128:]
		copy(e, "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4") // Linux
		copy(e[16:], guid)
		e[16] = byte(i)
		le.PutUint64(e[32:], p.first)
		le.PutUint64(e[40:], p.last)
		copy(e[56:], "p\x00a\x00r\x00t\x00")
		copy(b[p.first*512:], p.content)
	}
	for _, c := range [][3]uint64{{1, sectors - 1, 2}, {sectors - 1, 1, sectors - 33}} {
		h := b[c[0]*512:][:92]
		copy(h, "EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00")
		for at, v := range map[int]uint64{24: c[0], 32: c[1], 40: 34, 48: sectors - 34, 72: c[2]} {
			le.PutUint64(h[at:], v)
		}
		copy(h[56:], guid)
		le.PutUint32(h[80:], count)
		le.PutUint32(h[84:], 128)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
		copy(b[c[2]*512:], entries)
	}
	return string(b)
}

// luksHeader is the beginning of a LUKS1 container.
func luksHeader(uuid string) string {
	b := make([]byte, 4096)
	copy(b, "LUKS\xba\xbe\x00\x01")
	binary.BigEndian.PutUint32(b[104:], 4096)
	copy(b[168:], uuid)
	return string(b)
}

// swapArea is the beginning of a swap area of 64 KiB.
func swapArea(label string) string {
	b := make([]byte, 4096)
	binary.LittleEndian.PutUint32(b[1024:], 1)
	binary.LittleEndian.PutUint32(b[1028:], 15)
	copy(b[1036:], "0123456789abcdef")
	copy(b[1052:], label)
	copy(b[4086:], "SWAPSPACE2")
	return string(b)
}
