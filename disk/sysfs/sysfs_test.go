package sysfs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// system makes files below a new root; "-> x" is a link.
func system(t *testing.T, files map[string]string) Root {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
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
	return Root(root)
}

func TestBusPath(t *testing.T) {
	r := system(t, map[string]string{"sys/devices/pci0000:00/0000:00:1f.2/ata7/ata_port/ata7/port_no": "3\n"})
	for devPath, want := range map[string]string{
		"pci0000:00/0000:00:04.0/virtio2/block/vda":                                                               "pci-0000:00:04.0",
		"pci0000:00/0000:00:1d.0/0000:3d:00.0/nvme/nvme3/nvme3n2":                                                 "pci-0000:3d:00.0-nvme-2",
		"pci0000:00/0000:00:1f.2/ata7/host6/target6:0:0/6:0:0:0/block/sda":                                        "pci-0000:00:1f.2-ata-3",
		"pci0000:00/0000:00:1f.2/ata9/host8/target8:0:0/8:0:0:0/block/sda":                                        "pci-0000:00:1f.2-ata-9",
		"pci0000:00/0000:00:06.0/virtio4/host2/target2:0:1/2:0:1:5/block/sdc":                                     "pci-0000:00:06.0-scsi-0:0:1:5",
		"pci0000:00/0000:00:14.0/usb2/2-1/2-1.4/2-1.4:1.0/host4/target4:0:0/4:0:0:0/block/sda":                    "pci-0000:00:14.0-usb-0:1.4:1.0-scsi-0:0:0:0",
		"platform/emmc2bus/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0":                                    "platform-fe340000.mmc",
		"platform/scb/fd580000.ethernet":                                                                          "platform-fd580000.ethernet",
		"LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/00000000-0001-8899-0000-000000000000/host0/x/0:0:0:0/block": "vmbus-00000000-0001-8899-0000-000000000000-scsi-0:0:0:0",
		"platform/axi/1000120000.pcie/pci0001:00/0001:00:00.0/0001:01:00.0/nvme/nvme0/nvme0n1":                    "platform-1000120000.pcie-pci-0001:01:00.0-nvme-1",
		"platform/pnp0/block/x": "platform-pnp0",
		"vbd-51712/block/xvda":  "xen-vbd-51712",
		"something/else":        "something/else",
	} {
		if got := r.BusPath(devPath); got != want {
			t.Errorf("%s: %s, want %s", devPath, got, want)
		}
	}
}

