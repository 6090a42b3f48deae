package layout

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOrder: whatever a device is on comes before it.
func TestOrder(t *testing.T) {
	text := `{
		"disk": {
			"z": {"device": "/dev/sdz", "content": {"type": "luks", "name": "p1"}},
			"a": {"device": "/dev/sda", "content": {"type": "btrfs", "extraArgs": ["-d raid1", "/dev/mapper/p1"]}},
			"m": {"device": "/dev/sdm", "content": {"type": "mdraid", "name": "r"}},
			"n": {"device": "/dev/sdn", "content": {"type": "mdraid", "name": "r"}}},
		"mdadm": {"r": {"content": {"type": "luks", "name": "c", "content": {"type": "lvm_pv", "vg": "one"}}}, "q": {"content": {"type": "swap"}}},
		"lvm_vg": {"one": {"lvs": {"x": {"size": "1G", "content": {"type": "mdraid", "name": "q"}}, "y": {"size": "1G", "content": {"type": "mdraid", "name": "q"}}, "z": {"size": "1G", "content": {"type": "lvm_pv", "vg": "a"}}}}, "a": {}}
	}`
	order, err := mustParse(t, text).Order()
	if got, want := fmt.Sprint(order), "[disk.z disk.a disk.m disk.n mdadm.r lvm_vg.one mdadm.q lvm_vg.a]"; err != nil || got != want {
		t.Errorf("got %s %v, want %s", got, err, want)
	}
}

func TestVolumeOrder(t *testing.T) {
	first, last := 1, 5000
	g := VolumeGroup{LVs: map[string]LogicalVolume{
		"rest":  {Size: "100%FREE"},
		"b":     {Size: "1G"},
		"a":     {Size: "1G"},
		"pool":  {Size: "100%FREE", LVMType: "thin-pool"},
		"thin":  {Size: "1G", LVMType: "thinlv", Pool: "late"},
		"early": {Size: "1G", LVMType: "thinlv", Pool: "pool", Priority: &first},
		"p":     {Name: "late", Size: "1G", LVMType: "thin-pool", Priority: &last},
		"now":   {Size: "1G", Priority: &first},
	}}
	if got, want := strings.Join(g.Order(), " "), "now pool early a b rest p thin"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNeeds(t *testing.T) {
	all := examples(t)
	for name, want := range map[string]Features{
		"simple":      {Formats: []string{"ext4", "vfat"}, Tables: []string{"gpt"}},
		"luks-lvm":    {Formats: []string{"ext4", "swap", "vfat", "xfs"}, Tables: []string{"gpt"}, LUKS: true, LVM: true, Volumes: []string{"linear"}},
		"lvm-thin":    {Formats: []string{"ext4"}, Tables: []string{"gpt"}, LVM: true, Volumes: []string{"linear", "thin", "thin-pool"}},
		"mdadm-raid5": {Formats: []string{"ext4", "swap", "vfat", "xfs"}, Tables: []string{"gpt"}, MD: true, Levels: []string{"5"}},
		"swap":        {Formats: []string{"ext4", "swap", "vfat"}, Tables: []string{"gpt"}, RandomSwap: true},
		"nodev":       {Formats: []string{"f2fs", "vfat"}, Tables: []string{"gpt"}, Nodev: []string{"none", "tmpfs"}},
		"hybrid":      {Formats: []string{"ext4", "vfat"}, Tables: []string{"gpt"}, Hybrid: true},
		"msdos":       {Formats: []string{"ext4", "swap", "xfs"}, Tables: []string{"msdos"}},
		"zfs":         {Formats: []string{"swap", "vfat", "zfs"}, Tables: []string{"gpt"}, ZFS: true},
		"bcachefs":    {Formats: []string{"bcachefs", "vfat"}, Tables: []string{"gpt"}, Bcachefs: true},
		"keep":        {Formats: []string{"ext4", "ntfs", "vfat"}, Tables: []string{"gpt"}, Keep: true, Resize: []string{"ntfs"}},
		"resize":      {Formats: []string{"ext4", "swap", "vfat"}, Tables: []string{"gpt"}, LUKS: true, LVM: true, Volumes: []string{"linear"}, Keep: true, Resize: []string{"LVM2_member", "crypto_LUKS"}},
		"hooks":       {Formats: []string{"ext4"}, Tables: []string{"gpt"}, Hooks: true},
	} {
		if diff := cmp.Diff(want, all[name].Needs()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if needs := all["luks-mdadm"].Needs(); !slices.Equal(needs.Levels, []string{"1"}) || !needs.LUKS || !needs.LVM {
		t.Errorf("got %+v", needs)
	}
}
