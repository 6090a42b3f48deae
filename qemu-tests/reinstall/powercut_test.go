package reinstall

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/logwrites"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// The power of a machine that replaces its own system is cut. What is left is its
// disk, with what was flushed and any part of what was not, and its UEFI variables of
// that moment. Whatever starts then, without help: the old system has to come up with
// all its files, or the new one. In the old one `vic undo --all` takes back what there
// is: the tables of the disk, its file system's size and the boot entries are the
// original ones.
//
// VIC_TEST_CUTS says how many cuts of each of eight machines, two of them at a time,
// beside one behind each record of the journal; see scripts/reinstall-power-cuts.
// Without it there are two, of one.
func TestPowerCuts(t *testing.T) {
	lab.Need(t)
	names, cuts, side, each := []string{"uefi-extent-bootnext"}, 2, 1, false
	if text := os.Getenv("VIC_TEST_CUTS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("VIC_TEST_CUTS=%s is no number of cuts", text)
		}
		names, cuts, side, each = []string{
			"uefi-extent-bootnext", "uefi-fat-extent-kexec", "uefi-ntfs-extent-kexec", "uefi-files-bootnext", "uefi-free-systemd-boot",
			"bios-extent-kexec", "bios-swap-kexec", "bios-lvm-lvm-kexec",
		}, n, 2, true
	}
	for _, s := range scenarios() {
		if slices.Contains(names, s.name) {
			t.Run(s.name, func(t *testing.T) {
				r := record(t, s)
				chosen := r.choose(cuts)
				if each {
					chosen = append(chosen, r.steps()...)
				}
				r.try(t, chosen, side)
			})
		}
	}
}

// markStaging is in the log of the disk from where the old system changes it for vic.
const markStaging = "staging"

// recorded is a run of which every write to the disk and to the UEFI variables is known.
type recorded struct {
	scenario
	old     *oldsystem.System // switched off
	before  *os.File          // its disk
	log     *logwrites.Log
	journal []step           // on the stage
	vars    *logwrites.Flash // nil with BIOS
	digest  string           // of the old system's files
	shape   string           // of its disk and its firmware
}

// step is a record of the journal: the n-th entry of the log wrote it.
type step struct {
	n    int
	name string
}

// digest is printed for the files of an old system that nobody has a reason to change.
const digest = "find /usr/bin /usr/sbin /usr/lib/systemd /usr/lib/modules /home /srv /etc/ssh /etc/passwd /etc/fstab -xdev -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"

// shape is printed for what vic undo has to leave as it was.
const shape = "for end in 'head -c 32K' 'tail -c 32K'; do $end /dev/vda | sha256sum; done; stat -f -c '%b blocks of %s' /; " +
	"cd /sys/firmware/efi/efivars 2>/dev/null && sha256sum Boot0* BootOrder* BootNext*; " +
	"test \"$(blkid -p -o value -s TYPE /dev/vda2)\" != swap || head -c 4096 /dev/vda2 | sha256sum; " +
	"cd /; find boot var/lib/vic -type f ! -path 'var/lib/vic/registrations/*' | sort"

// undo has the old system take back what is registered.
const undo = "mkdir -p /mnt && mount -o ro /dev/disk/by-id/virtio-MEDIUM /mnt && /mnt/vic undo --all 2>&1 && umount /mnt"

// record runs a scenario to its end.
func record(t *testing.T, s scenario) *recorded {
	t.Helper()
	r := &recorded{scenario: s}
	var disk *logwrites.Recorder
	prepare := s.old.Prepare
	s.old.Prepare = func(t *testing.T, image string) {
		if prepare != nil {
			prepare(t, image)
		}
		disk = r.watch(t, image)
	}
	s.old.Cache = "writeback" // flushes count
	s.old.Disks = []vm.Disk{medium(t)}
	if s.old.Firmware == "uefi" {
		s.old.Vars = filepath.Join(t.TempDir(), "vars.fd")
	}
	r.scenario = s
	r.old = oldsystem.Start(t, s.old)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := r.old.Answered(ctx); err != nil {
		t.Fatal(err)
	}
	r.digest = said(ctx, t, r.old, "head -c 8M /dev/urandom >/srv/keep; sync; systemctl is-system-running --wait >&2; "+digest)
	r.shape = said(ctx, t, r.old, shape)
	disk.Mark(markStaging)
	s.leave(ctx, t, r.old)
	await(ctx, t, r.old, askNew, func(out string) bool { return isNew(out, r.old.MachineID) })
	r.old.Kill()
	r.old.Cache = "unsafe" // nobody records what a machine does after its cut
	r.log = disk.Log()
	if r.journal = journal(t, r.log); len(r.journal) < 10 {
		t.Fatalf("the journal got the records %v, expected ten at least", r.journal)
	}
	return r
}

// journal finds the records that were written to the stage's journal: slots of 1024
// bytes, each with a magic, the length of its JSON at byte 32, and that at byte 40.
func journal(t *testing.T, log *logwrites.Log) []step {
	t.Helper()
	var list []step
	for i, e := range log.Entries {
		const slot = 1024
		b := make([]byte, min(e.Length, 4*slot))
		if _, err := e.ReadAt(b, 0); len(b) > 0 && err != nil {
			t.Fatal(err)
		}
		for ; len(b) >= slot; b = b[slot:] {
			if string(b[:8]) != "vicjrnl1" {
				continue
			}
			var record struct{ State, Phase string }
			if err := json.Unmarshal(b[40:][:binary.LittleEndian.Uint16(b[32:])], &record); err != nil {
				t.Fatalf("entry %d of the log: %v", i, err)
			}
			list = append(list, step{i + 1, strings.TrimSpace(record.State + " " + record.Phase)})
		}
	}
	return list
}

