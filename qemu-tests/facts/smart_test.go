package facts

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// hardware is a machine with a disk of each kind (two of them ill), a screen, and
// USB behind a hub. Its disks have nothing behind them.
var hardware = []string{
	"nvme,serial=well,drive=d0,addr=0x10", "nvme,serial=failing,drive=d1,addr=0x11,smart_critical_warning=12", "nvme,serial=hot,drive=d2,addr=0x12,smart_critical_warning=2",
	"ide-hd,serial=sata,drive=d3,bus=ide.0", "ide-hd,serial=asleep,drive=d4,bus=ide.1",
	"virtio-scsi-pci,id=scsi,addr=0x13", "scsi-hd,serial=scsi,drive=d5,bus=scsi.0", "virtio-blk-pci,serial=virtio,drive=d6,addr=0x14",
	"qemu-xhci,id=usb,addr=0x15", "usb-hub,bus=usb.0,port=2", "usb-tablet,bus=usb.0,port=2.3,serial=tablet", "usb-storage,bus=usb.0,port=1,serial=usb,drive=d7,removable=on",
	"VGA,addr=0x16,edid=on,xres=1280,yres=800", "virtio-net-pci,mac=52:54:00:76:69:17,netdev=n0,addr=0x17",
}

var (
	hardwareModules = []string{"nvme", "ahci", "sd_mod", "virtio_pci", "virtio_scsi", "virtio_blk", "xhci_pci", "usbhid", "hid_generic", "usb_storage", "bochs", "virtio_console", "virtio_net"}
	hardwareTools   = []string{"smartctl", "lspci", "lsusb", "lsblk", "strace", "lshw", "dmidecode"}
)

// hardwareCommands are what the machine runs: see package hardware.
const hardwareCommands = `dump	vic-env dump --timeout 60s
again	vic-env dump --timeout 60s
opened	strace -f -e signal=none -e trace=open,openat -P /dev/nvme0n1 -P /dev/nvme1n1 -P /dev/sda -P /dev/sdb -P /dev/sdc -P /dev/sdd -P /dev/vda vic-env dump --timeout 60s --output /tmp/facts
lspci	lspci -Dn
lsusb	lsusb
lsblk	lsblk -J -b -d -o NAME,SIZE
nvme0	smartctl -j -a /dev/nvme0n1
nvme1	smartctl -j -a /dev/nvme1n1
nvme2	smartctl -j -a /dev/nvme2n1
sata	smartctl -j -a SATA
dmidecode	dmidecode
lshw	lshw -json -quiet
woken	vic-env dump --wake --timeout 60s
`

// disksOfHardware are those among the devices.
const disksOfHardware = 8

