package envscan

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// virtioVM is what QEMU gives, with the RAM system in it.
func virtioVM() tree {
	tr := base("21 1 0:2 / / rw - rootfs rootfs rw\n22 21 0:20 / /sys/firmware/efi/efivars ro,nosuid - efivarfs efivarfs ro\n")
	tr["vic/request.json"] = "{}"
	tr["proc/sys/kernel/hostname"] = "(none)\n"
	tr["sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"] = "\x06\x00\x00\x00\x01"
	tr["sys/class/dmi/id/sys_vendor"] = "QEMU\n"
	tr["sys/class/dmi/id/product_name"] = "Standard PC (Q35 + ICH9, 2009)\n"
	tr["sys/class/dmi/id/product_uuid"] = "5D0F3C6E-6C0B-4C65-9D31-6B3F1C2A7E10\n"
	// In the other order than their places on the bus.
	tr.disk("vda", "pci0000:00/0000:00:05.0/virtio3", "254:0", "16777216", tree{"serial": "QM0002"})
	tr.disk("vdb", "pci0000:00/0000:00:04.0/virtio2", "254:16", "204800", tree{"serial": "QM0001", "ro": "1\n"})
	const scsi = "pci0000:00/0000:00:06.0/virtio4/host2/target2:0:1/2:0:1:0"
	tr.disk("sda", scsi, "8:0", "8388608", nil)
	tr["sys/devices/"+scsi+"/vpd_pg80"] = "\x00\x80\x00\x08scsi-one"
	tr["sys/devices/"+scsi+"/model"] = "QEMU HARDDISK   \n"
	tr["sys/devices/"+scsi+"/wwid"] = "t10.QEMU    QEMU HARDDISK   scsi-one\n"
	tr.disk("loop0", "virtual", "7:0", "100", nil)
	tr.disk("sr0", "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0", "11:0", "2097151", nil)
	tr["dev/vda"] = gptDisk("\x6e\x3c\x0f\x5d\x0b\x6c\x65\x4c\x9d\x31\x6b\x3f\x1c\x2a\x7e\x10")
	tr.nic("eth0", "pci0000:00/0000:00:03.0/virtio1", "virtio_net", "52:54:00:12:34:56", tree{})
	tr["sys/devices/pci0000:00/0000:00:03.0/virtio1/modalias"] = "virtio:d00000001v00001AF4\n"
	tr.nic("eth1", "pci0000:00/0000:00:02.0/virtio0", "virtio_net", "da:11:22:33:44:55", tree{"addr_assign_type": "1\n", "flags": "0x1002\n"})
	return tr
}

