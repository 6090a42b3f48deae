package storage

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
)

// resizing plans for a disk of 64 GiB with one kept partition "data" of 20 GiB
// that holds found, and is given a size and a content.
func resizing(t *testing.T, found Found, size, content, more string) (Plan, error) {
	t.Helper()
	const mib = 1 << 20 / 512
	l := mustParse(t, "disk: {main: {type: disk, device: /dev/vda, content: {type: gpt, partitions: {data: {keep: true, label: data, resize: "+size+", content: "+content+"}}}}}\n"+more)
	disks := blank(l)
	main := disks["main"]
	main.Table = &layout.Table{Kind: layout.KindGPT, GUID: seed, SectorSize: 512, Size: main.Size, Entries: []layout.Entry{
		{Number: 1, Label: "data", Type: layout.TypeLinux, GUID: uuid.MustParse("3f5a2f0e-6a3c-4b8e-9d56-0c1f6f1f2a10"), FirstLBA: mib, LastLBA: (20<<10+1)*mib - 1},
	}}
	found.Partition = 1
	main.Found = []Found{found}
	disks["main"] = main
	return New(Config{Layout: l, Disks: disks, Seed: seed})
}

// resizes are those of a plan with their layers, and where its table is
// written.
func resizes(t *testing.T, p Plan) string {
	t.Helper()
	var list []string
	for _, s := range p.Create {
		switch a := s.Action.(type) {
		case WriteTable:
			if a.Unfinished {
				list = append(list, "table")
			}
		case Resize:
			var layers []string
			for _, l := range a.Layers {
				text, err := json.Marshal(l)
				if err != nil {
					t.Fatal(err)
				}
				layers = append(layers, string(text))
			}
			name := s.Name
			if a.Again {
				name += " again"
			}
			list = append(list, name+": "+strings.Join(layers, " "))
		}
	}
	return strings.Join(list, "; ")
}

const (
	ext4Home  = "{type: filesystem, format: ext4, mountpoint: /home}"
	groupHome = "lvm_vg: {pool: {type: lvm_vg, lvs: {swap: {size: 1G, content: {type: swap}}, home: {size: 100%FREE, content: " + ext4Home + "}}}}"
	pv        = "{type: lvm_pv, vg: pool}"
	luksKey   = `{"type":"crypto_LUKS","uuid":"u","key":{"secret":"luks-c","password":true,"ask":true}}`
)

func TestResizeLayers(t *testing.T) {
	for name, tt := range map[string]struct {
		found               string
		size, content, more string
		want                string
	}{
		"ext4":              {"ext4", "10G", ext4Home, "", `shrink main:data: {"type":"ext4","uuid":"u"}; table`},
		"ext4 grows":        {"ext4", "30G", ext4Home, "", `table; grow main:data: {"type":"ext4","uuid":"u"}`},
		"as large":          {"ext4", "20G", ext4Home, "", `table`},
		"LUKS":              {"crypto_LUKS", "10G", "{type: luks, name: c, content: " + ext4Home + "}", "", `shrink main:data: ` + luksKey + ` {"type":"ext4"}; table`},
		"LUKS as large":     {"crypto_LUKS", "20G", "{type: luks, name: c, content: " + ext4Home + "}", "", `table; grow main:data again: ` + luksKey + ` {"type":"ext4"}`},
		"LVM":               {"LVM2_member", "10G", pv, groupHome, `shrink main:data: {"type":"LVM2_member","uuid":"u","vg":"pool","lv":"home"} {"type":"ext4"}; table`},
		"LVM grows":         {"LVM2_member", "30G", pv, groupHome, `table; grow main:data: {"type":"LVM2_member","uuid":"u","vg":"pool","lv":"home"} {"type":"ext4"}`},
		"LVM without rest":  {"LVM2_member", "10G", pv, strings.Replace(groupHome, "100%FREE", "5G", 1), `shrink main:data: {"type":"LVM2_member","uuid":"u","vg":"pool"}; table`},
		"LVM in LUKS":       {"crypto_LUKS", "10G", "{type: luks, name: c, content: " + pv + "}", groupHome, `shrink main:data: ` + luksKey + ` {"type":"LVM2_member","vg":"pool","lv":"home"} {"type":"ext4"}; table`},
		"LUKS in LVM":       {"LVM2_member", "30G", pv, strings.Replace(groupHome, ext4Home, "{type: luks, name: c, content: {type: btrfs, mountpoint: /home}}", 1), `table; grow main:data: {"type":"LVM2_member","uuid":"u","vg":"pool","lv":"home"} {"type":"crypto_LUKS","key":{"secret":"luks-c","password":true,"ask":true}} {"type":"btrfs"}`},
		"vfat is shrunk":    {"vfat", "10G", "{type: filesystem, format: vfat}", "", `shrink main:data: {"type":"vfat","uuid":"u"}; table`},
		"content is behind": {"behind", "20G", ext4Home, "", `table; grow main:data again: {"type":"ext4","uuid":"u"}`},
	} {
		found := Found{Type: tt.found, UUID: "u"}
		if tt.found == "behind" {
			found = Found{Type: "ext4", UUID: "u", Size: 10 << 30}
		}
		p, err := resizing(t, found, tt.size, tt.content, tt.more)
		if got := resizes(t, p); err != nil || got != tt.want {
			t.Errorf("%s:\n got %s %v\nwant %s", name, got, err, tt.want)
		}
	}
}