// watch shows the machine the disk and the variables by way of this process, and keeps
// a log of what it writes to them.
func (r *recorded) watch(t *testing.T, image string) *logwrites.Recorder {
	t.Helper()
	var err error
	if r.before, err = os.Open(image); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.before.Close() })
	info, err := r.before.Stat()
	if err != nil {
		t.Fatal(err)
	}
	disk := logwrites.NewRecorder(logwrites.NewOverlay(r.before, info.Size(), 512), logwrites.Faults{})
	logwrites.Mount(t, disk, image)
	if vars := r.scenario.old.Vars; vars != "" {
		if err := vm.NewVars("amd64", vars); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(vars)
		if err != nil {
			t.Fatal(err)
		}
		r.vars = logwrites.NewFlash(content, disk)
		logwrites.Mount(t, r.vars, vars)
	}
	return disk
}

// choose takes cuts from where staging begins: half of them where the variables
// change, the rest anywhere, around flushes above all.
func (r *recorded) choose(count int) []logwrites.Cut {
	all := r.log.Cuts(logwrites.Sample{From: r.log.Marked(markStaging), Near: 1, Others: 200, Seed: 7})
	random := rand.New(rand.NewPCG(7, 0))
	random.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	var chosen []logwrites.Cut
	for _, c := range all {
		if r.nearFlash(c.N) && len(chosen) < (count+1)/2 {
			chosen = append(chosen, c)
		}
	}
	for _, c := range all {
		if !r.nearFlash(c.N) && len(chosen) < count {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// steps takes a cut behind each record of the journal: it alone is on the disk of what
// was not flushed.
func (r *recorded) steps() []logwrites.Cut {
	var list []logwrites.Cut
	for _, s := range r.journal {
		list = append(list, r.log.Cut(s.n, logwrites.Last()))
	}
	return list
}

// nearFlash tells whether the variables change about when n entries have been submitted.
func (r *recorded) nearFlash(n int) bool {
	for _, e := range r.log.Entries[max(0, n-2):min(n+2, len(r.log.Entries))] {
		if e.Label == logwrites.FlashMark {
			return true
		}
	}
	return false
}

// try starts the machine with what each cut has left, some side by side, and counts
// who answered.
func (r *recorded) try(t *testing.T, cuts []logwrites.Cut, side int) {
	t.Helper()
	info, err := r.before.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	count := map[string]int{}
	for i := range side {
		var own []logwrites.Cut
		for k := i; k < len(cuts); k += side {
			own = append(own, cuts[k])
		}
		group.Go(func() {
			err := r.log.Replay(r.before, info.Size(), own, func(c logwrites.Cut, o *logwrites.Overlay) error {
				t.Run(fmt.Sprint(c.N, " ", c.Subset), func(t *testing.T) {
					who := r.after(t, c, o)
					mu.Lock()
					defer mu.Unlock()
					count[r.phase(c.N)+": "+who]++
				})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	flashes := 0
	for _, e := range r.log.Entries {
		if e.Label == logwrites.FlashMark {
			flashes++
		}
	}
	t.Logf("%d cuts of %d writes to the disk, %d times of writing UEFI variables. Behind the record of the journal, and who answered then:", len(cuts), r.log.Writes(), flashes)
	for _, line := range slices.Sorted(maps.Keys(count)) {
		t.Logf("%4d  %s", count[line], line)
	}
}

// phase is the last record of the journal when n entries had been submitted, with its
// number.
func (r *recorded) phase(n int) string {
	number, last := 0, markStaging
	for i, s := range r.journal {
		if s.n <= n {
			number, last = i+1, s.name
		}
	}
	return fmt.Sprintf("%2d %s", number, last)
}

// after starts the machine with what a cut has left, and says which system answers.
func (r *recorded) after(t *testing.T, c logwrites.Cut, o *logwrites.Overlay) (who string) {
	t.Helper()
	image, vars := filepath.Join(t.TempDir(), "disk.img"), ""
	if err := o.Save(image); err != nil {
		t.Fatal(err)
	}
	if r.vars != nil {
		vars = filepath.Join(t.TempDir(), "vars.fd")
		if err := os.WriteFile(vars, r.vars.At(c, uint64(c.N)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	m := r.old.Again(t, image, vars)
	out := await(ctx, t, m, "if test -e /home/admin; then "+digest+" && echo the old one; else "+askNew+"; fi", func(out string) bool {
		return strings.Contains(out, "the old one") || isNew(out, m.MachineID)
	})
	took := time.Since(m.Began).Round(time.Second)
	if isNew(out, m.MachineID) {
		t.Logf("%v, behind record %s: the new system, after %v", c, r.phase(c.N), took)
		return "the new system"
	}
	t.Logf("%v, behind record %s: the old system, after %v", c, r.phase(c.N), took)
	if !strings.HasPrefix(out, r.digest) {
		t.Errorf("%v: the files of the old system are not what they were: %s, before %s", c, out, r.digest)
	}
	undone := said(ctx, t, m, undo)
	if now := said(ctx, t, m, shape); now != r.shape {
		t.Errorf("%v: undone, the machine is\n%s\nbefore it was\n%s\nvic undo says\n%s", c, now, r.shape, undone)
	}
	return "the old system"
}
