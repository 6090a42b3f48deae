package release

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/sysfs"
)

// tree is a machine's /sys and /proc.
type tree struct {
	t   *testing.T
	dir string
}

func (m tree) file(path, text string) {
	m.t.Helper()
	full := filepath.Join(m.dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// block adds a device with the kernel names of its holders.
func (m tree) block(name, parent, dev string, holders ...string) string {
	m.t.Helper()
	dir := filepath.Join("sys/block", parent, name)
	m.file(dir+"/dev", dev)
	for _, h := range holders {
		m.file(dir+"/holders/"+h, "")
	}
	m.file("sys/class/block/.keep", "")
	if err := os.Symlink(filepath.Join(m.dir, dir), filepath.Join(m.dir, "sys/class/block", name)); err != nil {
		m.t.Fatal(err)
	}
	return dir
}

func (m tree) part(name, parent, dev string, n int, start, size string, holders ...string) {
	m.t.Helper()
	dir := m.block(name, parent, dev, holders...)
	m.file(dir+"/partition", string(rune('0'+n)))
	m.file(dir+"/start", start)
	m.file(dir+"/size", size)
}

func (m tree) mapping(kernel, dev, name, uuid string, holders ...string) {
	m.t.Helper()
	dir := m.block(kernel, "", dev, holders...)
	m.file(dir+"/dm/name", name)
	m.file(dir+"/dm/uuid", uuid)
}

// machine has sda1: ESP; sda2: LUKS, on it a group with two volumes, one of
// them with a LUKS of its own; sda3 and sda4: an array with a partition; sda5:
// a kept one.
func machine(t *testing.T) tree {
	m := tree{t, t.TempDir()}
	m.block("sda", "", "8:0")
	m.part("sda1", "sda", "8:1", 1, "2048", "2048")
	m.part("sda2", "sda", "8:2", 2, "4096", "8192", "dm-0")
	m.part("sda3", "sda", "8:3", 3, "12288", "2048", "md127")
	m.part("sda4", "sda", "8:4", 4, "14336", "2048", "md127")
	m.part("sda5", "sda", "8:5", 5, "16384", "2048", "dm-4")
	m.mapping("dm-0", "254:0", "crypt", "CRYPT-LUKS2-00112233445566778899aabbccddeeff-crypt", "dm-1", "dm-2")
	m.mapping("dm-1", "254:1", "vg0-root", "LVM-abc")
	m.mapping("dm-2", "254:2", "vg0-my--home", "LVM-def", "dm-3")
	m.mapping("dm-3", "254:3", "inner", "CRYPT-PLAIN-inner")
	m.mapping("dm-4", "254:4", "kept", "CRYPT-LUKS2-ff112233445566778899aabbccddeeff-kept")
	m.block("md127", "", "9:127")
	m.file("sys/block/md127/md/array_state", "clean")
	m.part("md127p1", "md127", "259:0", 1, "2048", "1024")
	m.file("proc/self/mountinfo", "")
	m.file("proc/swaps", "Filename Type Size Used Priority\n")
	return m
}

var kept = []disk.Range{{Offset: 16384 * 512, Size: 2048 * 512}}

func TestFind(t *testing.T) {
	m := machine(t)
	stops, err := Find(sysfs.Root(m.dir), "sda", kept)
	want := []Stop{{Crypt, "inner"}, {Group, "vg0"}, {Crypt, "crypt"}, {Array, "md127"}}
	if diff := cmp.Diff(want, stops); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	stops, err = Find(sysfs.Root(m.dir), "sda", nil)
	if err != nil || !slices.Contains(stops, Stop{Crypt, "kept"}) {
		t.Errorf("%v %v", stops, err)
	}
}

func TestFindBusy(t *testing.T) {
	tests := map[string]struct {
		edit func(tree)
		want string
	}{
		"mounted": {func(m tree) { m.file("proc/self/mountinfo", "1 0 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n") }, "/dev/sda1 mounted on /boot/efi"},
		"deep": {func(m tree) { m.file("proc/self/mountinfo", "1 0 254:1 / /home rw - ext4 /dev/mapper/vg0-root rw\n") },
			"/dev/sda2 held by dm-0 (LUKS crypt) held by dm-1 (LVM vg0/root) mounted on /home"},
		"array": {func(m tree) { m.file("proc/self/mountinfo", "1 0 259:0 / /srv rw - ext4 /dev/md127p1 rw\n") },
			"/dev/sda3 held by md127 with md127p1 mounted on /srv"},
		"swap": {func(m tree) {
			m.file("proc/swaps", "Filename\n/dev/dm-3 partition 999 1 -2\n")
			m.file("proc/meminfo", "MemAvailable: 65536 kB\n")
		}, "held by dm-2 (LVM vg0/my-home) held by dm-3 (plain inner) is swap: turning it off takes 1 MiB of memory and 64 MiB to spare, 64 MiB are available"},
		"multipath": {func(m tree) { m.file("sys/block/dm-0/dm/uuid", "mpath-1") }, "/dev/sda2 held by dm-0 (mpath crypt)"},
		"unknown":   {func(m tree) { m.block("bcache0", "", "252:0"); m.file("sys/block/sda/sda1/holders/bcache0", "") }, "/dev/sda1 held by bcache0"},
		"loop": {func(m tree) {
			m.block("loop7", "", "7:7")
			m.file("sys/block/loop7/loop/backing_file", "/dev/sda1\n")
		}, "/dev/sda1 held by loop7"},
		"other disk": {func(m tree) { // a volume of the group that is not on sda at all
			m.mapping("dm-9", "254:9", "vg0-far", "LVM-ghi")
			m.file("proc/self/mountinfo", "1 0 254:9 / /far rw - ext4 /dev/dm-9 rw\n")
		}, "(LVM vg0/far) mounted on /far"},
	}
	for name, tt := range tests {
		m := machine(t)
		tt.edit(m)
		stops, err := Find(sysfs.Root(m.dir), "sda", kept)
		var busy *BusyError
		if !errors.As(err, &busy) || stops != nil || len(busy.Users) != 1 || !strings.HasSuffix(busy.Users[0], tt.want) {
			t.Errorf("%s: %v, %v", name, stops, err)
		}
	}
}

// Swap is turned off before what it stands on is stopped, when there is memory
// for what is in all of it.
func TestFindSwap(t *testing.T) {
	for swaps, available := range map[string]string{
		"/dev/sda1 partition 9999999 0 -2\n/dev/dm-3 partition 1 0 -3\n":                             "0", // nothing is in them
		"/dev/sda1 partition 9999999 1024 -2\n/dev/dm-3 partition 9 1024 -3\n":                       "67584",
		"/dev/sda1 partition 9 1 -2\n/dev/dm-3 partition 9 1 -3\n/dev/dm-4 partition 9 99999999 0\n": "65538", // the third is kept
	} {
		m := machine(t)
		m.file("proc/swaps", "Filename\n"+swaps)
		m.file("proc/meminfo", "MemAvailable: "+available+" kB\n")
		stops, err := Find(sysfs.Root(m.dir), "sda", kept)
		want := []Stop{{Swap, "sda1"}, {Swap, "dm-3"}, {Crypt, "inner"}, {Group, "vg0"}, {Crypt, "crypt"}, {Array, "md127"}}
		if diff := cmp.Diff(want, stops); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
}

// TestFindKeptInUse: what stands on a kept partition may be in use.
func TestFindKeptInUse(t *testing.T) {
	m := machine(t)
	m.file("proc/self/mountinfo", "1 0 254:4 / /home rw - ext4 /dev/mapper/kept rw\n")
	if _, err := Find(sysfs.Root(m.dir), "sda", kept); err != nil {
		t.Error(err)
	}
}

func TestCommand(t *testing.T) {
	tests := map[Stop]string{
		{Array, "md127"}: "mdadm --stop /dev/md127",
		{Crypt, "crypt"}: "cryptsetup close crypt",
		{Other, "x"}:     "dmsetup remove x",
	}
	for s, want := range tests {
		if got := s.Command(true).String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := (Stop{Group, "vg0"}).Command(false); got.Name != "vgchange" || got.Args[len(got.Args)-1] != "vg0" || !slices.Contains(got.Env, "DM_DISABLE_UDEV=1") {
		t.Errorf("%v", got)
	}
}