// laptop has NVMe with LVM on LUKS, wireless, and a USB stick.
func laptop() tree {
	tr := base("25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw\n" +
		"26 25 259:1 / /boot/efi rw - vfat /dev/nvme0n1p1 rw\n27 25 0:20 / /sys/firmware/efi/efivars rw,nosuid - efivarfs efivarfs rw\n" +
		"28 25 8:1 / /media/my\\040stick rw - vfat /dev/sda1 rw\n")
	tr["sys/firmware/efi/efivars/x"] = ""
	const nvme = "pci0000:00/0000:00:1d.0/0000:3d:00.0/nvme/nvme0"
	tr.disk("nvme0n1", nvme, "259:0", "1000215216", tree{"wwid": "eui.0025385b71b00b62\n"})
	rename(tr, nvme+"/block/nvme0n1", nvme+"/nvme0n1")
	tr["sys/block/nvme0n1"] = "-> ../devices/" + nvme + "/nvme0n1"
	n := "sys/devices/" + nvme + "/nvme0n1"
	tr[n+"/device"] = "-> ../../nvme0"
	tr["sys/devices/"+nvme+"/serial"] = "S4EWNX0M123456      \n"
	tr["sys/devices/"+nvme+"/model"] = "Samsung SSD 970 EVO Plus 500GB          \n"
	tr.partition(nvme+"/nvme0n1", "nvme0n1p1", "259:1", 1, 64, 64)
	tr.partition(nvme+"/nvme0n1", "nvme0n1p2", "259:2", 2, 128, 512)
	tr[n+"/nvme0n1p2/holders/dm-0"] = "-> ../../../../../../../virtual/block/dm-0"
	tr.disk("dm-0", "virtual", "254:0", "900000000", nil)
	tr.disk("dm-1", "virtual", "254:1", "800000000", nil)
	tr["sys/devices/virtual/block/dm-0/dm/uuid"] = "CRYPT-LUKS2-0123-crypt\n"
	tr["sys/devices/virtual/block/dm-0/holders/dm-1"] = "-> ../../dm-1"
	tr["sys/devices/virtual/block/dm-1/dm/uuid"] = "LVM-0123\n"
	tr["sys/devices/virtual/block/dm-0/dm/name"], tr["sys/devices/virtual/block/dm-1/dm/name"] = "crypt\n", "vg-root\n"
	tr["sys/devices/virtual/block/dm-0/slaves/nvme0n1p2"], tr["sys/devices/virtual/block/dm-1/slaves/dm-0"] = "", ""
	tr["dev/nvme0n1"] = gptDisk("ABCDEFGHIJKLMNOP", part{64, 127, swapArea("stale")}, part{128, 639, luksHeader("c0ffee00-0000-4000-8000-000000000001")})
	tr["dev/nvme0n1p1"] = swapArea("swap one") + strings.Repeat("\x00", 60<<10) // what the partition's own node says counts
	tr["dev/dm-1"] = swapArea("inside") + strings.Repeat("\x00", 60<<10)
	tr["dev/disk/by-id/nvme-Samsung_SSD_970_EVO_Plus_500GB_S4EWNX0M123456"] = "-> ../../nvme0n1"
	tr["dev/disk/by-path/pci-0000:3d:00.0-nvme-1"] = "-> ../../nvme0n1"
	tr["dev/disk/by-path/pci-0000:3d:00.0-nvme-1-part1"] = "-> ../../nvme0n1p1"
	tr["dev/mapper/vg-root"] = "-> ../dm-1"
	const usb = "pci0000:00/0000:00:14.0/usb2/2-3"
	tr["sys/devices/"+usb+"/idVendor"], tr["sys/devices/"+usb+"/serial"] = "0781\n", "4C530001230101\n"
	const stick = usb + "/2-3:1.0/host4/target4:0:0/4:0:0:0"
	tr.disk("sda", stick, "8:0", "60062500", tree{"removable": "1\n"})
	tr["sys/devices/"+stick+"/vpd_pg80"] = "\x00\x80\x00\x04junk"
	tr["sys/devices/"+stick+"/model"] = "Ultra           \n"
	tr.partition(stick+"/block/sda", "sda1", "8:1", 1, 8192, 60054308)
	tr.nic("wlp2s0", "pci0000:00/0000:00:1c.0/0000:02:00.0", "iwlwifi", "34:13:e8:00:00:01", tree{"phy80211/x": "", "addr_assign_type": "3\n"})
	tr.nic("enx00e04c680001", "pci0000:00/0000:00:14.0/usb2/2-1/2-1.4/2-1.4:1.0", "r8152", "00:e0:4c:68:00:01", tree{})
	tr["sys/class/net/br0"] = "-> ../../devices/virtual/net/br0"
	tr["sys/devices/virtual/net/br0/type"] = "1\n"
	return tr
}