func TestDisks(t *testing.T) {
	files := map[string]string{}
	for name, devPath := range map[string]string{
		"vda": "pci0000:00/0000:00:04.0/virtio2/block/vda", "vdb": "pci0000:00/0000:00:03.0/virtio1/block/vdb",
		"mmcblk0": "platform/x.mmc/mmc0/block/mmcblk0", "mmcblk0boot0": "platform/x.mmc/mmc0/block/mmcblk0boot0",
		"sr0": "pci0000:00/ata1/block/sr0", "loop0": "virtual/block/loop0", "zram0": "virtual/block/zram0",
		"nvme0n1": "virtual/nvme-subsystem/nvme-subsys0/nvme0n1", "sdx": "pci0000:00/0000:00:09.0/block/sdx",
	} {
		files["sys/block/"+name] = "-> ../devices/" + devPath
		files["sys/devices/"+devPath+"/size"] = "2048\n"
		if !strings.HasPrefix(devPath, "virtual/block") {
			files["sys/devices/"+devPath+"/device/x"] = ""
		}
	}
	files["sys/devices/pci0000:00/0000:00:09.0/block/sdx/size"] = "0\n" // a card reader without a card
	files["sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0"] = "-> ../../../pci0000:00/0000:00:02.0/nvme/nvme0"
	r := system(t, files)
	got, err := r.Disks()
	if want := []string{"nvme0n1", "vdb", "vda", "mmcblk0"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	d, err := r.Disk("nvme0n1")
	if err != nil || d.Path != "pci-0000:00:02.0-nvme-1" || d.Transport != "nvme" || d.Size != 1<<20 || d.SectorSize != 512 {
		t.Errorf("%+v %v", d, err)
	}
	for _, name := range []string{"", ".", "../block/vda", "vdz"} {
		if d, err := r.Disk(name); err == nil {
			t.Errorf("%q: %+v", name, d)
		}
	}
}

func TestUnitSerial(t *testing.T) {
	for page, want := range map[string]string{
		"":                           "",
		"\x00\x80\x00":               "",
		"\x00\x80\x00\x06  AB1 ":     "AB1",
		"\x00\x80\xff\xffAB1":        "AB1", // a length that is not true
		"\x00\x83\x00\x03AB1":        "",
		"\x00\x80\x00\x04AB\x00\x00": "AB",
	} {
		if got := unitSerial([]byte(page)); got != want {
			t.Errorf("%q: %q, want %q", page, got, want)
		}
	}
}

func TestInUseBtrfsAndLoop(t *testing.T) {
	r := system(t, map[string]string{
		"proc/self/mountinfo":               "25 1 0:30 /@ / rw - btrfs /dev/sda1 rw\n",
		"sys/block/sda/dev":                 "8:0\n",
		"sys/block/sda/sda1/dev":            "8:1\n",
		"sys/block/sda/sda1/partition":      "1\n",
		"sys/block/sda/sda2/dev":            "8:2\n",
		"sys/block/sda/sda2/partition":      "2\n",
		"sys/block/loop3/dev":               "7:3\n",
		"sys/block/loop3/loop/backing_file": "/dev/sda2\n",
	})
	got, err := r.InUse("sda")
	if want := []string{"/dev/sda1 mounted on /", "/dev/sda2 held by loop3"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q %v", got, err)
	}
	if _, err := r.InUse("sdb"); err == nil {
		t.Error("a disk that is not there is not in use")
	}
}

func TestMounts(t *testing.T) {
	r := system(t, map[string]string{"proc/self/mountinfo": `29 1 253:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
36 29 0:32 /@home/a\040b /mnt/with\040space rw master:1 - btrfs /dev/vdb rw,subvol=/@home
`})
	got, err := r.Mounts()
	want := []Mount{{"29", "253:1", "/", "/", "rw,relatime", "ext4", "/dev/vda1"}, {"36", "0:32", "/@home/a b", "/mnt/with space", "rw", "btrfs", "/dev/vdb"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestSwaps(t *testing.T) {
	const head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	for text, want := range map[string][]Swap{
		"":   nil,
		head: nil,
		head + "/dev/dm-1  partition\t999420\t\t3\t\t-2\n/swap\\040file  file\t1024\t\t0\t\t5\n": {{"/dev/dm-1", false, 3 << 10, -2}, {"/swap file", true, 0, 5}},
	} {
		got, err := system(t, map[string]string{"proc/swaps": text}).Swaps()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
	for _, line := range []string{"/dev/sda1\n", "/dev/sda1 partition 1 x -2\n", "/swap file 1 0 x\n", "/swap file 1 0\n"} {
		if got, err := system(t, map[string]string{"proc/swaps": head + line}).Swaps(); err == nil {
			t.Errorf("%q: %+v", line, got)
		}
	}
	if got, err := system(t, map[string]string{"proc/self/x": ""}).Swaps(); got != nil || err != nil {
		t.Errorf("a kernel without swap: %v %v", got, err)
	}
}

func TestAvailable(t *testing.T) {
	n, err := system(t, map[string]string{"proc/meminfo": "MemTotal: 8 kB\nMemAvailable:     2048 kB\n"}).Available()
	if err != nil || n != 2<<20 {
		t.Errorf("%d %v", n, err)
	}
	for _, text := range []string{"MemTotal: 8 kB\n", "MemAvailable: x kB\n"} {
		if n, err := system(t, map[string]string{"proc/meminfo": text}).Available(); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
}

func TestMountsMalformed(t *testing.T) {
	r := system(t, map[string]string{"proc/self/mountinfo": "25 1 0:30\n"})
	if m, err := r.Mounts(); err == nil {
		t.Errorf("%+v", m)
	}
}
