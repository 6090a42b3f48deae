package qemutests

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// password is the secret that must not be found anywhere.
const password = "canary-Zw3nty5-in-the-mine"

// machine is what is installed onto.
type machine struct {
	firmware string
	sector   int
}

func (m machine) String() string { return fmt.Sprintf("%s-%d", m.firmware, m.sector) }

// proves tells whether vic is to boot the disk too. The tests do it anyway: once
// for each firmware is enough.
func (m machine) proves() bool { return m.sector == 512 }

// disk is an installed disk.
type disk struct {
	machine
	path     string
	origin   string // what path is an overlay of; empty: nothing
	result   event.Result
	events   []event.Event
	run      run
	consoles []byte // of the machines that vic ran
}

// disks are those that were installed in this run of the tests.
var disks = map[machine]disk{}

// installed installs onto a blank disk as a user would, once in a run.
func installed(t *testing.T, m machine) disk {
	t.Helper()
	if d, ok := disks[m]; ok {
		return d
	}
	dir := filepath.Join(scratch, m.String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, key := writeLoginKey(t, dir)
	d := disk{machine: m, path: filepath.Join(dir, "disk.img")}
	secretFile := filepath.Join(dir, "password")
	if err := os.WriteFile(secretFile, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := keepConsoles(t, dir)
	args := []string{"install", "debian", "--vm", "--json", "--yes",
		"--disk", fmt.Sprintf("%s,size=%d,sector=%d", d.path, int64(targetSize), m.sector),
		"--firmware", m.firmware, "--memory", "256M", "-o", "kernel=cloud", "-o", "kernel-params=console=ttyS0",
		"-o", "hostname=web1", "-o", "username=anna", "-o", "sshkey=@" + key, "-s", "password=@" + secretFile,
		"-o", "timezone=Europe/Berlin"}
	if !m.proves() {
		args = append(args, "--phases", "build,enter,verify,partition,format,copy,inject,boot,finish")
	}
	d.run = vic(t, args...)
	d.consoles = stop()
	if err := os.Remove(secretFile); err != nil {
		t.Fatal(err)
	}
	if d.run.exit != 0 {
		t.Fatalf("vic install: exit code %d\n%s\n%s", d.run.exit, d.run.stderr, d.consoles[max(0, len(d.consoles)-4096):])
	}
	d.events = decodeEvents(t, d.run.stdout)
	d.result = result(t, d.events)
	disks[m] = d
	return d
}

// boot starts the disk by itself, with the UEFI variables of its install. What
// is written to it is lost.
func (d disk) boot(t *testing.T, c vm.Config) *vm.Machine {
	t.Helper()
	c.Name, c.Disks = d.String(), []vm.Disk{{Path: d.path, SectorSize: d.sector, Serial: "vic-target", Snapshot: true, Cache: "unsafe"}}
	return vm.Start(t, d.config(t, c, false)) // QEMU gives no DNS server to a card that is restricted
}

// config adds what is the same in every machine with this disk. A restricted one
// reaches nobody.
func (d disk) config(t *testing.T, c vm.Config, restrict bool) vm.Config {
	t.Helper()
	c.Dir = filepath.Join(t.TempDir(), "run")
	c.NICs = []vm.NIC{{Forward: []int{22}, Restrict: restrict}}
	if c.Firmware == "" {
		c.Firmware = d.firmware
	}
	if c.Firmware == "uefi" {
		c.Vars = d.vars(t)
	}
	return c
}

// vars is a copy of the UEFI variables of the install.
func (d disk) vars(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(strings.TrimSuffix(cmp.Or(d.origin, d.path), ".img") + ".vars.fd")
	if os.IsNotExist(err) && d.firmware == "bios" {
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

// An install ends in three ways: vic says done, the host's tools find the disk
// sound, and the disk boots alone and answers.
func TestInstall(t *testing.T) {
	needLab(t)
	for _, m := range []machine{{"uefi", 512}, {"bios", 512}, {"uefi", 4096}} {
		t.Run(m.String(), func(t *testing.T) {
			d := installed(t, m)
			t.Run("events", func(t *testing.T) { checkEvents(t, d) })
			t.Run("image", func(t *testing.T) { checkImage(t, d.path, d.sector) })
			t.Run("boot", func(t *testing.T) { checkBoot(t, d) })
			t.Run("secret", func(t *testing.T) { checkSecret(t, d) })
		})
	}
}

func checkEvents(t *testing.T, d disk) {
	want := slices.DeleteFunc(event.Phases(), func(p event.Phase) bool {
		return p == event.Scan || p == event.Prove && !d.proves()
	})
	got := phases(d.events)
	if i := slices.Index(got, event.Scan); i >= 0 { // in the RAM system, after enter
		got = slices.Delete(got, i, i+1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("phases are %v, want %v", got, want)
	}
	last := d.events[len(d.events)-1]
	if last.Phase != want[len(want)-1] || last.State != event.Done {
		t.Errorf("the last event is %+v", last)
	}
	r := d.result
	if r.Hostname != "web1" || len(r.HostKeys) == 0 || !strings.HasSuffix(r.Kernel, "-cloud-amd64") || r.RootUUID == "" {
		t.Errorf("the result is %+v", r)
	}
}

func checkBoot(t *testing.T, d disk) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	g := login(t, d.boot(t, vm.Config{}), "anna", d.result)
	g.booted()
	g.checks([]check{
		{"hostname", `^web1$`},
		{"uname -r", "^" + regexp.QuoteMeta(d.result.Kernel) + "$"},
		{"findmnt -no UUID,FSTYPE /", "^" + d.result.RootUUID + " +ext4$"},
		{"findmnt -no FSTYPE /boot/efi; stat -c %a /boot/efi", `vfat\n700$`},
		{"id -nG anna", `\bsudo\b`},
		{"cat /etc/machine-id", `^[0-9a-f]{32}$`},
		{"networkctl --no-pager status eth0 || networkctl --no-pager status 'en*'", `Network File: /etc/systemd/network/10-vic-0\.network(?s:.*)State: routable \(configured\)`},
		{"readlink /etc/resolv.conf; resolvectl dns", `stub-resolv\.conf(?s:.*)10\.0\.2\.3`},
		{"getent hosts web1", `127\.0\.1\.1 +web1`},
		{"getent shadow anna root | cut -c1-9", `^anna:\$6\$.*\nroot:[*!]`},
		{"timedatectl show -p Timezone --value; date +%Z", `^Europe/Berlin\nCES?T$`},
		{"locale | head -1; cat /etc/locale.conf", `^LANG=.*\nLANG=C\.UTF-8$`},
		{"cat /proc/cmdline", `root=UUID=` + d.result.RootUUID + `.*console=ttyS0`},
		{"stat -c '%a %U' /etc/ssh/ssh_host_ed25519_key ~anna/.ssh/authorized_keys", `^600 root\n600 anna$`},
		{"swapon --noheadings", `^$`},
		{"dpkg --audit; dpkg --verify", `^$`},
	})
	if d.firmware == "uefi" {
		g.checks([]check{
			{"bootctl --no-pager status", `(?s)Product: systemd-boot.*Current Entry: debian-`},
			{"bootctl --no-pager list", `(?s)Debian GNU/Linux.*linux: .*/boot/efi/`},
		})
	}
	g.poweroff(ctx)
	if strings.Contains(g.m.Console(), password) {
		t.Error("the password is on the console of the installed system")
	}
}

// checkSecret looks for the password in all that an install leaves.
func checkSecret(t *testing.T, d disk) {
	if !strings.Contains(string(d.consoles), "Linux version") {
		t.Fatalf("the consoles of the install were not kept: %d bytes", len(d.consoles))
	}
	for what, text := range map[string]string{"consoles": string(d.consoles), "events": d.run.stdout, "stderr": d.run.stderr} {
		if strings.Contains(text, password) {
			t.Errorf("the password is in the %s", what)
		}
	}
	if left, err := os.ReadDir(d.run.tmp); err != nil || len(left) > 0 {
		t.Errorf("vic left %v in its TMPDIR (%v)", left, err)
	}
	err := filepath.WalkDir(filepath.Dir(d.path), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && contains(t, path, []byte(password)) {
			t.Errorf("the password is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if !contains(t, d.path, []byte("anna:$6$")) {
		t.Error("the search finds nothing in the image: not even the hash")
	}
}
