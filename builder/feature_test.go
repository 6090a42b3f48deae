package builder

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/config"
)

func names(fs []Feature) string {
	var s []string
	for _, f := range fs {
		s = append(s, string(f))
	}
	return strings.Join(s, " ")
}

func TestParseFeatures(t *testing.T) {
	for _, tt := range []struct{ in, kernel, want string }{
		{"", "cloud", ""},
		{"xfs luks xfs", "cloud", "luks xfs"},
		{"thin", "cloud", "lvm thin"},
		{"f2fs", "generic", "f2fs"},
		{"all", "generic", "btrfs exfat f2fs luks lvm md ntfs swap thin xfs"},
		{"all luks", "cloud", "btrfs exfat luks lvm md ntfs swap thin xfs"},
	} {
		got, err := ParseFeatures(strings.Fields(tt.in), tt.kernel)
		if err != nil || names(got) != tt.want {
			t.Errorf("%s on %s: got %v, %v, want %s", tt.in, tt.kernel, got, err, tt.want)
		}
	}
	_, err := ParseFeatures([]string{"lusk", "f2fs", "reiserfs"}, "cloud")
	wantError(t, err, `"lusk"`, `did you mean "luks"?`, "f2fs: Debian's cloud kernel is built without it; kernel=generic has it", `"reiserfs": there is none of that name, only all, btrfs, `)
}

