package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool"
)

func TestKeyBytes(t *testing.T) {
	for _, tt := range []struct {
		key  plan.KeyFile
		text string
		want string
		err  string
	}{
		{plan.KeyFile{}, "bytes\n", "bytes\n", ""},
		{plan.KeyFile{Password: true}, "pass word\r\n\n", "pass word", ""},
		{plan.KeyFile{Offset: 2}, "bytes", "tes", ""},
		{plan.KeyFile{Offset: 1, Size: 3}, "bytes", "yte", ""},
		{plan.KeyFile{Size: 6}, "bytes", "", "it has 5 bytes, 6 from byte 0 on are wanted"},
		{plan.KeyFile{Offset: 6}, "bytes", "", "it has 5 bytes"},
		{plan.KeyFile{Offset: 5}, "bytes", "", "it is empty"},
		{plan.KeyFile{Password: true}, "\n", "", "it is empty"},
	} {
		got, err := keyBytes(tt.key, tt.text)
		if string(got) != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%+v %q: %q, %v", tt.key, tt.text, got, err)
		}
	}
}

func TestPBKDFMemory(t *testing.T) {
	for _, tt := range []struct {
		args      []string
		available int64
		want      string
	}{
		{nil, 4 << 30, ""},
		{nil, 120 << 20, "--pbkdf-memory 61440"},
		{nil, 10 << 20, "--pbkdf-memory 16384"},
		{[]string{"--pbkdf", "pbkdf2"}, 120 << 20, ""},
		{[]string{"--pbkdf-memory=1000"}, 120 << 20, ""},
		{[]string{"--type", "luks1"}, 120 << 20, ""},
		{[]string{"--cipher", "aes-xts-plain64"}, 120 << 20, "--pbkdf-memory 61440"},
	} {
		if got := strings.Join(pbkdfArgs(tt.args, tt.available), " "); got != tt.want {
			t.Errorf("%q with %d: %q", tt.args, tt.available, got)
		}
	}
}

