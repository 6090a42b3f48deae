package envscan

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/envscan/smart"
)

// drive is an open disk that can be asked for its health.
type drive interface {
	Asleep() (bool, error)
	Report() (smart.Report, error)
	Close() error
}

type openDrive func(path string, p smart.Protocol) (drive, error)

func openSMART(path string, p smart.Protocol) (drive, error) { return smart.Open(path, p) }

// checkup is a disk that is being asked for its health. All are at once, as
// their answers may never come.
type checkup struct {
	disk     Disk
	protocol smart.Protocol
	power    chan error // once: nil, errSleeping, or what went wrong
	report   chan reported
}

type reported struct {
	smart.Report
	err error
}

var (
	errSleeping = errors.New("the disk sleeps, and to ask it would wake it")
	errCaptured = errors.New("only a disk of the running system can be asked")
	errBridge   = errors.New("its USB adapter does not say that it passes questions on, and some hang at them")
)

// powerTime is how long a disk has to say whether it sleeps: one that is there
// says so at once, and nothing is read before.
const powerTime = 3 * time.Second

// check begins to ask a disk, or finds out that there is nothing to ask. What it
// returns is not nil.
func (s *scanner) check(d Disk, open openDrive) *checkup {
	c := &checkup{disk: d, power: make(chan error, 1), report: make(chan reported, 1)}
	var err error
	c.protocol, err = s.protocol(d)
	switch {
	case err == nil && c.protocol == smart.MMC:
		c.power <- nil
		c.report <- s.wear(d)
	case err == nil && c.protocol != "" && open == nil:
		c.power <- nil
		c.report <- reported{err: errCaptured}
	case open != nil && !s.wake && s.suspended(d): // to open it would resume it
		c.power <- errSleeping
		c.report <- reported{err: errSleeping}
	case err != nil || c.protocol == "":
		c.power <- nil
		c.report <- reported{err: errors.Join(err)}
	default:
		go c.ask(s.root.Path(sysfs.Node(d.Name)), open, s.wake)
	}
	return c
}

// ask does not touch the scanner, which may have stopped waiting.
func (c *checkup) ask(path string, open openDrive, wake bool) {
	d, err := open(path, c.protocol)
	if err != nil {
		c.power <- nil // who may not open it cannot read it either
		c.report <- reported{err: err}
		return
	}
	defer d.Close() // it was only read
	if !wake {
		err = sleeps(d)
	}
	if errors.Is(err, errSleeping) || errors.Is(err, fs.ErrPermission) {
		c.power <- err
	} else {
		c.power <- nil // what does not know the question is read like any disk
	}
	var r smart.Report
	if err == nil {
		r, err = d.Report()
	}
	c.report <- reported{r, err}
}

// sleeps is errSleeping, or what went wrong with asking.
func sleeps(d drive) error {
	asleep, err := d.Asleep()
	switch {
	case asleep:
		return errSleeping
	case errors.Is(err, smart.ErrUnsupported):
		return nil
	}
	return err
}

// awake waits until the disk has said whether it may be read, and notes why not.
func (s *scanner) awake(ctx context.Context, c *checkup) bool {
	wait, cancel := context.WithTimeoutCause(ctx, powerTime, errTimeout)
	defer cancel()
	var err error
	select {
	case err = <-c.power:
	case <-wait.Done():
		err = context.Cause(wait)
	}
	s.healthGap(c, ".content", err)
	return err == nil
}

// health waits for the report and puts it where it belongs; null is a disk that
// gives none.
func (s *scanner) health(ctx context.Context, c *checkup, d *Disk) (Health, bool) {
	var got reported
	select {
	case got = <-c.report:
	case <-ctx.Done():
		select {
		case got = <-c.report:
		default:
			got.err = context.Cause(ctx)
		}
	}
	if got.err != nil || got.Protocol == "" {
		if !errors.Is(got.err, smart.ErrUnsupported) {
			s.healthGap(c, ".smart", got.err)
		}
		return Health{}, false
	}
	d.SMART = &SMART{Protocol: string(got.Protocol), Verdict: got.Verdict, Reasons: append([]string{}, got.Reasons...)}
	return Health(got.Counters), true
}

func (s *scanner) healthGap(c *checkup, field string, err error) {
	fact, path := diskFact(c.disk.Name)+field, sysfs.Node(c.disk.Name)
	if errors.Is(err, errSleeping) {
		s.gaps = append(s.gaps, Gap{Fact: fact, Path: path, Why: err.Error(), Need: "--wake"})
		return
	}
	s.gap(fact, path, err)
}

// protocol is what a disk is asked in: none of those that a hypervisor has made
// up. A disk behind USB is asked in ATA when its adapter has told the kernel of
// an ATA disk behind it, and not at all otherwise.
func (s *scanner) protocol(d Disk) (smart.Protocol, error) {
	dir := "/sys/block/" + d.Name + "/device"
	switch d.Transport {
	case "nvme":
		return smart.NVMe, nil
	case "mmc":
		return smart.MMC, nil
	case "sata":
		return smart.ATA, nil
	case "usb", "scsi":
	default:
		return "", nil
	}
	vendor, err := s.root.Text(dir, "vendor")
	s.gap(diskFact(d.Name)+".smart", dir+"/vendor", err)
	switch {
	case vendor == "ATA" && d.Transport == "scsi", s.exists(dir + "/vpd_pg89"):
		return smart.ATA, nil
	case d.Transport == "scsi":
		return smart.SCSI, nil
	case d.Removable: // a stick or a card
		return "", nil
	}
	return "", errBridge
}

// suspended: the kernel has switched the disk off.
func (s *scanner) suspended(d Disk) bool {
	for _, dir := range []string{"device", "device/device"} {
		status, err := s.root.Text("sys/block", d.Name, dir, "power/runtime_status")
		if err == nil && strings.HasPrefix(status, "suspend") {
			return true
		}
	}
	return false
}

// wear is what the kernel read of an eMMC when it found it; an SD card has no
// such registers.
func (s *scanner) wear(d Disk) reported {
	dir := "/sys/block/" + d.Name + "/device"
	life := strings.Fields(s.text(diskFact(d.Name)+".smart", dir+"/life_time"))
	if len(life) != 2 {
		return reported{}
	}
	r, ok := smart.Wear(register(life[0]), register(life[1]), register(s.text(diskFact(d.Name)+".smart", dir+"/pre_eol_info")))
	if !ok {
		return reported{}
	}
	return reported{Report: r}
}

// register is a byte as the kernel writes it: 0x01. What is none is 0, unknown.
func register(text string) uint8 {
	n, err := strconv.ParseUint(text, 0, 8)
	if err != nil {
		return 0
	}
	return uint8(n)
}

// firmwareOf is the revision of the disk's own program.
func (s *scanner) firmwareOf(d Disk) string {
	dir, fact := "/sys/block/"+d.Name+"/device", diskFact(d.Name)+".firmware"
	switch d.Transport {
	case "nvme":
		return s.text(fact, dir+"/firmware_rev")
	case "mmc":
		return s.text(fact, dir+"/fwrev")
	case "virtio", "xen", "virtual":
		return ""
	}
	page, err := s.root.ReadFile(dir, "vpd_pg89")
	s.gap(fact, dir+"/vpd_pg89", err)
	if rev := smart.IdentifyFirmware(page); rev != "" {
		return rev
	}
	return s.text(fact, dir+"/rev")
}