func TestResizeRefusals(t *testing.T) {
	thin := "lvm_vg: {pool: {type: lvm_vg, lvs: {thin: {size: 100%FREE, lvm_type: thin-pool}}}}"
	for name, tt := range map[string]struct {
		found               Found
		size, content, more string
		want                string
	}{
		"too small":       {Found{Type: "ext4", MinSize: 11 << 30}, "10G", ext4Home, "", "its ext4 needs at least 11.0 GiB, and would have 10.0 GiB"},
		"xfs":             {Found{Type: "xfs"}, "10G", "{type: filesystem, format: xfs}", "", "xfs cannot be shrunk"},
		"vfat grows":      {Found{Type: "vfat"}, "30G", "{type: filesystem, format: vfat}", "", "vfat cannot be grown"},
		"unknown":         {Found{Type: "apfs"}, "10G", "{type: filesystem, format: ext4}", "", "apfs cannot be shrunk"},
		"LUKS unsaid":     {Found{Type: "crypto_LUKS"}, "10G", ext4Home, "", "it holds a LUKS container: the layout has to describe it"},
		"LVM unsaid":      {Found{Type: "LVM2_member"}, "10G", ext4Home, "", "it holds a physical volume of LVM: the layout has to describe it"},
		"LUKS with xfs":   {Found{Type: "crypto_LUKS"}, "10G", "{type: luks, name: c, content: {type: filesystem, format: xfs}}", "", "container c: xfs cannot be shrunk"},
		"LUKS of nothing": {Found{Type: "crypto_LUKS"}, "10G", "{type: luks, name: c}", "", "container c: the layout has to say what is in it"},
		"thin pool":       {Found{Type: "LVM2_member"}, "10G", pv, thin, "volume pool/thin is of type thin-pool"},
		"volume with xfs": {Found{Type: "LVM2_member"}, "10G", pv, strings.Replace(groupHome, "ext4", "xfs", 1), "volume pool/home: xfs cannot be shrunk"},
		"two disks":       {Found{Type: "LVM2_member"}, "10G", pv + "}, more: {size: 1G, content: " + pv, groupHome, "volume group pool stands on 2 physical volumes: resize it with LVM"},
		"array":           {Found{Type: "linux_raid_member"}, "10G", ext4Home, "", "linux_raid_member cannot be shrunk"},
	} {
		_, err := resizing(t, tt.found, tt.size, tt.content, tt.more)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "disk.main.content.partitions.data.resize: ") {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}
