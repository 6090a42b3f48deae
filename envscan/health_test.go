package envscan

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/victorinix/vic/envscan/smart"
)

// fakeDrive answers without a disk.
type fakeDrive struct {
	asleep   bool
	powerErr error
	report   smart.Report
	err      error
	hang     chan struct{} // if any, it answers nothing before that is closed
}

func (f fakeDrive) Asleep() (bool, error) {
	if f.hang != nil {
		<-f.hang
	}
	return f.asleep, f.powerErr
}
func (f fakeDrive) Report() (smart.Report, error) { return f.report, f.err }
func (f fakeDrive) Close() error                  { return nil }

// health of a machine with one disk, which is said to be live.
type healthTest struct {
	drive  fakeDrive
	openAs error // what opening it for questions says
	attrs  tree  // of the disk's device
	usb    bool
	wake   bool

	read     bool // its content was
	opened   bool // for questions
	smart    *SMART
	counters bool
	gaps     []string // fact without the disk, and need
}

func (h healthTest) run(t *testing.T) {
	tr := base("")
	devPath := "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0"
	if h.usb {
		devPath = "pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host0/target0:0:0/0:0:0:0"
	}
	tr.disk("sda", devPath, "8:0", "2048", nil)
	tr["dev/sda"] = gptDisk("0123456789abcdef")
	for k, v := range h.attrs {
		tr["sys/devices/"+devPath+"/"+k] = v
	}
	s := tr.on(t)
	s.wake = h.wake
	read, opened := false, false
	s.open = func(path string) (device, error) {
		read = true
		return openDevice(path)
	}
	disks, _, healths := s.devices(t.Context(), []string{"sda"}, func(_ string, p smart.Protocol) (drive, error) {
		opened = true
		if p != smart.ATA {
			t.Errorf("asked in %s", p)
		}
		return h.drive, h.openAs
	})
	if read != h.read || (disks[0].Table != nil) != h.read {
		t.Errorf("read %v, want %v", read, h.read)
	}
	if opened != h.opened {
		t.Errorf("opened %v, want %v", opened, h.opened)
	}
	if !reflect.DeepEqual(disks[0].SMART, h.smart) || (len(healths) > 0) != h.counters {
		t.Errorf("SMART %+v %+v, want %+v", disks[0].SMART, healths, h.smart)
	}
	var gaps []string
	for _, g := range s.sortedGaps() {
		gaps = append(gaps, strings.TrimPrefix(g.Fact+" "+g.Need, "hw.disk[name=sda]."))
	}
	if !slices.Equal(gaps, h.gaps) {
		t.Errorf("gaps %+v, want %q", s.gaps, h.gaps)
	}
}

func TestHealth(t *testing.T) {
	hours := int64(12)
	well := fakeDrive{report: smart.Report{Protocol: smart.ATA, Verdict: smart.OK, Counters: smart.Counters{PowerOnHours: &hours}}}
	worn := fakeDrive{report: smart.Report{Protocol: smart.ATA, Verdict: smart.Warning, Reasons: []string{"pending sectors: 3"}}}
	asleep := well
	asleep.asleep = true
	denied := &os.PathError{Op: "open", Path: "/dev/sda", Err: syscall.EPERM}
	ok := &SMART{Protocol: "ata", Verdict: "ok", Reasons: []string{}}
	suspended := tree{"power/runtime_status": "suspended\n"}
	for name, h := range map[string]healthTest{
		"well":             {drive: well, read: true, opened: true, smart: ok, counters: true},
		"worn":             {drive: worn, read: true, opened: true, smart: &SMART{Protocol: "ata", Verdict: "warning", Reasons: []string{"pending sectors: 3"}}, counters: true},
		"asleep":           {drive: asleep, opened: true, gaps: []string{"content --wake", "smart --wake"}},
		"asleep, woken":    {drive: asleep, wake: true, read: true, opened: true, smart: ok, counters: true},
		"suspended":        {drive: well, attrs: suspended, gaps: []string{"content --wake", "smart --wake"}},
		"suspended, woken": {drive: well, attrs: suspended, wake: true, read: true, opened: true, smart: ok, counters: true},
		"gives none":       {drive: fakeDrive{err: smart.ErrUnsupported}, read: true, opened: true},
		"does not say":     {drive: fakeDrive{powerErr: smart.ErrUnsupported, report: well.report}, read: true, opened: true, smart: ok, counters: true},
		"broken":           {drive: fakeDrive{err: syscall.EIO}, read: true, opened: true, gaps: []string{"smart "}},
		"power unknown":    {drive: fakeDrive{powerErr: syscall.EIO, report: well.report}, read: true, opened: true, gaps: []string{"smart "}},
		"power denied":     {drive: fakeDrive{powerErr: denied}, opened: true, gaps: []string{"content ", "smart "}},
		"not to be opened": {openAs: denied, read: true, opened: true, gaps: []string{"smart "}},
		"USB adapter":      {drive: well, usb: true, attrs: tree{"vpd_pg89": "\x00\x89"}, read: true, opened: true, smart: ok, counters: true},
		"unknown adapter":  {drive: well, usb: true, read: true, gaps: []string{"smart "}},
	} {
		t.Run(name, h.run)
	}
}

