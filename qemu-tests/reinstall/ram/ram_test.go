package ram

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// From a stage to the new system, which starts by itself and takes the stage away.
// With BIOS every write of the RAM system is recorded, and the disk is looked at as it
// could stand after a power cut.
func TestReinstall(t *testing.T) {
	lab.Need(t)
	if os.Getenv("VIC_TEST_MATRIX") == "" {
		t.Skip("takes six minutes for each firmware: VIC_TEST_MATRIX=1 runs it; TestPowerCuts goes the same way without a virtual machine")
	}
	for _, firmware := range []string{"bios", "uefi"} {
		t.Run(firmware, func(t *testing.T) {
			s := newScene(t, firmware)
			d, base := vm.Disk{Cache: "unsafe"}, ""
			if firmware == "bios" {
				d.LogWrites, base = filepath.Join(t.TempDir(), "log"), s.copied(t)
			}
			result := s.install(t, d)
			if firmware == "bios" {
				t.Run("power cuts", func(t *testing.T) {
					before, log := opened(t, base, d.LogWrites)
					r := newRecording(t, &s, before, log)
					r.order(t)
					r.cuts(t)
				})
			}
			s.check(t, result)
		})
	}
}

// copied is the disk as it is now.
func (s *scene) copied(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "before.img")
	lab.Say(t, "cp", "--sparse=always", "--reflink=auto", s.disk, path)
	return path
}

// install runs the RAM system up to its reboot.
func (s *scene) install(t *testing.T, d vm.Disk) event.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	m := vm.Start(t, s.ramSystem(t, d))
	e, err := m.WaitEvent(ctx, func(e event.Event) bool { return e.Result != nil || e.State == event.Failed && e.Exit != 0 })
	if err != nil || e.Result == nil {
		t.Fatalf("%v: %+v", err, e)
	}
	if err := m.Wait(ctx); !errors.Is(err, vm.ErrReset) {
		t.Fatalf("the RAM system ended with %v", err)
	}
	if strings.Contains(m.Console(), lab.Password) {
		t.Error("the password is on the console")
	}
	a := s.history(t)
	for _, state := range []journal.State{journal.Staged, journal.Started, journal.Verified, journal.Committing, journal.Committed, journal.Bootable, journal.Installed} {
		if !a.Has(state) {
			t.Errorf("the journal has no %q: %+v", state, a)
		}
	}
	return *e.Result
}

func (s *scene) history(t *testing.T) journal.History {
	t.Helper()
	dev, err := journal.OpenStage(s.disk, s.doc.Stage)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	j, err := journal.Open(dev, s.doc.ID)
	if err != nil {
		t.Fatal(err)
	}
	return j.History()
}

// check starts the disk by itself, and looks at the new system and at what it
// leaves of the stage.
func (s *scene) check(t *testing.T, result event.Result) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	c := s.config(t, vm.Disk{Cache: "unsafe"})
	c.Events, c.EasyToEmulate = false, true
	g := lab.Login(t, vm.Start(t, c), result)
	g.Booted()
	g.Checks([][2]string{
		{"hostname", `^again$`},
		{"findmnt -no UUID,FSTYPE /", "^" + result.RootUUID + " +ext4$"},
		{"lsblk -nro PARTLABEL /dev/vda | sort | xargs", `^bios esp root$`},
		{"ls /usr/lib/vic /etc/systemd/system/vic-finish.service /etc/systemd/system/*/vic-finish.service 2>&1 | grep -v 'No such'", `^$`},
		{"cat /var/lib/vic/installed.json", `(?s)"grown": "/".*"from": .*"to": `},
		{"journalctl -b -u vic-finish --no-pager -o cat", `(?s)overwrote the secrets.*removed the partitions.*/ has grown`},
		// All of the disk but the ESP is the root file system's.
		{"df --output=size -BM / | tail -1 | tr -dc 0-9 | xargs -I@ test @ -gt 5000 && echo grown", `^grown$`},
	})
	if s.firmware == "uefi" {
		g.Checks([][2]string{{"bootctl --no-pager status", `(?s)Product: systemd-boot`}, {"bootctl --no-pager status | grep -c 'vic reinstall'", `^0$`}})
	}
	g.Poweroff(ctx)
	lab.CheckTable(t, s.disk, 512)
	for _, form := range []string{lab.Password, base64.StdEncoding.EncodeToString([]byte(lab.Password))} {
		if lab.Contains(t, s.disk, []byte(form)) {
			t.Errorf("the password is still on the disk, as %s", form)
		}
	}
}
