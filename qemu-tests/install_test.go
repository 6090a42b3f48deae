package qemutests

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// defaults are the machines that the default layout is installed onto. vic boots
// one disk too, with BIOS: the tests do it anyway. With UEFI it does so in
// disks.TestLUKSOnLVM.
var defaults = []lab.Spec{
	{Firmware: "uefi", Sector: 512, Args: configs},
	{Firmware: "bios", Sector: 512, Prove: true, Args: []string{"--nic", "lan0=mac:52:54:00:76:69:00"}},
	{Firmware: "uefi", Sector: 4096},
}

// An install ends in three ways: vic says done, the host's tools find the disk
// sound, and the disk boots alone and answers.
func TestInstall(t *testing.T) {
	lab.Need(t)
	for _, spec := range defaults {
		t.Run(fmt.Sprintf("%s-%d", spec.Firmware, spec.Sector), func(t *testing.T) {
			d := lab.Installed(t, spec)
			t.Run("events", func(t *testing.T) { checkEvents(t, d) })
			t.Run("image", func(t *testing.T) { checkImage(t, d.Paths[0], d.Sector) })
			t.Run("boot", func(t *testing.T) { checkBoot(t, d) })
			t.Run("secret", func(t *testing.T) { checkSecret(t, d, lab.Password) })
			if spec.Firmware == "uefi" && len(spec.Args) > 0 {
				t.Run("secret of a file", func(t *testing.T) { checkSecret(t, d, appKey) })
			}
		})
	}
}

func checkEvents(t *testing.T, d lab.System) {
	want := slices.DeleteFunc(event.Phases(), func(p event.Phase) bool {
		return p == event.Scan || p == event.Prove && !d.Prove
	})
	got := lab.Phases(d.Events)
	if i := slices.Index(got, event.Scan); i >= 0 { // in the RAM system, after enter
		got = slices.Delete(got, i, i+1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("phases are %v, want %v", got, want)
	}
	last := d.Events[len(d.Events)-1]
	if last.Phase != want[len(want)-1] || last.State != event.Done {
		t.Errorf("the last event is %+v", last)
	}
	r := d.Result
	if r.Hostname != "web1" || len(r.HostKeys) == 0 || !strings.HasSuffix(r.Kernel, "-cloud-amd64") || r.RootUUID == "" {
		t.Errorf("the result is %+v", r)
	}
}

func checkBoot(t *testing.T, d lab.System) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	g := lab.Login(t, d.Boot(t, vm.Config{}), d.Result)
	g.Booted()
	g.Checks([][2]string{
		{"hostname", `^web1$`},
		{"uname -r", "^" + regexp.QuoteMeta(d.Result.Kernel) + "$"},
		{"findmnt -no UUID,FSTYPE /", "^" + d.Result.RootUUID + " +ext4$"},
		{"findmnt -no FSTYPE /boot/efi; stat -c %a /boot/efi", `vfat\n700$`},
		{"id -nG anna", `\bsudo\b`},
		{"cat /etc/machine-id", `^[0-9a-f]{32}$`},
		{"networkctl --no-pager status lan0 || networkctl --no-pager status eth0 || networkctl --no-pager status 'en*'", `Network File: /etc/systemd/network/10-vic-0\.network(?s:.*)State: routable \(configured\)`},
		{"readlink /etc/resolv.conf; resolvectl dns", `stub-resolv\.conf(?s:.*)10\.0\.2\.3`},
		{"getent hosts web1", `127\.0\.1\.1 +web1`},
		{"getent shadow anna root | cut -c1-9", `^anna:\$6\$.*\nroot:[*!]`},
		{"timedatectl show -p Timezone --value; date +%Z", `^Europe/Berlin\nCES?T$`},
		{"locale | head -1; cat /etc/locale.conf", `^LANG=.*\nLANG=C\.UTF-8$`},
		{"cat /proc/cmdline", `root=UUID=` + d.Result.RootUUID + `.*console=ttyS0`},
		{"stat -c '%a %U' /etc/ssh/ssh_host_ed25519_key ~anna/.ssh/authorized_keys", `^600 root\n600 anna$`},
		{"swapon --noheadings", `^$`},
		{"dpkg --audit; dpkg --verify", `^$`},
	})
	if d.Firmware == "uefi" && len(d.Args) > 0 {
		g.Checks(configsHold)
	}
	if d.Firmware == "bios" { // the name that was asked for, from the initramfs on
		g.Checks([][2]string{
			{"cat /sys/class/net/lan0/address", `^52:54:00:76:69:00$`},
			{"lsinitramfs /boot/initrd.img-$(uname -r) | grep 10-vic", `/10-vic-lan0\.link$`},
		})
	}
	if d.Firmware == "uefi" {
		g.Checks([][2]string{
			{"bootctl --no-pager status", `(?s)Product: systemd-boot.*Current Entry: debian-`},
			{"bootctl --no-pager list", `(?s)Debian GNU/Linux.*linux: .*/boot/efi/`},
		})
	}
	checkFacts(t, g, d)
	g.Poweroff(ctx)
	if strings.Contains(g.Console(), lab.Password) {
		t.Error("the password is on the console of the installed system")
	}
}

