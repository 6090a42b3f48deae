package lab

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab/watch"
	"github.com/victorinix/vic/qemu-tests/vm"
)

const (
	// User is who can log in to installed systems, and become root.
	User = "anna"
	// Password is the user's: the secret that must not be found anywhere.
	Password = "canary-Zw3nty5-in-the-mine"
	// DiskSize is the size of a disk that is installed onto, unless a Target
	// says otherwise.
	DiskSize = 8 << 30
)

// Spec says what is installed: Debian, with a user and an SSH key.
type Spec struct {
	Name     string   // its folder, and how a test speaks of it; default FIRMWARE-SECTOR
	Firmware string   // "uefi" or "bios"
	Sector   int      // bytes, of disks that do not say otherwise; default 512
	Disks    []Target // default: one, without a name
	Args     []string // more arguments of vic install: --layout FILE, -o, -s
	Prove    bool     // vic is to boot the disk too
}

// Target is a disk that is installed onto.
type Target struct {
	Name   string // in the layout; empty: the layout's only disk
	Size   int64  // bytes; default DiskSize
	Sector int    // bytes; default that of the Spec
	// Path is an image that is there already; empty: a blank disk is made.
	Path string
}

func (s Spec) String() string { return s.Name }

// withDefaults fills in what was left out.
func (s Spec) withDefaults() Spec {
	s.Sector = cmp.Or(s.Sector, 512)
	s.Name = cmp.Or(s.Name, fmt.Sprintf("%s-%d", s.Firmware, s.Sector))
	if s.Disks = slices.Clone(s.Disks); len(s.Disks) == 0 {
		s.Disks = []Target{{}}
	}
	for i := range s.Disks {
		d := &s.Disks[i]
		d.Size, d.Sector = cmp.Or(d.Size, DiskSize), cmp.Or(d.Sector, s.Sector)
	}
	return s
}

// flag is the value of --disk for an image at path.
func (d Target) flag(path string) string {
	v := fmt.Sprintf("%s,sector=%d", path, d.Sector)
	if d.Path == "" {
		v = fmt.Sprintf("%s,size=%d,sector=%d", path, d.Size, d.Sector)
	}
	if d.Name != "" {
		v = d.Name + "=" + v
	}
	return v
}

// System is what was installed.
type System struct {
	Spec
	Paths    []string // of the images, one for each disk of the Spec
	Vars     string   // the UEFI variables that the install left, if it left any
	Result   event.Result
	Events   []event.Event
	Run      Run
	Consoles []byte // of the machines that vic ran
}

// systems are those that were installed in this run of the tests.
var systems = map[string]System{}

// Installed installs as a user would, once in a run: two Specs of one name are
// the same.
func Installed(t *testing.T, spec Spec) System {
	t.Helper()
	spec = spec.withDefaults()
	if s, ok := systems[spec.Name]; ok {
		return s
	}
	Built(t, "debian", "") // one package of tests builds at a time, and vic install takes it from the cache
	dir := Dir(t, spec.Name)
	s := System{Spec: spec}
	for _, d := range spec.Disks {
		s.Paths = append(s.Paths, cmp.Or(d.Path, filepath.Join(dir, cmp.Or(d.Name, "disk")+".img")))
	}
	s.Vars = strings.TrimSuffix(s.Paths[0], filepath.Ext(s.Paths[0])) + ".vars.fd"
	secretFile := filepath.Join(dir, "password")
	if err := os.WriteFile(secretFile, []byte(Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, seen := keepConsoles(t, dir), watch.Processes(Password, 50*time.Millisecond)
	s.Run = Vic(t, s.installArgs(writeLoginKey(t, dir), secretFile)...)
	s.Consoles = stop()
	for _, args := range seen() {
		t.Errorf("the password is among the arguments of a program: %s", args)
	}
	if err := os.Remove(secretFile); err != nil {
		t.Fatal(err)
	}
	if s.Run.Exit != 0 {
		t.Fatalf("vic install: exit code %d\n%s\n%s", s.Run.Exit, s.Run.Stderr, s.Consoles[max(0, len(s.Consoles)-4096):])
	}
	s.Events = Events(t, s.Run.Stdout)
	s.Result = Result(t, s.Events)
	systems[spec.Name] = s
	return s
}

// installArgs are the arguments of vic for the install.
func (s System) installArgs(keyFile, secretFile string) []string {
	args := []string{"install", "debian", "--vm", "--json", "--yes"}
	for i, d := range s.Disks {
		args = append(args, "--disk", d.flag(s.Paths[i]))
	}
	// systemd gives up on a disk after 90 s, which are few for a machine that is
	// emulated beside others.
	args = append(args, "--firmware", s.Firmware, "--memory", "256M", "-o", "kernel=cloud",
		"-o", "kernel-params=console=ttyS0,systemd.default_device_timeout_sec=300",
		"-o", "hostname=web1", "-o", "username="+User, "-o", "sshkey=@"+keyFile, "-s", "password=@"+secretFile,
		"-o", "timezone=Europe/Berlin", "--prove-timeout", "15m") // emulated, beside another machine
	if !s.Prove {
		args = append(args, "--phases", "build,enter,verify,partition,format,copy,inject,boot,finish")
	}
	return append(args, s.Args...)
}

// Boot starts the disks by themselves, with the UEFI variables of the install.
// What is written to them is lost.
func (s System) Boot(t *testing.T, c vm.Config) *vm.Machine {
	t.Helper()
	disks := s.Drives()
	for i := range disks {
		disks[i].Snapshot = true
	}
	c.Disks = append(disks, c.Disks...)
	c.Name = cmp.Or(c.Name, s.Name)
	return vm.Start(t, s.Config(t, c, false)) // QEMU gives no DNS server to a card that is restricted
}

// Overlay is the same system on disks that may be written to: those of the
// install stay as they are.
func (s System) Overlay(t *testing.T) System {
	t.Helper()
	s.Paths = slices.Clone(s.Paths)
	for i, path := range s.Paths {
		s.Paths[i] = vm.Overlay(t, path)
	}
	return s
}

// Start boots the disks, and keeps what is written to them: see Overlay. The
// disks and other settings of c are added to the system's.
func (s System) Start(t *testing.T, c vm.Config) *vm.Machine {
	t.Helper()
	c.Disks = append(s.Drives(), c.Disks...)
	return vm.Start(t, s.Config(t, c, true))
}

// Drives are the installed disks as a machine has them.
func (s System) Drives() []vm.Disk {
	var all []vm.Disk
	for i, d := range s.Disks {
		serial := "vic-target"
		if d.Name != "" {
			serial = "vic-" + d.Name
		}
		all = append(all, vm.Disk{Path: s.Paths[i], SectorSize: d.Sector, Serial: serial, Cache: "unsafe"})
	}
	return all
}

// Config adds what is the same in every machine with an installed disk. A
// restricted one reaches nobody.
func (s System) Config(t *testing.T, c vm.Config, restrict bool) vm.Config {
	t.Helper()
	c.Dir = filepath.Join(t.TempDir(), "run")
	c.NICs = []vm.NIC{{Forward: []int{22}, Restrict: restrict}}
	c.Firmware = cmp.Or(c.Firmware, s.Firmware)
	c.EasyToEmulate = true
	if c.Firmware == "uefi" {
		c.Vars = s.vars(t)
	}
	return c
}

// vars is a copy of the UEFI variables of the install.
func (s System) vars(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.Vars)
	if os.IsNotExist(err) && s.Firmware == "bios" {
		return "" // it never had any: the firmware finds the fallback path
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vars.fd")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
