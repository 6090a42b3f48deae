package install_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// setup is a run of thePlan that succeeds as it is.
type setup struct {
	install.Config
	m      *machine
	tools  *programs
	events []event.Event
}

func newSetup(t *testing.T) *setup {
	t.Helper()
	tooltest.Root(t) // files get owners
	m := &machine{
		disks: []plan.Disk{{Device: "/dev/vdb", Serial: "PAYLOAD", Size: 1 << 20, SectorSize: 512}, theDisk},
		files: map[string][]byte{
			"/dev/vdb":  []byte("hello, and what is behind it on the device"),
			"/dev/vda":  bootSector(2048),
			"/dev/vda1": append(coreImage(), 0, 0, 0),
		},
		fail:     map[string]error{},
		tables:   map[string]layout.Table{},
		contents: map[string]storage.Content{},
	}
	s := &setup{m: m, tools: &programs{m: m}}
	s.Config = install.Config{
		Plan: thePlan(), Machine: m, Disks: m, Tools: s.tools, Variables: efi.MapVariables{}, Root: t.TempDir(),
		Secrets: secret.NewSet(map[string]string{"tls-key": tlsKey, "password": "$6$salt$" + strings.Repeat("a", 86)}), // a hash: hashing takes 0.1 s
		Sink:    event.SinkFunc(func(e event.Event) { s.events = append(s.events, e) }),
	}
	return s
}

// tlsKey is a secret that only one file may have.
const tlsKey = "canary \"in\" the mine"

func TestRunInstalls(t *testing.T) {
	s := newSetup(t)
	res, err := install.Run(t.Context(), s.Config)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(res.HostKeys, ","); got != "ssh-ed25519 AAAA" {
		t.Errorf("host keys %q", got)
	}
	want := []string{"wipe /dev/vda", "table /dev/vda", "mkfs.vfat /dev/vda2", "flush /dev/vda2", "mkfs.ext4 /dev/vda3", "flush /dev/vda3", "table /dev/vda",
		"mount /dev/vda3 on " + filepath.Base(s.Root), "mount /dev/vda2 on efi", "mount erofs /dev/vdb",
		"run useradd --create-home", "run usermod --append --groups sudo ann", "run usermod --lock ann", "run chpasswd -e", "run systemctl enable -- app.service", "run ssh-keygen -A",
		"run update-initramfs -c -k 6.12", "run grub-install --target=i386-pc", "run update-grub", "run debconf-set-selections", "flush /dev/vda", "flush /dev/vda1", "flush /dev/vda"}
	// ann exists in the payload, so there is no useradd.
	want = slices.Delete(want, 10, 11)
	requireOrder(t, s.m.effects, want)
	if len(s.m.mounted) != 0 {
		t.Errorf("still mounted: %v", s.m.mounted)
	}
	last := s.events[len(s.events)-1]
	if last.Phase != event.Finish || last.Step != "" || last.State != event.Done || last.Result == nil || len(last.Result.HostKeys) != 1 {
		t.Errorf("last event %+v", last)
	}
	requirePairs(t, s.events)
	requireTarget(t, s.Root)
	for what, seen := range map[string]any{"effects": s.m.effects, "events": s.events, "stdin": s.tools.stdin, "plan": s.Plan} {
		if doc, err := json.Marshal(seen); err != nil || bytes.Contains(doc, []byte("canary")) {
			t.Errorf("the secret is in the %s (%v)", what, err)
		}
	}
}

// requireOrder wants effects that begin like these, in this order; mounts for
// programs come in between.
func requireOrder(t *testing.T, effects, want []string) {
	t.Helper()
	i := 0
	for _, e := range effects {
		if i < len(want) && strings.HasPrefix(e, want[i]) {
			i++
		} else if !strings.HasPrefix(e, "mount ") {
			t.Errorf("unexpected effect %q before %q", e, want[min(i, len(want)-1)])
		}
	}
	if i < len(want) {
		t.Errorf("missing effect %q in %q", want[i], effects)
	}
}