// server has SATA disks on two controllers, RAID and swap, a card with two
// ports in one function, and no UEFI.
func server() tree {
	tr := base("25 1 9:0 / / rw - ext4 /dev/md0 rw\n")
	tr["proc/swaps"] += "/dev/sdb2                               partition\t1048572\t0\t-2\n"
	for i, d := range []struct{ name, dev, path, port, serial string }{
		{"sda", "8:0", "pci0000:00/0000:00:1f.2/ata7/host6/target6:0:0/6:0:0:0", "ata7", "WD-AAA"},
		{"sdb", "8:16", "pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0", "ata3", "WD-BBB"},
	} {
		tr.disk(d.name, d.path, d.dev, "7814037168", tree{"queue/rotational": "1\n", "queue/physical_block_size": "4096\n"})
		dir := "sys/devices/" + d.path
		tr[dir+"/model"] = "WDC WD40EFRX-68N\n"
		tr[dir+"/vpd_pg80"] = "\x00\x80\x00\x14            " + d.serial + "  "
		tr[dir+"/wwid"] = fmt.Sprintf("naa.50014ee2b1234%03d\n", i)
		tr["sys/devices/pci0000:00/0000:00:1f.2/"+d.port+"/ata_port/"+d.port+"/port_no"] = fmt.Sprintf("%d\n", 5-4*i)
		for n := 1; n <= 2; n++ {
			tr.partition(d.path+"/block/"+d.name, fmt.Sprintf("%s%d", d.name, n), fmt.Sprintf("8:%d", 16*i+n), n, uint64(n)*2048, 2048)
		}
		tr[dir+"/block/"+d.name+"/"+d.name+"1/holders/md0"] = "-> ../../../../../../../../../../virtual/block/md0"
	}
	tr.disk("md0", "virtual", "9:0", "7000000000", tree{"md/level": "raid1\n", "slaves/sda1": "", "slaves/sdb1": ""})
	tr.nic("eth0", "pci0000:00/0000:00:01.0/0000:01:00.0", "mlx4_en", "00:02:c9:00:00:02", tree{"dev_port": "1\n"})
	tr.nic("eth1", "pci0000:00/0000:00:01.0/0000:01:00.0", "mlx4_en", "00:02:c9:00:00:01", tree{})
	tr.nic("bond0", "virtual", "bonding", "00:02:c9:00:00:01", tree{})
	return tr
}

// rename moves what is below one path of /sys/devices to another.
func rename(tr tree, from, to string) {
	for path, content := range tr {
		if rest, ok := strings.CutPrefix(path, "sys/devices/"+from+"/"); ok {
			delete(tr, path)
			tr["sys/devices/"+to+"/"+rest] = content
		}
	}
}

