package storage

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var seed = uuid.MustParse("8c0e2a83-1b1e-4d5e-9a35-0a1f3c9a7b10")

// examples are the layouts that the documentation shows.
const examples = "../../../disk/layout/testdata/examples"

func mustParse(t testing.TB, text string) layout.Layout {
	t.Helper()
	l, err := layout.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// blank are disks for all that a layout names.
func blank(l layout.Layout) map[string]State {
	disks := map[string]State{}
	for i, name := range slices.Sorted(maps.Keys(l.Disk)) {
		disks[name] = State{Disk: Disk{
			Device: fmt.Sprintf("/dev/vd%c", 'a'+i), Path: fmt.Sprintf("pci-0000:00:0%d.0", i+1),
			Serial: "QM000" + fmt.Sprint(i+1), Size: 64 << 30, SectorSize: 512,
		}}
	}
	return disks
}

// render is a plan as the golden files have it.
func render(p Plan) string {
	var b strings.Builder
	for _, d := range p.Disks {
		b.WriteString(d.Picture())
	}
	for _, part := range []struct {
		name  string
		steps []Step
	}{{"create", p.Create}, {"mount", p.Mount}, {"unmount", p.Unmount}} {
		fmt.Fprintf(&b, "%s\n", part.name)
		for _, s := range part.steps {
			fmt.Fprintf(&b, "  %-9s %-14s %s\n", s.Phase, s.Action.Kind(), s.Name)
		}
	}
	fmt.Fprintf(&b, "programs %s\n", strings.Join(p.Programs, " "))
	for _, k := range p.Secrets {
		fmt.Fprintf(&b, "secret %s %s\n", k.Secret, k.File)
	}
	fmt.Fprintf(&b, "root=%s %s\n", p.Boot.Root, strings.Join(p.Boot.Cmdline, " "))
	for _, path := range slices.Sorted(maps.Keys(p.Boot.Files)) {
		fmt.Fprintf(&b, "%s:\n%s", path, indent(p.Boot.Files[path]))
	}
	for _, path := range slices.Sorted(maps.Keys(p.Boot.Keys)) {
		fmt.Fprintf(&b, "%s: %s\n", path, p.Boot.Keys[path].Secret)
	}
	return b.String()
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob(examples + "/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d examples (%v)", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			l := mustParse(t, string(text))
			c := Config{Layout: l, Disks: blank(l), Seed: seed, Anew: true}
			if now, ok := states[name]; ok {
				now(c.Disks)
			}
			p, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, render(p))
			again, err := New(c)
			if err != nil || cmp.Diff(render(p), render(again)) != "" {
				t.Errorf("the second plan differs: %v", err)
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update makes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// states are what is on the disks of the examples that keep something.
var states = map[string]func(map[string]State){
	"keep": windows,
	"resize": func(disks map[string]State) {
		windows(disks)
		disks["main"].Found[1] = Found{Partition: 3, Type: "crypto_LUKS", UUID: "5d3c2a10-8f4e-4a51-9c43-000000000005"}
	},
}

// windows is a disk with an ESP and three partitions of a Windows.
func windows(disks map[string]State) {
	const mib = 1 << 20 / 512
	d := disks["main"]
	d.Table = &layout.Table{Kind: layout.KindGPT, GUID: seed, SectorSize: 512, Size: d.Size, Entries: []layout.Entry{
		{Number: 1, Label: "EFI system partition", Type: layout.TypeESP, GUID: uuid.MustParse("3f5a2f0e-6a3c-4b8e-9d56-0c1f6f1f2a10"), FirstLBA: mib, LastLBA: 101*mib - 1},
		{Number: 2, Label: "Microsoft reserved partition", Type: uuid.MustParse("e3c9e316-0b5c-4db8-817d-f92df00215ae"), GUID: uuid.MustParse("3f5a2f0e-6a3c-4b8e-9d56-0c1f6f1f2a12"), FirstLBA: 101 * mib, LastLBA: 117*mib - 1},
		{Number: 3, Label: "Basic data partition", Type: uuid.MustParse("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"), GUID: uuid.MustParse("3f5a2f0e-6a3c-4b8e-9d56-0c1f6f1f2a11"), FirstLBA: 117 * mib, LastLBA: 60000*mib - 1},
		{Number: 4, Label: "Windows recovery", Type: uuid.MustParse("de94bba4-06d1-4d40-a16a-bfd50179d6ac"), GUID: uuid.MustParse("3f5a2f0e-6a3c-4b8e-9d56-0c1f6f1f2a13"), FirstLBA: 60000 * mib, LastLBA: 61000*mib - 1},
	}}
	d.Found = []Found{
		{Partition: 1, Type: "vfat", UUID: "7E12-34AB"},
		{Partition: 3, Type: "ntfs", UUID: "0123456789ABCDEF", Label: "Windows", MinSize: 2 << 30},
		{Partition: 4, Type: "ntfs", UUID: "0123456789ABCDEE", Label: "Recovery"},
	}
	disks["main"] = d
}

// The largest example takes far less than the 50 ms that a person would notice.
func TestPlanningIsQuick(t *testing.T) {
	files, err := filepath.Glob(examples + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		best := time.Hour
		for range 5 {
			start := time.Now()
			l := mustParse(t, string(text))
			if _, err := New(Config{Layout: l, Disks: withStates(l, file), Seed: seed, Anew: true}); err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(start))
		}
		if best > 50*time.Millisecond {
			t.Errorf("%s: reading and planning takes %v", file, best)
		}
	}
}

func withStates(l layout.Layout, file string) map[string]State {
	disks := blank(l)
	if now, ok := states[strings.TrimSuffix(filepath.Base(file), ".yaml")]; ok {
		now(disks)
	}
	return disks
}

func TestRefusals(t *testing.T) {
	disk := func(partitions string) string {
		return "disk: {main: {type: disk, device: /dev/vda, content: {type: gpt, partitions: {" + partitions + "}}}}\n"
	}
	for name, tt := range map[string]struct{ text, want string }{
		"volumes too large": {disk("a: {size: 100%, content: {type: lvm_pv, vg: v}}") +
			"lvm_vg: {v: {type: lvm_vg, lvs: {x: {size: 60G}, y: {size: 10G}}}}", "10G do not fit: volume group v has 4.0 GiB left"},
		"too small a disk": {disk("a: {size: 100G}"), "/dev/vda (serial QM0001, 64.0 GiB): device is 64 GiB"},
	} {
		l := mustParse(t, tt.text)
		_, err := New(Config{Layout: l, Disks: blank(l), Seed: seed})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

func TestOneDiskTwice(t *testing.T) {
	l := mustParse(t, `
disk:
  a: {type: disk, device: /dev/x, content: {type: filesystem, format: ext4, mountpoint: /a}}
  b: {type: disk, device: /dev/y, content: {type: filesystem, format: ext4, mountpoint: /b}}
`)
	disks := blank(l)
	disks["b"] = disks["a"]
	if _, err := New(Config{Layout: l, Disks: disks, Seed: seed}); err == nil || !strings.Contains(err.Error(), `is given for both "a" and "b"`) {
		t.Errorf("got %v", err)
	}
	delete(disks, "b")
	if _, err := New(Config{Layout: l, Disks: disks, Seed: seed}); err == nil || !strings.Contains(err.Error(), `no disk of this machine is given for "b"`) {
		t.Errorf("got %v", err)
	}
}

// A damaged table keeps nothing when partitions may be missing from it; one
// that only has to be written again does.
func TestDamagedTable(t *testing.T) {
	text, err := os.ReadFile(examples + "/keep.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := mustParse(t, string(text))
	disks := blank(l)
	states["keep"](disks)
	disks["main"].Table.Lost = "neither copy of the GPT is valid"
	_, err = New(Config{Layout: l, Disks: disks, Seed: seed})
	for _, key := range []string{"ESP", "reserved", "windows"} {
		if want := "keep partition " + key + ": the partition table of the device is damaged"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	l = mustParse(t, simple)
	p, err := New(Config{Layout: l, Disks: disks, Seed: seed})
	if err != nil || !slices.Contains(p.Disks[0].Lost, "what a damaged partition table does not show: neither copy of the GPT is valid") {
		t.Errorf("lost: %q %v", p.Disks[0].Lost, err)
	}
}

const simple = `
disk:
  main:
    type: disk
    device: /dev/vda
    content:
      type: gpt
      partitions:
        root: {size: 100%, content: {type: filesystem, format: ext4, mountpoint: /}}
`

// What is as the layout says stays, unless everything is made anew.
func TestWhatIsThereStays(t *testing.T) {
	l := mustParse(t, simple)
	disks := blank(l)
	first, err := New(Config{Layout: l, Disks: disks, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	main := disks["main"]
	now := *first.Disks[0].After
	now.GUID, now.Entries = uuid.New(), slices.Clone(now.Entries)
	now.Entries[0].GUID, now.Entries[0].Content = uuid.New(), nil
	main.Table, main.Found = &now, []Found{{Partition: 1, Type: "ext4", UUID: uuid.NewString()}}
	disks["main"] = main

	kinds := func(anew, taken bool) string {
		p, err := New(Config{Layout: l, Disks: disks, Seed: seed, Anew: anew})
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, s := range p.Create {
			list = append(list, s.Action.Kind())
		}
		if taken && (p.Disks[0].After.GUID != now.GUID || p.Filesystems[0].UUID != main.Found[0].UUID || len(p.Disks[0].Lost) != 0) {
			t.Errorf("identifiers were not taken over: %+v", p.Disks[0])
		}
		return strings.Join(list, " ")
	}
	if got, want := kinds(false, true), "check-state write-table mkfs write-table"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := kinds(true, false), "check-state release wipe write-table mkfs write-table"; got != want {
		t.Errorf("anew: got %s, want %s", got, want)
	}
	now.Entries[0].Type = TypeUnfinished
	if p, err := New(Config{Layout: l, Disks: disks, Seed: seed}); err != nil || p.Filesystems[0].UUID == main.Found[0].UUID {
		t.Errorf("what was left half-made keeps its UUID (%v)", err)
	}
}