// requirePairs wants a start for each end.
func requirePairs(t *testing.T, events []event.Event) {
	t.Helper()
	open := map[string]bool{}
	for _, e := range events {
		k := string(e.Phase) + "/" + e.Step
		switch e.State {
		case event.Start:
			open[k] = true
		case event.Done, event.Failed:
			if !open[k] {
				t.Errorf("%s ends without a start", k)
			}
			delete(open, k)
		}
	}
	if len(open) != 0 {
		t.Errorf("started and never ended: %v", open)
	}
}

func requireTarget(t *testing.T, root string) {
	t.Helper()
	for name, want := range map[string]string{
		"etc/hostname":                             "h\n",
		"etc/app/key":                              "key=\"canary \\\"in\\\" the mine\"\n",
		"home/ann/.ssh/authorized_keys":            "ssh-ed25519 AAAA\n",
		"etc/sudoers.d/90-vic-ann":                 "ann ALL=(ALL:ALL) NOPASSWD: ALL\n",
		"boot/efi/EFI/BOOT/BOOTX64.EFI":            "MZ",
		"boot/efi/EFI/systemd/systemd-bootx64.efi": "MZ",
	} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "etc/ssh/ssh_host_old")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the payload's host key is still there")
	}
	for name, mode := range map[string]os.FileMode{"etc/app/key": 0o600, "home/ann/.ssh": 0o700, "home/ann/.ssh/authorized_keys": 0o600, "etc/sudoers.d/90-vic-ann": 0o440} {
		if st, err := os.Stat(filepath.Join(root, name)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
}

// What is wrong before the first write leaves the disk alone and says so.
func TestRunRefusesBeforeWriting(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*setup)
		exit  int
		want  string
	}{
		{"disk gone", func(s *setup) { s.m.disks = s.m.disks[:1] }, 3, "there is /dev/vdb (serial PAYLOAD"},
		{"other disk in its place", func(s *setup) { s.m.disks[1].Serial = "QM0002" }, 3, "QM0002"},
		{"two with the same serial", func(s *setup) { s.m.disks = append(s.m.disks, theDisk) }, 3, "there are several"},
		{"other size", func(s *setup) { s.m.disks[1].Size = 1 << 30 }, 3, "expected 8589934592 bytes in sectors of 512, found 1073741824"},
		{"other sectors", func(s *setup) { s.m.disks[1].SectorSize = 4096 }, 3, "sectors of 4096"},
		{"in use", func(s *setup) { s.m.users = []string{"/dev/vda1 is mounted on /"} }, 3, "/dev/vda1 is mounted on /"},
		{"read-only", func(s *setup) { s.m.ro = true }, 3, "is read-only"},
		{"no secret", func(s *setup) { s.Secrets = secret.Set{} }, 3, "password"},
		{"no memory", func(s *setup) { s.Plan.Steps[0].Action = plan.CheckMemory{Need: 1 << 60} }, 3, "the install needs 1.0 EiB"},
		{"no program", func(s *setup) { s.Plan.Steps[1].Action = plan.CheckTools{Programs: []string{"mkfs.ext4", "lvm"}} }, 3, "missing: lvm"},
		{"payload altered", func(s *setup) { s.m.files["/dev/vdb"] = []byte("jello, and more") }, 4, "expected SHA-256 2cf24d"},
		{"payload truncated", func(s *setup) { s.m.files["/dev/vdb"] = []byte("hell") }, 4, "expected 5 bytes, found 4"},
		{"payload gone", func(s *setup) { delete(s.m.files, "/dev/vdb") }, 4, "open payload"},
		{"payload disk gone", func(s *setup) { s.m.disks = s.m.disks[1:] }, 4, "serial PAYLOAD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSetup(t)
			test.spoil(s)
			_, err := install.Run(t.Context(), s.Config)
			var e *install.Error
			if !errors.As(err, &e) || e.Exit != test.exit || e.Phase != event.Verify || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want exit %d and %q", err, test.exit, test.want)
			}
			if len(s.m.effects) != 0 {
				t.Errorf("effects: %q", s.m.effects)
			}
			last := s.events[len(s.events)-1]
			if last.State != event.Failed || last.Exit != test.exit || !strings.Contains(last.Message, test.want) {
				t.Errorf("last event %+v", last)
			}
		})
	}
}