func TestGolden(t *testing.T) {
	for name, tr := range map[string]tree{"virtio": virtioVM(), "laptop": laptop(), "server": server()} {
		t.Run(name, func(t *testing.T) {
			f, err := Scan(t.Context(), Config{Root: tr.write(t)})
			if err != nil {
				t.Fatal(err)
			}
			f.Scan.Version, f.Scan.Privileged, f.State.Time = "", false, ""
			got, err := json.MarshalIndent(f, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNetlinkWins(t *testing.T) {
	s := scanner{root: sysfs.Root(server().write(t)), links: func() (map[string]netLink, error) {
		return map[string]netLink{"eth1": {permanent: "00:02:c9:ff:ff:ff"}}, nil
	}}
	nics, _ := s.nics()
	if len(nics) != 2 || nics[0].Name != "eth1" || nics[0].HWAddr != "00:02:c9:ff:ff:ff" || nics[1].HWAddr != "00:02:c9:00:00:02" {
		t.Errorf("%+v", nics)
	}
}

func TestNetlinkFails(t *testing.T) {
	s := scanner{root: sysfs.Root(server().write(t)), links: func() (map[string]netLink, error) { return nil, errors.New("no such protocol") }}
	if nics, _ := s.nics(); len(nics) != 2 || len(s.gaps) != 1 || s.gaps[0].Path != "netlink" {
		t.Errorf("%+v %+v", nics, s.gaps)
	}
}

func TestHWAddr(t *testing.T) {
	tests := []struct{ permanent, current, assign, addr, from string }{
		{"02:00:00:00:00:01", "02:00:00:00:00:02", "3", "02:00:00:00:00:01", "permanent"},
		{"", "02:00:00:00:00:02", "0", "02:00:00:00:00:02", "permanent"},
		{"", "02:00:00:00:00:02", "1", "", "random"},
		{"", "02:00:00:00:00:02", "3", "", "assigned"},
		{"", "02:00:00:00:00:02", "2", "", "assigned"},
		{"", "00:00:00:00:00:00", "0", "", "none"},
		{"", "", "", "", "none"},
	}
	for _, tt := range tests {
		if addr, from := hwaddr(tt.permanent, tt.current, tt.assign); addr != tt.addr || from != tt.from {
			t.Errorf("%+v: %q %q", tt, addr, from)
		}
	}
}

func TestGaps(t *testing.T) {
	var s scanner
	s.gap("y", "/b", &fs.PathError{Op: "open", Path: "/b", Err: syscall.EACCES})
	s.gap("y", "/b", &fs.PathError{Op: "open", Path: "/b", Err: syscall.EACCES})
	s.gap("x", "/missing", fs.ErrNotExist)
	s.gap("x", "/a", errors.New("broken"))
	want := []Gap{{Fact: "x", Path: "/a", Why: "broken"}, {Fact: "y", Path: "/b", Why: "permission denied", Need: "root"}}
	if diff := cmp.Diff(want, s.sortedGaps()); diff != "" {
		t.Error(diff)
	}
}

// TestProbesStandAlone: one that hangs or crashes costs its own facts.
func TestProbesStandAlone(t *testing.T) {
	hang := prober{"hang", []string{"hw.gpu"}, func(context.Context, *scanner) func(*Facts) { select {} }}
	crash := prober{"crash", []string{"hw.usb"}, func(context.Context, *scanner) func(*Facts) { panic("boo") }}
	late := prober{"late", []string{"hw.pci"}, func(ctx context.Context, s *scanner) func(*Facts) {
		<-ctx.Done()
		s.gap("hw.pci", "/x", context.Cause(ctx))
		return func(f *Facts) { f.HW.PCI = []PCI{{Address: "0000:00:00.0"}} }
	}}
	var f Facts
	s := newScanner(Config{Root: t.TempDir()})
	s.runAll(t.Context(), 10*time.Millisecond, []prober{hang, crash, late}, &f)
	want := []Gap{
		{Fact: "hw.gpu", Path: "probe hang", Why: "it did not answer in time"},
		{Fact: "hw.pci", Path: "/x", Why: "it did not answer in time"},
		{Fact: "hw.usb", Path: "probe crash", Why: "a defect in vic, please report it: boo"},
	}
	if diff := cmp.Diff(want, s.sortedGaps()); diff != "" || len(f.HW.PCI) != 1 {
		t.Error(diff, f.HW.PCI)
	}
}

// TestOnly: what is asked for decides which probes run.
func TestOnly(t *testing.T) {
	for only, want := range map[string]string{"hw.nic": "nics wireless", "hw.nic.0.name": "nics", "hw.disk": "disks"} {
		var got []string
		for _, p := range chosen([]string{only}) {
			got = append(got, p.name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", only, got)
		}
	}
	if got := chosen([]string{"hw"}); len(got) < 4 {
		t.Errorf("hw: %d probes", len(got))
	}
}

// TestSlowDisk: a disk that never answers costs the time limit and no more.
func TestSlowDisk(t *testing.T) {
	tr := virtioVM()
	tr["dev/vdb"] = gptDisk("0123456789abcdef")
	root := tr.write(t)
	s := newScanner(Config{Root: root})
	s.open = func(path string) (device, error) {
		if filepath.Base(path) == "vda" {
			select {}
		}
		return openDevice(path)
	}
	f, err := s.scan(t.Context(), 50*time.Millisecond, nil)
	if err != nil || len(f.HW.Disk) != 3 || f.HW.Disk[0].Name != "vdb" || f.HW.Disk[0].TableGUID == "" {
		t.Fatalf("%+v %v", f, err)
	}
	gaps := slices.DeleteFunc(f.Scan.Gaps, func(g Gap) bool { return !strings.HasPrefix(g.Fact, "hw.disk") || strings.HasSuffix(g.Fact, ".smart") })
	if want := []Gap{{Fact: "hw.disk[name=vda].content", Path: "/dev/vda", Why: "it did not answer in time"}}; cmp.Diff(want, gaps) != "" {
		t.Error(cmp.Diff(want, gaps))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, Config{Root: root}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestScanOfNothing(t *testing.T) {
	if _, err := Scan(t.Context(), Config{Root: t.TempDir()}); err == nil {
		t.Error("an empty directory is no machine")
	}
}

// TestThisMachine only checks what every Linux has.
func TestThisMachine(t *testing.T) {
	f, err := Scan(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if f.HW.Arch == "" || f.HW.Memory.Total == 0 || f.HW.CPU.Count == 0 || f.OS.Kernel == "" || f.HW.Firmware.Type == "" {
		t.Errorf("%+v", f)
	}
	if os.Geteuid() == 0 || len(f.HW.Disk) == 0 {
		return
	}
	node := Gap{Fact: diskFact(f.HW.Disk[0].Name) + ".content", Path: sysfs.Node(f.HW.Disk[0].Name), Why: "permission denied", Need: "root"}
	if !slices.Contains(f.Scan.Gaps, node) {
		t.Errorf("no gap for %s: %+v", node.Path, f.Scan.Gaps)
	}
}

// TestUnprivileged runs TestThisMachine as nobody.
func TestUnprivileged(t *testing.T) {
	tooltest.Root(t)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	exe := filepath.Join(dir, "test")
	if err := os.WriteFile(exe, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestThisMachine$", "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestThisMachine") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRealDisk has the kernel's own disk, of an image that real programs made.
func TestRealDisk(t *testing.T) {
	tooltest.Root(t)
	img := filepath.Join(t.TempDir(), "img")
	run := func(stdin, name string, args ...string) string {
		t.Helper()
		out, err := tooltest.Need(t, name).Run(t.Context(), tool.Cmd{Name: name, Args: args, Stdin: strings.NewReader(stdin)})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out.Stdout))
	}
	run("", "truncate", "-s", "64M", img)
	run("label: gpt\nstart=2048, size=32M, name=one\nsize=8M, name=two\n", "sfdisk", "-q", img)
	run("", "mkfs.ext4", "-q", "-F", "-L", "root", "-E", "offset=1048576", img, "32M")
	dev := run("", "losetup", "--find", "--show", img)
	// A loop device keeps the partitions that an earlier user of it added.
	if out, err := exec.Command("partx", "--delete", dev).CombinedOutput(); err != nil {
		t.Logf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", dev).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	found, err := ScanDisks(t.Context(), Config{}, filepath.Base(dev))
	if err != nil || len(found.Disk) != 1 || len(found.Gaps) != 0 {
		t.Fatalf("%+v %v", found, err)
	}
	image, err := ScanImage(img)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []Disk{found.Disk[0], image} {
		if d.Size != 64<<20 || d.Table == nil || len(d.Table.Entries) != 2 || d.Table.Entries[0].Label != "one" || len(d.TableDamage) != 0 || d.TableGUID == "" || len(d.Partition) != 2 {
			t.Fatalf("%+v", d)
		}
		p := d.Partition[0]
		if len(p.Content) != 1 || p.Content[0].Type != "ext4" || p.Content[0].Label != "root" || p.Offset != 1<<20 || p.Size != 32<<20 || len(d.Partition[1].Content) != 0 {
			t.Errorf("%+v", d.Partition)
		}
	}
	if _, err := ScanImage(t.TempDir()); err == nil {
		t.Error("a folder is no image")
	}
}