func TestHardware(t *testing.T) {
	lab.Need(t)
	out := runHardware(t)
	facts := decodeFacts(t, out["dump"])
	checkDisks(t, facts, decodeFacts(t, out["woken"]), out)
	checkSmartctl(t, facts, out)
	checkBuses(t, facts, out)
	checkDMI(t, facts, out["dmidecode"])
	checkLSHW(t, facts, out["lshw"])
	checkCost(t, out)
	again := decodeFacts(t, out["again"])
	again.State, facts.State = envscan.State{}, envscan.State{}
	if a, b := factsText(t, facts), factsText(t, again); a != b {
		t.Errorf("two runs differ:\n%s\n%s", a, b)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// runHardware boots the machine, and returns what the commands printed, by name.
func runHardware(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	kernel, modules, release := lab.Kernel(t, "generic")
	buildGo(t, filepath.Join(dir, "init"), "build", "./hardware")
	buildGo(t, filepath.Join(dir, "vic-env"), "build", "github.com/victorinix/vic/cmd/vic-env")
	files := []initramfs.File{
		initramfs.Regular("modules", 0o644, []byte(strings.Join(hardwareModules, "\n"))), initramfs.Regular("commands", 0o644, []byte(hardwareCommands)),
		fileOf(t, filepath.Join(dir, "init"), "init"), fileOf(t, filepath.Join(dir, "vic-env"), "usr/bin/vic-env"),
	}
	for _, path := range withLibraries(t, hardwareTools) {
		files = append(files, fileOf(t, path, merged(path)))
	}
	files = append(files, initramfs.Symlink("lib64", "usr/lib64"))
	var archive bytes.Buffer
	c := initramfs.Config{Modules: os.DirFS(modules), Release: release, Sets: hardwareModules, Files: files, Time: builder.DefaultTime}
	if _, err := initramfs.Write(&archive, c); err != nil {
		t.Fatal(err)
	}
	initrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var extra []string
	extra = append(extra, "-netdev", "user,id=n0,restrict=on")
	for _, table := range hardwareSMBIOS {
		extra = append(extra, "-smbios", table)
	}
	for i := range disksOfHardware {
		extra = append(extra, "-blockdev", fmt.Sprintf("driver=null-co,node-name=d%d,size=%d,read-zeroes=on", i, (i+1)<<26))
	}
	for _, d := range hardware {
		extra = append(extra, "-device", d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	said := filepath.Join(dir, "said")
	m := vm.Start(t, vm.Config{
		Name: "hardware", MemoryMiB: 512, Kernel: kernel, Initrd: []string{initrd}, NoReboot: true, Extra: append(extra, lab.Port("facts", said)...),
		Cmdline: fmt.Sprintf("console=ttyS0 quiet loglevel=0 panic=-1 hardware.disks=%d", disksOfHardware),
	})
	if err := m.Wait(ctx); err != nil {
		t.Fatalf("%v\n%s", err, m.ConsoleTail(40))
	}
	if strings.Contains(m.Console(), "BROKEN ") {
		t.Fatal(m.ConsoleTail(10))
	}
	text, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	return parts(string(text))
}

func decodeFacts(t *testing.T, text string) (f envscan.Facts) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return f
}

func factsText(t *testing.T, f envscan.Facts) string {
	t.Helper()
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkDisks: what is ill is said to be, what is virtual is not judged, and what
// sleeps sleeps on.
func checkDisks(t *testing.T, facts, woken envscan.Facts, out map[string]string) {
	t.Helper()
	const asleep = "nothing"
	want := map[string]string{
		"well": "nvme ok []", "failing": "nvme failing [it says that it is no longer reliable it has become read-only]",
		"hot": "nvme warning [temperature beyond its limits: 50 °C]", "sata": "ata ok []", "asleep": asleep, "scsi": asleep, "virtio": asleep, "usb": asleep,
	}
	verdicts := func(f envscan.Facts) map[string]string {
		got := map[string]string{}
		for _, d := range f.HW.Disk {
			got[d.Serial] = asleep
			if d.SMART != nil {
				got[d.Serial] = fmt.Sprintf("%s %s %v", d.SMART.Protocol, d.SMART.Verdict, d.SMART.Reasons)
			}
		}
		return got
	}
	check := func(name string, got map[string]string) {
		for serial := range want {
			if got[serial] != want[serial] {
				t.Errorf("%s: disk %s: %q, want %q", name, serial, got[serial], want[serial])
			}
		}
	}
	check("as it is", verdicts(facts))
	want["asleep"] = "ata ok []"
	check("woken", verdicts(woken))
	for _, name := range []string{"dump", "again", "opened"} {
		if got := strings.TrimSpace(out["power after "+name]); got != "suspended" {
			t.Errorf("the sleeping disk is %s after %s", got, name)
		}
	}
	var sleeping []string
	for _, g := range facts.Scan.Gaps {
		if g.Need == "--wake" {
			sleeping = append(sleeping, g.Fact[strings.LastIndex(g.Fact, ".")+1:])
		}
	}
	if !slices.Equal(sleeping, []string{"content", "smart"}) {
		t.Errorf("gaps of what sleeps: %v", facts.Scan.Gaps)
	}
	if n := strings.Count(out["opened"], "O_RDONLY"); n < 6 || strings.Contains(out["opened"], "O_WRONLY") || strings.Contains(out["opened"], "O_RDWR") {
		t.Errorf("disks are opened so:\n%s", out["opened"])
	}
}

// checkSmartctl compares the counters with those that smartctl prints.
func checkSmartctl(t *testing.T, facts envscan.Facts, out map[string]string) {
	t.Helper()
	type report struct {
		Device      struct{ Name string }
		Firmware    string                  `json:"firmware_version"`
		Status      struct{ Passed bool }   `json:"smart_status"`
		Temperature struct{ Current int64 } `json:"temperature"`
		Hours       struct{ Hours int64 }   `json:"power_on_time"`
		Cycles      int64                   `json:"power_cycle_count"`
		NVMe        *struct {
			Used    int64 `json:"percentage_used"`
			Read    int64 `json:"data_units_read"`
			Written int64 `json:"data_units_written"`
			Unsafe  int64 `json:"unsafe_shutdowns"`
			Media   int64 `json:"media_errors"`
		} `json:"nvme_smart_health_information_log"`
	}
	for _, name := range []string{"nvme0", "nvme1", "nvme2", "sata"} {
		var r report
		if err := json.Unmarshal([]byte(out[name]), &r); err != nil {
			t.Errorf("smartctl of %s: %v\n%s", name, err, out[name])
			continue
		}
		kernel := strings.TrimPrefix(r.Device.Name, "/dev/")
		i := slices.IndexFunc(facts.HW.Disk, func(d envscan.Disk) bool { return d.Name == kernel })
		h, ok := facts.State.Disk[kernel]
		if i < 0 || !ok {
			t.Errorf("%s: no counters", kernel)
			continue
		}
		d := facts.HW.Disk[i]
		// smartctl has no warning: what is only too hot has failed for it.
		if passed := d.SMART.Verdict == "ok"; passed != r.Status.Passed {
			t.Errorf("%s: %s, smartctl says passed: %v", kernel, d.SMART.Verdict, r.Status.Passed)
		}
		got := fmt.Sprintln(d.Firmware, counted(h.Temperature), counted(h.PowerOnHours), counted(h.PowerCycles))
		want := fmt.Sprintln(r.Firmware, r.Temperature.Current, r.Hours.Hours, r.Cycles)
		if r.NVMe != nil {
			// What was read by the scans in between counts too.
			got += fmt.Sprintln(counted(h.Used), counted(h.Written), counted(h.UnsafeCutOffs), counted(h.MediaErrors), counted(h.Read) <= r.NVMe.Read*512000)
			want += fmt.Sprintln(r.NVMe.Used, r.NVMe.Written*512000, r.NVMe.Unsafe, r.NVMe.Media, true)
		}
		if got != want {
			t.Errorf("%s: %q, smartctl has %q", kernel, got, want)
		}
	}
}

// counted is a counter, -1 for none.
func counted(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}

// checkBuses compares with lspci, lsusb and lsblk, and looks at what they do not
// show.
func checkBuses(t *testing.T, facts envscan.Facts, out map[string]string) {
	t.Helper()
	var pci, usb []string
	for _, p := range facts.HW.PCI {
		rev := ""
		if p.Revision != "00" {
			rev = " (rev " + p.Revision + ")"
		}
		pci = append(pci, fmt.Sprintf("%s %s: %s:%s%s", p.Address, p.Class[:4], p.Vendor, p.Device, rev))
	}
	sameLists(t, "lspci", pci, regexp.MustCompile(`(?m)^[0-9a-f]{4}:\S+ [0-9a-f]{4}: [0-9a-f:]{9}( \(rev ..\))?`).FindAllString(out["lspci"], -1))
	for _, u := range facts.HW.USB {
		usb = append(usb, "ID "+u.Vendor+":"+u.Product)
	}
	sameLists(t, "lsusb", usb, regexp.MustCompile(`ID [0-9a-f]{4}:[0-9a-f]{4}`).FindAllString(out["lsusb"], -1))
	if i := slices.IndexFunc(facts.HW.USB, func(u envscan.USB) bool { return strings.HasSuffix(u.Port, "-2.3") }); i < 0 ||
		facts.HW.USB[i].Path != "pci-0000:00:15.0-usb-0:2.3" || !slices.Equal(facts.HW.USB[i].Driver, []string{"usbhid"}) {
		t.Errorf("tablet behind a hub: %+v", facts.HW.USB)
	}
	if g := facts.HW.GPU; len(g) != 1 || g[0].Path != "pci-0000:00:16.0" || !strings.HasPrefix(g[0].Driver, "bochs") || g[0].Card == "" {
		t.Errorf("graphics: %+v", g)
	}
	if d := facts.HW.Display; len(d) != 1 || d[0].Maker != "RHT" || d[0].Model != "QEMU Monitor" || d[0].Mode != "1280x800" || len(d[0].Modes) < 3 {
		t.Errorf("screen: %+v", d)
	}
	for _, module := range []string{"nvme", "ahci", "xhci_pci", "virtio_scsi", "usbhid", "bochs"} {
		if !slices.Contains(facts.HW.Module, module) {
			t.Errorf("%s is none of the modules %v", module, facts.HW.Module)
		}
	}
	const sensor = "pci-0000:00:10.0/nvme/temp1"
	if v := facts.State.Sensors[sensor]; v != 49.85 { // QEMU's 323 K
		t.Errorf("sensors %+v %v", facts.HW.Sensor, facts.State.Sensors)
	}
	var blocks struct {
		BlockDevices []struct {
			Name, Serial, Rev string
			Size              int64
		}
	}
	if err := json.Unmarshal([]byte(out["lsblk"]), &blocks); err != nil {
		t.Fatal(err)
	}
	var ours, theirs []string
	for _, d := range facts.HW.Disk {
		ours = append(ours, fmt.Sprint(d.Name, " ", d.Size))
	}
	for _, d := range blocks.BlockDevices {
		theirs = append(theirs, fmt.Sprint(d.Name, " ", d.Size))
	}
	sameLists(t, "lsblk", ours, theirs)
}

func sameLists(t *testing.T, tool string, ours, theirs []string) {
	t.Helper()
	slices.SortFunc(ours, cmp.Compare)
	slices.SortFunc(theirs, cmp.Compare)
	if len(ours) == 0 || !slices.Equal(ours, theirs) {
		t.Errorf("%s: %q, ours: %q", tool, theirs, ours)
	}
}