// A disk that is swapped between verify and the first write is noticed.
func TestRunReadsIdentityBeforeEachWrite(t *testing.T) {
	for _, test := range []struct {
		after string // the effect during which the disk changes
		exit  int
		phase event.Phase
	}{
		{"table", 5, event.Partition},
		{"wipe", 5, event.Partition},
		{"flush /dev/vda2", 5, event.Format},
	} {
		s := newSetup(t)
		s.m.fail[test.after] = nil
		s.Disks = &swapper{machine: s.m, after: test.after}
		_, err := install.Run(t.Context(), s.Config)
		var e *install.Error
		if !errors.As(err, &e) || e.Exit != test.exit || e.Phase != test.phase || !strings.Contains(err.Error(), "SWAPPED") {
			t.Errorf("after %s: got %v", test.after, err)
		}
		if last := s.m.effects[len(s.m.effects)-1]; !strings.HasPrefix(last, test.after) {
			t.Errorf("after %s: it went on to %q", test.after, last)
		}
	}
}

// swapper changes the serial of the disk once an effect has been seen.
type swapper struct {
	*machine
	after string
}

func (s *swapper) Disks() ([]plan.Disk, error) {
	disks := slices.Clone(s.disks)
	if n := len(s.effects); n > 0 && strings.HasPrefix(s.effects[n-1], s.after) {
		disks[1].Serial = "SWAPPED"
	}
	return disks, nil
}

// Whatever fails after the first write: exit 5, nothing stays mounted.
func TestRunCleansUpAfterFailure(t *testing.T) {
	boom := errors.New("boom")
	for _, effect := range []string{"wipe", "table", "mkfs.vfat", "mkfs.ext4", "mount /dev/vda3", "mount /dev/vda2", "mount erofs", "mount devtmpfs",
		"run usermod", "run chpasswd", "run systemctl", "run ssh-keygen", "run update-initramfs", "run grub-install", "run update-grub", "flush"} {
		t.Run(effect, func(t *testing.T) {
			s := newSetup(t)
			s.m.fail[effect] = boom
			_, err := install.Run(t.Context(), s.Config)
			var e *install.Error
			if !errors.As(err, &e) || e.Exit != storage.ExitPartial || !errors.Is(err, boom) {
				t.Errorf("got %v", err)
			}
			if len(s.m.mounted) != 0 {
				t.Errorf("still mounted: %v", s.m.mounted)
			}
			if last := s.m.effects[len(s.m.effects)-1]; !strings.HasPrefix(last, effect) {
				t.Errorf("it went on to %q", last)
			}
		})
	}
}