func TestFindDisk(t *testing.T) {
	a := plan.Disk{Device: "/dev/a", Path: "pci-1", Serial: "S1", Size: 100, SectorSize: 512}
	b := plan.Disk{Device: "/dev/b", Path: "pci-2", Size: 100, SectorSize: 512}
	moved := a
	moved.Device, moved.Path = "/dev/c", "pci-3"
	if got, err := FindDisk(a, []plan.Disk{b, moved}); err != nil || got != moved {
		t.Errorf("a disk has moved: %+v, %v", got, err)
	}
	small, other := a, a
	small.Size, other.SectorSize = 99, 4096
	for name, disks := range map[string][]plan.Disk{"not there": {b}, "no disk at all": nil, "there are several": {a, moved}, "found 99 bytes": {small}, "sectors of 4096": {other}} {
		_, err := FindDisk(a, disks)
		if err == nil || !strings.Contains(err.Error(), name) || ExitCode(err, false) != ExitRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := FindDisk(b, []plan.Disk{a}); err == nil {
		t.Error("another place on the bus is another disk")
	}
}

func entry(n int, first, last uint64) layout.Entry {
	return layout.Entry{
		Number: n, FirstLBA: first, LastLBA: last, Type: layout.TypeLinux, Label: fmt.Sprint("p", n),
		GUID: uuid.NewSHA1(uuid.Nil, []byte{byte(n)}),
	}
}

func TestCompareTables(t *testing.T) {
	fs := &layout.Content{Spec: &layout.Filesystem{Format: "ext4"}}
	want := layout.Table{Kind: layout.KindGPT, GUID: uuid.MustParse("aaaaaaaa-0000-4000-8000-000000000000"), Entries: []layout.Entry{entry(1, 10, 19), entry(2, 20, 29), entry(3, 30, 39)}}
	want.Entries[0].Content, want.Entries[1].Content, want.Entries[1].Kept = fs, fs, true
	change := func(f func(*layout.Table)) *layout.Table {
		now := want
		now.Entries = slices.Clone(want.Entries)
		f(&now)
		return &now
	}
	half := unfinish(want, nil)
	if half.Entries[0].Type != plan.TypeUnfinished || half.Entries[1].Type != layout.TypeLinux || half.Entries[2].Type != layout.TypeLinux {
		t.Errorf("unfinished: %+v", half.Entries)
	}
	if again := unfinish(want, change(func(*layout.Table) {})); cmp.Diff(again, want) != "" {
		t.Error("a partition that was finished is marked again")
	}
	for name, tt := range map[string]struct {
		now  *layout.Table
		like likeness
	}{
		"none":       {nil, different},
		"same":       {change(func(*layout.Table) {}), final},
		"unfinished": {&half, between},
		"guid":       {change(func(n *layout.Table) { n.GUID[0]++ }), different},
		"fewer":      {change(func(n *layout.Table) { n.Entries = n.Entries[:2] }), different},
		"longer":     {change(func(n *layout.Table) { n.Entries[2].LastLBA++ }), different},
		"label":      {change(func(n *layout.Table) { n.Entries[2].Label = "" }), different},
		"type":       {change(func(n *layout.Table) { n.Entries[2].Type = layout.TypeESP }), different},
		"kind":       {change(func(n *layout.Table) { n.Kind = layout.KindMBR }), different},
	} {
		if got := compare(want, tt.now); got != tt.like {
			t.Errorf("%s: %d, want %d", name, got, tt.like)
		}
	}
	mixed := want
	mixed.Entries = slices.Clone(want.Entries)
	mixed.Entries[2].MBR = &layout.MBREntry{Type: 0x0c}
	if got := compare(mixed, &want); got != between {
		t.Errorf("a hybrid MBR that is not there yet: %d", got)
	}
}

func TestCompareMBR(t *testing.T) {
	e := layout.Entry{Number: 1, FirstLBA: 10, LastLBA: 19, MBR: &layout.MBREntry{Type: 0x83, Part: "primary"}, Content: &layout.Content{Spec: &layout.Swap{}}}
	want := layout.Table{Kind: layout.KindMBR, GUID: uuid.MustParse("aaaaaaaa-0000-4000-8000-000000000000"), Entries: []layout.Entry{e}}
	half := unfinish(want, nil)
	half.GUID[15]++ // an MBR has four bytes of it
	if half.Entries[0].MBR.Type != plan.UnfinishedMBR || want.Entries[0].MBR.Type != 0x83 {
		t.Errorf("%+v", half.Entries[0].MBR)
	}
	if got := compare(want, &half); got != between {
		t.Errorf("unfinished: %d", got)
	}
	if got := compare(want, &want); got != final {
		t.Errorf("same: %d", got)
	}
}

func TestZFSArguments(t *testing.T) {
	d := &plan.Device{Disk: "a", Partition: 1}
	pool := plan.CreatePool{Pool: "tank", Vdevs: []plan.Word{{Text: "mirror"}, {Device: d}, {Device: d}}, Options: map[string]string{"ashift": "12", "a": "b"},
		RootOptions: map[string]string{"compression": "zstd"}, Mountpoint: "/"}
	if got, want := strings.Join(poolArgs(pool, []string{"/dev/a1", "/dev/b1"}, "/mnt"), " "),
		"create -f -R /mnt -o a=b -o ashift=12 -O mountpoint=/ -O compression=zstd tank mirror /dev/a1 /dev/b1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for want, a := range map[string]plan.CreateDataset{
		"create -p -u -o mountpoint=legacy tank/root": {Dataset: "tank/root", Options: map[string]string{"mountpoint": "legacy"}},
		"create -p -V 2G -s tank/swap":                {Dataset: "tank/swap", Size: "2G", Args: []string{"-s"}},
	} {
		if got := strings.Join(datasetArgs(a), " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	b := plan.MkfsBcachefs{UUID: "u", Args: []string{"--replicas=2"}, Key: &plan.KeyFile{}, Members: []plan.BcachefsMember{{Label: "ssd.a", Args: []string{"--discard"}}, {}}}
	if got, want := strings.Join(bcachefsArgs(b, []string{"/dev/a1", "/dev/b1"}), " "),
		"format --force --uuid=u --encrypted --replicas=2 --label=ssd.a --discard /dev/a1 /dev/b1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLines(t *testing.T) {
	var got []string
	l := lines{emit: func(s string) { got = append(got, s) }}
	for _, s := range []string{"one\ntw", "o\r\n\nthree\nend"} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Error(n, err)
		}
	}
	l.flush()
	if want := []string{"one", "two", "three", "end"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// What a script sees, in the shell that there is.
func TestHookScript(t *testing.T) {
	l := layout.VariablesOf(layout.Nodev{FSType: "none", MountOptions: []string{"bind", "ro"}}, "device", "/a b", "mountpoint", "/it's")
	hook := plan.Hook{When: "preMount", At: "/x", Vars: l, Script: "printf '%s|%s|%s|' \"$device\" \"$mountpoint\" \"$rootMountPoint\"; test -z \"${BASH_VERSION-}\" || printf '%s' \"${mountOptions[1]}\""}
	for absent, want := range map[string]string{"": "/a b|/it's|/mnt|ro", "bash": "/a b|/it's|/mnt|"} {
		e := New(Config{Root: "/mnt", Machine: Host{Programs: without(absent)}})
		c, err := e.script(hook)
		if err != nil {
			t.Fatal(err)
		}
		out, err := tool.Exec{}.Run(t.Context(), c)
		if err != nil || string(out.Stdout) != want {
			t.Errorf("without %q: %q %v, want %q", absent, out.Stdout, err, want)
		}
	}
}

// without are the programs of this machine but for one.
type without string

func (w without) LookPath(name string) (string, error) {
	if name == string(w) {
		return "", tool.ErrNotFound
	}
	return tool.Exec{}.LookPath(name)
}