// checkFirmware compares boot entries and Secure Boot with what bootctl reads from
// the same variables.
func checkFirmware(t *testing.T, f envscan.Firmware, status string) {
	t.Helper()
	if f.SecureBoot == nil || strings.Contains(status, "Secure Boot: enabled") != *f.SecureBoot || f.BootCurrent == "" {
		t.Errorf("%+v; bootctl:\n%s", f, status)
	}
	entries := regexp.MustCompile(`(?m)^ +Title: (.*)\n +ID: 0x(.*)\n +Status: (.*)\n +Partition: /dev/disk/by-partuuid/(.*)\n +File: .─(.*)$`).FindAllStringSubmatch(status, -1)
	if len(entries) == 0 {
		t.Errorf("bootctl lists no entries of the firmware:\n%s", status)
	}
	for _, e := range entries {
		title, id, state, part, file := e[1], e[2], e[3], e[4], strings.ReplaceAll(e[5], "/", `\`)
		same := func(b envscan.BootEntry) bool {
			return b.Label == title && b.Number == strings.ToUpper(id) && b.Active == strings.HasPrefix(state, "active") && b.Listed == strings.Contains(state, "boot-order") &&
				strings.Contains(b.Path, part) && strings.HasSuffix(b.Path, file)
		}
		if !slices.ContainsFunc(f.Boot, same) {
			t.Errorf("bootctl has %q, here %+v", e[1:], f.Boot)
		}
	}
}

// checkFacts has vic look at the running system by ssh(1), through its own sshd.
func checkFacts(t *testing.T, g lab.Guest, d lab.System) {
	t.Helper()
	run := lab.VicWith(t.Context(), t, nil, "facts", "--on", "guest", "--ssh-config", g.SSHConfig(d.Result), "--timeout", "60s")
	var f envscan.Facts
	if err := json.Unmarshal([]byte(run.Stdout), &f); err != nil || run.Exit != 0 {
		t.Errorf("exit code %d, %v: %s", run.Exit, err, run.Stderr)
		return
	}
	if f.OS.Hostname != "web1" || f.OS.Kernel != d.Result.Kernel || f.OS.Init != "systemd" || f.HW.Firmware.Type != d.Firmware || len(f.HW.Disk) != 1 || f.HW.Disk[0].SectorSize != d.Sector {
		t.Errorf("facts of another machine: %s", run.Stdout)
	}
	var keys []string
	for _, k := range f.OS.HostKey {
		keys = append(keys, k.Fingerprint)
	}
	for _, line := range d.Result.HostKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || !slices.Contains(keys, ssh.FingerprintSHA256(key)) {
			t.Errorf("%s (%v) is not among the host keys %v", line, err, keys)
		}
	}
	if f.HW.Firmware.Type == "uefi" {
		checkFirmware(t, f.HW.Firmware, g.Sudo("bootctl --no-pager status"))
	}
	if left := g.Sudo("find /dev/shm /run /tmp -name 'vic-env*'"); left != "" {
		t.Errorf("left on the machine: %s", left)
	}
}

// checkSecret looks for a secret in all that an install leaves. Only the image
// may have one, where a file of the item holds it.
func checkSecret(t *testing.T, d lab.System, value string) {
	if !strings.Contains(string(d.Consoles), "Linux version") {
		t.Fatalf("the consoles of the install were not kept: %d bytes", len(d.Consoles))
	}
	for what, text := range map[string]string{"consoles": string(d.Consoles), "events": d.Run.Stdout, "stderr": d.Run.Stderr} {
		if strings.Contains(text, value) {
			t.Errorf("the secret is in the %s", what)
		}
	}
	if left, err := os.ReadDir(d.Run.Tmp); err != nil || len(left) > 0 {
		t.Errorf("vic left %v in its TMPDIR (%v)", left, err)
	}
	err := filepath.WalkDir(filepath.Dir(d.Paths[0]), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || path == d.Paths[0] && value == appKey {
			return err
		}
		if lab.Contains(t, path, []byte(value)) {
			t.Errorf("the secret is in %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	known := "anna:$6$"
	if value == appKey {
		known = appKey
	}
	if !lab.Contains(t, d.Paths[0], []byte(known)) {
		t.Errorf("the search finds nothing in the image: not even %s", known)
	}
}