// The features that an option can name are those that there are.
func TestFeaturesAreTheValuesOfTheOption(t *testing.T) {
	all, err := features()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{allFeatures}
	for f := range all {
		want = append(want, string(f))
	}
	slices.Sort(want)
	r, err := config.Open(images.FS())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"debian", "installer"} {
		item, err := r.Item(name)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(item.Options, func(o config.Option) bool { return o.Name == "tools" })
		if i < 0 {
			t.Fatalf("%s has no option tools", name)
		}
		if got := item.Options[i].Of.Values; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// Every feature says what it is for, and brings something to both systems.
func TestFeaturesAreWhole(t *testing.T) {
	all, err := features()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range all {
		if f.About == "" || len(f.Payload) == 0 {
			t.Errorf("%s: it lacks a description or packages of the payload", name)
		}
		if (len(f.System.Packages) == 0) != (len(f.System.Programs) == 0) {
			t.Errorf("%s: packages %v for programs %v", name, f.System.Packages, f.System.Programs)
		}
		for file := range f.Config {
			if !strings.HasPrefix(file, "etc/") {
				t.Errorf("%s: only /usr and /etc of the system image are in the RAM system, not %s", name, file)
			}
		}
	}
	_, err = parseFeatures([]byte("a: {about: x, needs: [b]}"))
	wantError(t, err, "a needs", "b", "no feature")
	_, err = parseFeatures([]byte("a: {abuot: x}"))
	wantError(t, err, "abuot")
}

func TestInstallerWithFeatures(t *testing.T) {
	before := InstallerSpec{Packages: []string{"e2fsprogs"}, Programs: []string{"mke2fs"}, Modules: []string{"cloud"}, Config: map[string]string{"etc/x": "y"}}
	spec := before
	spec.Features = []Feature{LUKS, LVM}
	got, err := spec.withFeatures()
	if err != nil {
		t.Fatal(err)
	}
	if want := "cryptsetup-bin dmsetup e2fsprogs lvm2"; strings.Join(got.Packages, " ") != want {
		t.Errorf("packages %v, want %s", got.Packages, want)
	}
	for _, p := range []string{"mke2fs", "cryptsetup", "lvm", "pvcreate"} {
		if !slices.Contains(got.Programs, p) {
			t.Errorf("no program %s: %v", p, got.Programs)
		}
	}
	if strings.Join(got.Modules, " ") != "cloud crypto lvm" || strings.Join(got.Libraries, " ") != "libgcc_s.so.1" {
		t.Errorf("modules %v, libraries %v", got.Modules, got.Libraries)
	}
	if !strings.Contains(got.Config["etc/lvm/lvm.conf"], "udev_sync = 0") || got.Config["etc/x"] != "y" || len(spec.Config) != 1 {
		t.Errorf("configuration %v of %v", got.Config, spec.Config)
	}
	if !slices.Equal(spec.Packages, before.Packages) {
		t.Errorf("the specification was changed: %v", spec.Packages)
	}
	spec.Features = []Feature{"zfs"}
	_, err = spec.withFeatures()
	wantError(t, err, `"zfs"`)
}

func TestPayloadFeatures(t *testing.T) {
	got, err := FeaturePackages([]Feature{LVM, LUKS})
	if err != nil || strings.Join(got, " ") != "cryptsetup cryptsetup-initramfs lvm2 systemd-cryptsetup" {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = FeaturePackages([]Feature{"zfs"})
	wantError(t, err, `"zfs"`)

	spec, err := PayloadSpec{Packages: []string{"vim"}, Features: []Feature{XFS}}.withFeatures()
	if err != nil || strings.Join(spec.Packages, " ") != "vim xfsprogs" {
		t.Errorf("got %v, %v", spec.Packages, err)
	}
	_, err = PayloadSpec{Features: []Feature{"zfs"}}.withFeatures()
	wantError(t, err, `"zfs"`)

	// What counts is what the payload has, whoever asked for it.
	found, err := featuresOf(map[string]string{"mount": "1", "lvm2": "2", "cryptsetup": "3", "mdadm": "4"})
	if err != nil || names(found) != "lvm md swap" {
		t.Errorf("got %v, %v", found, err)
	}
}

func TestConfigFiles(t *testing.T) {
	files := configFiles(map[string]string{"etc/lvm/lvm.conf": "b", "etc/a": "a"})
	if len(files) != 2 || files[0].Path != "etc/a" || files[1].Size != 1 {
		t.Fatalf("got %+v", files)
	}
	e, err := systemEntry(files[0])
	if err != nil || string(e.Data) != "a" || e.Origin != "vic:configuration" || e.Header.Mode != 0o644 {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestLayoutFeatures(t *testing.T) {
	const gpt = `{"type": "gpt", "partitions": {"root": {"content": %s}}}`
	const table = `{"type": "table", "partitions": [{"content": %s}]}`
	for _, tt := range []struct{ at, content, want string }{
		{gpt, `{"type": "filesystem", "format": "ext4"}`, ""},
		{gpt, `{"type": "filesystem", "format": "vfat"}`, ""},
		{table, `{"type": "filesystem", "format": "xfs"}`, "xfs"},
		{"%s", `{"type": "filesystem", "format": "exfat"}`, "exfat"},
		{gpt, `{"type": "filesystem", "format": "f2fs"}`, "f2fs"},
		{gpt, `{"type": "swap"}`, "swap"},
		{gpt, `{"type": "swap", "randomEncryption": true}`, "luks swap"},
		{gpt, `{"type": "btrfs", "subvolumes": {"/root": {}}}`, "btrfs"},
		{gpt, `{"type": "btrfs", "swap": {"swapfile": {"size": "1G"}}}`, "btrfs swap"},
		{gpt, `{"type": "btrfs", "subvolumes": {"/swap": {"swap": {"swapfile": {"size": "1G"}}}}}`, "btrfs swap"},
		{table, `{"type": "luks", "name": "c", "content": {"type": "btrfs", "mountpoint": "/"}}`, "btrfs luks"},
		{gpt, `{"type": "zfs", "pool": "p"}`, ""},
		{gpt, "null", ""},
	} {
		var c layout.Content
		if err := json.Unmarshal(fmt.Appendf(nil, tt.at, tt.content), &c); err != nil {
			t.Fatal(err)
		}
		l := layout.Layout{Disk: map[string]layout.Disk{"a": {Content: &c}}}
		if got := strings.Join(LayoutFeatures(l), " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.content, got, tt.want)
		}
	}
}

// Volumes and arrays are found wherever they stand, and what is in them too.
func TestLayoutFeaturesOfVolumes(t *testing.T) {
	content := func(s layout.Spec) *layout.Content { return &layout.Content{Spec: s} }
	l := layout.Layout{
		Disk:  map[string]layout.Disk{"a": {Content: content(&layout.MDRaid{Name: "r"})}, "blank": {}},
		MDADM: map[string]layout.Array{"r": {Content: content(&layout.LUKS{Content: content(&layout.LVMPV{VG: "v"})})}},
		LVMVG: map[string]layout.VolumeGroup{"v": {LVs: map[string]layout.LogicalVolume{
			"root": {Pool: "pool", Content: content(&layout.Filesystem{Format: "xfs"})}}}},
	}
	want := []string{"luks", "lvm", "md", "thin", "xfs"}
	if got := LayoutFeatures(l); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	delete(l.LVMVG["v"].LVs, "root")
	maps.Copy(l.LVMVG["v"].LVs, map[string]layout.LogicalVolume{"p": {LVMType: "thin-pool"}})
	if got := LayoutFeatures(l); !slices.Equal(got, []string{"luks", "lvm", "md", "thin"}) {
		t.Errorf("got %v", got)
	}
}