// TestSilentDisk: one that does not even say whether it sleeps is not read, and
// costs the time limit.
func TestSilentDisk(t *testing.T) {
	tr := base("")
	tr.disk("sda", "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0", "8:0", "2048", nil)
	s := tr.on(t)
	s.open = func(string) (device, error) { t.Error("read"); return nil, errors.New("no") }
	hang := make(chan struct{})
	defer close(hang)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errTimeout)
	defer cancel()
	s.devices(ctx, []string{"sda"}, func(string, smart.Protocol) (drive, error) { return fakeDrive{hang: hang}, nil })
	if len(s.gaps) != 2 || s.gaps[0].Why != errTimeout.Error() || s.gaps[1].Why != errTimeout.Error() {
		t.Errorf("gaps %v", s.gaps)
	}
}

// TestSleepingVolume: what is made from a sleeping disk is not read either.
func TestSleepingVolume(t *testing.T) {
	tr := base("")
	const sda = "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0"
	tr.disk("sda", sda, "8:0", "4096", tree{"holders/dm-0": "", "holders/dm-1": ""})
	for _, name := range []string{"dm-0", "dm-1"} {
		tr.disk(name, "virtual", "254:"+name[3:], "1024", nil)
	}
	tr["sys/devices/virtual/block/dm-0/slaves/sda"] = ""
	tr["sys/devices/virtual/block/dm-1/slaves/dm-0"] = ""
	s := tr.on(t)
	s.open = func(path string) (device, error) {
		t.Errorf("%s is read", filepath.Base(path))
		return nil, errors.New("no")
	}
	_, volumes, _ := s.devices(t.Context(), []string{"sda"}, func(string, smart.Protocol) (drive, error) { return fakeDrive{asleep: true}, nil })
	if len(volumes) != 2 {
		t.Errorf("volumes %+v", volumes)
	}
}

func TestWearAndFirmware(t *testing.T) {
	tr := base("")
	const mmc, nvme, sata = "platform/x.mmc/mmc_host/mmc0/mmc0:0001", "pci0000:00/0000:00:04.0/nvme/nvme0", "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0"
	tr.disk("mmcblk0", mmc, "179:0", "2048", nil)
	tr.disk("nvme0n1", nvme, "259:0", "2048", nil)
	tr.disk("sda", sata, "8:0", "2048", nil)
	tr["sys/devices/"+mmc+"/life_time"], tr["sys/devices/"+mmc+"/pre_eol_info"] = "0x02 0x0b\n", "0x01\n"
	tr["sys/devices/"+mmc+"/fwrev"] = "0x07\n"
	tr["sys/devices/"+nvme+"/firmware_rev"] = "1.0     \n"
	tr["sys/devices/"+sata+"/rev"] = "0001\n"
	s := tr.on(t)
	s.open = openDevice
	disks, _, healths := s.devices(t.Context(), []string{"mmcblk0", "nvme0n1", "sda"}, nil)
	if d := disks[0]; d.Firmware != "0x07" || d.SMART == nil || d.SMART.Verdict != "warning" || d.SMART.Protocol != "mmc" || *healths["mmcblk0"].Used != 110 {
		t.Errorf("eMMC: %+v %+v", d, d.SMART)
	}
	if disks[1].Firmware != "1.0" || disks[2].Firmware != "0001" || len(healths) != 1 {
		t.Errorf("firmware %q %q, healths %v", disks[1].Firmware, disks[2].Firmware, healths)
	}
}