func TestRunStopsWhenCancelled(t *testing.T) {
	s := newSetup(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("power button")
	inner := s.Sink
	s.Sink = event.SinkFunc(func(e event.Event) {
		if inner.Emit(e); e.Phase == event.Inject && e.State == event.Start {
			cancel(why)
		}
	})
	_, err := install.Run(ctx, s.Config)
	var e *install.Error
	if !errors.As(err, &e) || e.Exit != storage.ExitPartial || !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if len(s.m.mounted) != 0 {
		t.Errorf("still mounted: %v", s.m.mounted)
	}
}

func TestRunPhases(t *testing.T) {
	s := newSetup(t)
	s.Phases = []event.Phase{event.Verify}
	if _, err := install.Run(t.Context(), s.Config); err != nil {
		t.Fatal(err)
	}
	if len(s.m.effects) != 0 {
		t.Errorf("effects: %q", s.m.effects)
	}
}

func TestPasswordIsNeverAnArgument(t *testing.T) {
	s := newSetup(t)
	s.Secrets = secret.NewSet(map[string]string{"password": "hunter22", "tls-key": tlsKey})
	if _, err := install.Run(t.Context(), s.Config); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.tools.argv {
		if strings.Contains(c, "hunter22") || strings.Contains(c, "$6$") {
			t.Errorf("argument: %s", c)
		}
	}
	if len(s.tools.stdin) == 0 || !strings.HasPrefix(s.tools.stdin[0], "root:$6$") {
		t.Errorf("stdin: %q", s.tools.stdin)
	}
}

// An initramfs that the payload brought gets its entry from the target's hooks.
func TestKeepsInitramfs(t *testing.T) {
	keep := func(s *setup) {
		i := slices.IndexFunc(s.Plan.Steps, func(s plan.Step) bool { return s.Action.Kind() == "initramfs" })
		s.Plan.Steps[i].Action = plan.Initramfs{Release: "6.12", Keep: true}
	}
	s := newSetup(t)
	keep(s)
	if _, err := install.Run(t.Context(), s.Config); err == nil || !strings.Contains(err.Error(), "keep the payload's initramfs: ") {
		t.Errorf("of a payload that has none: %v", err)
	}
	s = newSetup(t)
	keep(s)
	s.m.payload = map[string]string{"boot/initrd.img-6.12": "of any machine"}
	if _, err := install.Run(t.Context(), s.Config); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(s.Root, "boot/initrd.img-6.12")); string(b) != "of any machine" {
		t.Errorf("it became %q, %v", b, err)
	}
	if !slices.ContainsFunc(s.m.effects, func(e string) bool {
		return e == "run run-parts --arg=6.12 --arg=/boot/initrd.img-6.12 /etc/initramfs/post-update.d"
	}) {
		t.Errorf("no entry was made: %q", s.m.effects)
	}
}

func TestBootEntryFailureIsAWarning(t *testing.T) {
	s := newSetup(t)
	s.Variables = brokenVariables{efi.MapVariables{}}
	if _, err := install.Run(t.Context(), s.Config); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(s.events, func(e event.Event) bool { return strings.HasPrefix(e.Message, "warning: no boot entry") }) {
		t.Error("no warning")
	}
}

type brokenVariables struct{ efi.MapVariables }

func (brokenVariables) Set(efi.VariableName, []byte, efi.Attributes) error {
	return errors.New("out of resources")
}

// CheckBoot has to notice every piece that is missing.
func TestCheckBootNoticesWhatIsMissing(t *testing.T) {
	for _, test := range []struct {
		name, want string
		spoil      func(s *setup, root string) error
	}{
		{"fallback", "BOOTX64.EFI", func(_ *setup, r string) error { return os.Remove(r + "/boot/efi/EFI/BOOT/BOOTX64.EFI") }},
		{"empty initrd", "initrd: missing or empty", func(_ *setup, r string) error { return os.Truncate(r+"/boot/efi/debian/6.12/initrd", 0) }},
		{"entry", "no entry for 6.12", func(_ *setup, r string) error { return os.Remove(r + "/boot/efi/loader/entries/debian-6.12.conf") }},
		{"initrd in /boot", "/boot/initrd.img-6.12", func(_ *setup, r string) error { return os.Remove(r + "/boot/initrd.img-6.12") }},
		{"grub.cfg", "does not have root=UUID=" + rootUUID, func(_ *setup, r string) error {
			return os.WriteFile(r+"/boot/grub/grub.cfg", []byte("linux root=/dev/vda3"), 0o644)
		}},
		{"first sector", "not GRUB's", func(s *setup, _ string) error { s.m.files["/dev/vda"] = make([]byte, 512); return nil }},
		{"core sector", "GRUB would load sector 99", func(s *setup, _ string) error { s.m.files["/dev/vda"] = bootSector(99); return nil }},
		{"core image", "does not hold GRUB's core", func(s *setup, _ string) error { s.m.files["/dev/vda1"] = make([]byte, 4096); return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSetup(t)
			inner := s.Sink
			s.Sink = event.SinkFunc(func(e event.Event) {
				if inner.Emit(e); strings.HasPrefix(e.Step, "check-boot") && e.State == event.Start {
					if err := test.spoil(s, s.Root); err != nil {
						t.Error(err)
					}
				}
			})
			_, err := install.Run(t.Context(), s.Config)
			if err == nil || !strings.Contains(err.Error(), "the disk would not boot") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
