package layout

import (
	"fmt"
	"strings"
	"testing"
)

// disk is a layout of one disk with the partitions in text, and rest.
func disk(partitions, rest string) string {
	return `{"disk": {"a": {"type": "disk", "device": "/dev/sda", "content": {"type": "gpt", "partitions": {` + partitions + `}}}}` + rest + `}`
}

const (
	ext4   = `"root": {"content": {"type": "filesystem", "format": "ext4", "mountpoint": "/"}}`
	twoPVs = `"p": {"size": "1G", "content": {"type": "lvm_pv", "vg": "v"}}, "q": {"size": "1G", "content": {"type": "lvm_pv", "vg": "v"}}`
	onePV  = `"p": {"size": "1G", "content": {"type": "lvm_pv", "vg": "v"}}`
)

func members(n int, kind, key, name string) string {
	var list []string
	for i := range n {
		list = append(list, `"m`+string(rune('0'+i))+`": {"size": "1G", "content": {"type": "`+kind+`", "`+key+`": "`+name+`"}}`)
	}
	return strings.Join(list, ", ")
}

func group(lvs string) string { return disk(onePV, `, "lvm_vg": {"v": {"lvs": {`+lvs+`}}}`) }

func holding(content string) string { return disk(`"p": {"size": "1G", "content": `+content+`}`, "") }

// TestBadLayouts: each is refused with all that is said to be wrong, and
// nothing else.
func TestBadLayouts(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string // what each error has to hold, in order
	}{
		"two at once": {disk(ext4+`, "x": {"size": "5X", "type": "EF99"}`, `, "nodev": {"/": {"fsType": "tmpfs"}}`), []string{
			`partitions.x.size: read size "5X"`, `partitions.x.type: unknown partition type "EF99"`, `disk.a.content.partitions.root.content.mountpoint: / is mounted a second time: first by nodev./`,
		}},
		"disk twice": {`{"disk": {"a": {"device": "/dev/sda"}, "b": {"device": "/dev/sda"}}}`, []string{`disk.b.device: the same device as disk.a.device`}},
		"relative":   {`{"disk": {"a": {"device": "sda"}}}`, []string{`disk.a.device: expected an absolute path`}},
		"disk type":  {`{"disk": {"a": {"type": "dsik", "device": "/dev/sda"}}}`, []string{`unknown type "dsik", expected one of disk; did you mean "disk"?`}},

		"no group":       {disk(onePV, ""), []string{`partitions.p.content.vg: there is no lvm_vg.v`}},
		"near group":     {disk(onePV, `, "lvm_vg": {"vv": {}}`), []string{`there is no lvm_vg.v; did you mean "vv"?`, `lvm_vg.vv: it has no members`}},
		"no members":     {disk(ext4, `, "mdadm": {"r": {}}`), []string{`mdadm.r: it has no members: no content of type mdraid names it`}},
		"no pool":        {holding(`{"type": "zfs", "pool": "tank"}`), []string{`there is no zpool.tank`}},
		"no bcachefs":    {holding(`{"type": "bcachefs", "filesystem": "f"}`), []string{`there is no bcachefs_filesystems.f`}},
		"group unnamed":  {holding(`{"type": "lvm_pv"}`), []string{`vg is missing`}},
		"cycle":          {group(`"l": {"size": "1G", "content": {"type": "lvm_pv", "vg": "v"}}`), []string{`lvm_vg.v: needs itself: lvm_vg.v is on lvm_vg.v`}},
		"long cycle":     {disk(onePV, `, "lvm_vg": {"v": {"lvs": {"l": {"size": "1G", "content": {"type": "mdraid", "name": "r"}}}}}, "mdadm": {"r": {"level": "container", "content": {"type": "lvm_pv", "vg": "v"}}}`), []string{`mdadm.r: needs itself: mdadm.r is on lvm_vg.v is on mdadm.r`}},
		"same group":     {disk(twoPVs+`, `+members(1, "lvm_pv", "vg", "w"), `, "lvm_vg": {"v": {"name": "x"}, "w": {"name": "x"}}`), []string{`lvm_vg.w: the same name as lvm_vg.v: "x"`}},
		"same volume":    {group(`"a": {"size": "1G", "name": "x"}, "b": {"size": "1G", "name": "x"}`), []string{`lvm_vg.v.lvs.b: the same name as lvm_vg.v.lvs.a`}},
		"no size":        {group(`"a": {}`), []string{`lvm_vg.v.lvs.a: size is missing`}},
		"bad size":       {group(`"a": {"size": "10X"}, "b": {"size": "50%"}, "c": {"size": "101%FREE"}, "d": {"size": "0"}`), []string{`lvs.a.size: read size "10X"`, `lvs.b.size: read size "50%"`, `lvs.c.size: expected 1 to 100 percent`, `lvs.d.size: read size "0M"`}},
		"thin, no pool":  {group(`"a": {"size": "1G", "lvm_type": "thinlv"}`), []string{`lvs.a: pool is missing`}},
		"thin, unknown":  {group(`"pool": {"size": "1G", "lvm_type": "thin-pool"}, "a": {"size": "1G", "lvm_type": "thinlv", "pool": "poll"}`), []string{`there is no volume "poll" in the group; did you mean "pool"?`}},
		"thin, no such":  {group(`"pool": {"size": "1G"}, "a": {"size": "1G", "lvm_type": "thinlv", "pool": "pool"}`), []string{`volume "pool" is no pool`}},
		"thin, percent":  {group(`"pool": {"size": "1G", "lvm_type": "thin-pool"}, "a": {"size": "50%VG", "lvm_type": "thinlv", "pool": "pool"}`), []string{`a thin volume has a size of its own`}},
		"pool, not thin": {group(`"pool": {"size": "1G", "lvm_type": "thin-pool"}, "a": {"size": "1G", "pool": "pool"}`), []string{`only a volume with lvm_type: thinlv is in a pool`}},
		"pool, filled":   {group(`"pool": {"size": "1G", "lvm_type": "thin-pool", "content": {"type": "swap"}}`), []string{`a thin-pool holds volumes`}},
		"lvm raid":       {group(`"a": {"size": "1G", "lvm_type": "raid1"}`), []string{`raid1 needs at least 2 physical volumes, the group has 1`}},
		"lvm type":       {group(`"a": {"size": "1G", "lvm_type": "raid11"}`), []string{`unknown type "raid11"`}},
		"lv name":        {group(`"a_tmeta": {"size": "1G"}, "b/c": {"size": "1G"}`), []string{`no name for a logical volume: "a_tmeta"`, `no name for a logical volume: "b/c"`}},
		"vg name":        {disk(members(1, "lvm_pv", "vg", "-v"), `, "lvm_vg": {"-v": {}}`), []string{`lvm_vg.-v.name: expected letters`}},

		"raid 1 of one":  {disk(members(1, "mdraid", "name", "r"), `, "mdadm": {"r": {}}`), []string{`level 1 needs at least 2 members, got 1`}},
		"raid 6 of 3":    {disk(members(3, "mdraid", "name", "r"), `, "mdadm": {"r": {"level": 6}}`), []string{`level 6 needs at least 4 members, got 3`}},
		"level":          {disk(members(2, "mdraid", "name", "r"), `, "mdadm": {"r": {"level": 7}}`), []string{`unknown level "7"`}},
		"metadata":       {disk(members(2, "mdraid", "name", "r"), `, "mdadm": {"r": {"metadata": "1.3"}}`), []string{`unknown metadata "1.3"`}},
		"array name":     {disk(members(2, "mdraid", "name", "a b"), `, "mdadm": {"a b": {}}`), []string{`expected at most 32 letters`}},
		"ESP on RAID":    {disk(`"x": {"size": "1G", "type": "EF00", "content": {"type": "mdraid", "name": "r"}}, "y": {"size": "1G", "content": {"type": "mdraid", "name": "r"}}`, `, "mdadm": {"r": {"level": 0, "content": {"type": "filesystem", "format": "vfat"}}}`), []string{`mdadm.r.level: an EFI system partition can be on level 1 only`, `mdadm.r.metadata: firmware reads`}},
		"array in array": {disk(members(2, "mdraid", "name", "r"), `, "mdadm": {"r": {"content": {"type": "mdraid", "name": "r"}}}`), []string{`mdadm.r: needs itself`}},

		"luks names":    {disk(`"x": {"size": "1G", "content": {"type": "luks", "name": "c"}}, "y": {"size": "1G", "content": {"type": "luks", "name": "c"}}`, ""), []string{`partitions.y.content.name: the same name as disk.a.content.partitions.x.content.name`}},
		"luks unnamed":  {holding(`{"type": "luks"}`), []string{`name is missing`}},
		"luks name":     {holding(`{"type": "luks", "name": "a/b"}`), []string{`expected a file name of at most 127 bytes`}},
		"luks no key":   {holding(`{"type": "luks", "name": "c", "askPassword": false}`), []string{`askPassword: there is no key`}},
		"luks relative": {holding(`{"type": "luks", "name": "c", "passwordFile": "key", "additionalKeyFiles": ["more"]}`), []string{`additionalKeyFiles: expected an absolute path, got "more"`, `passwordFile: expected an absolute path, got "key"`}},
		"luks FIDO2":    {holding(`{"type": "luks", "name": "c", "enrollFido2": true, "enrollRecovery": true, "settings": {"yubikey": {"slot": 2}, "preOpenCommands": "true"}}`), []string{`enrollFido2: vic does not`, `enrollRecovery: vic does not`, `settings.preOpenCommands: commands of NixOS`, `settings.yubikey: vic does not`}},
		"table in luks": {holding(`{"type": "luks", "name": "c", "content": {"type": "gpt"}}`), []string{`a partition table can stand on a disk or an array only`}},
		"table in part": {holding(`{"type": "gpt"}`), []string{`a partition table can stand on a disk or an array only`}},
		"bcache":        {disk(`"p": {"size": "1G", "content": {"type": "bcache_cache", "set": "s"}}`, `, "bcache": {"s": {"type": "bcache"}}`), []string{`content.type: bcache is disko's, but vic`, `bcache: bcache is disko's, but vic`}},
		"disko device":  {`{"disk": {"a": {"device": "/dev/sda", "content": {"type": "gpt", "device": "/dev/sdb", "partitions": {"p": {"device": "/dev/sda7"}}}}}}`, []string{`disk.a.content.device: is "/dev/sda" by default`, `partitions.p.device: is "/dev/disk/by-partlabel/disk-a-p" by default`}},
		"swap priority": {holding(`{"type": "swap", "priority": 40000, "discardPolicy": "twice"}`), []string{`unknown policy "twice"`, `expected 0 to 32767, got 40000`}},
		"swap resume":   {disk(`"p": {"size": "1G", "content": {"type": "swap", "resumeDevice": true, "randomEncryption": true}}, "q": {"size": "1G", "content": {"type": "swap", "resumeDevice": true}}`, ""), []string{`the key is gone`, `a machine resumes from one device`}},
		"swap label":    {holding(`{"type": "swap", "extraArgs": ["-L", "sixteen-letters!"]}`), []string{`longer than 15 bytes`}},
		"swap file":     {holding(`{"type": "btrfs", "swap": {"a": {"size": "2"}, "b": {}, "../c": {"size": "1G"}}}`), []string{`swap.../c.path: expected a plain path`, `swap.a.size: read size "2"`, `swap.b: size is missing`}},
		"subvolumes":    {holding(`{"type": "btrfs", "subvolumes": {"/a": {"mountpoint": "/x"}, "a": {"mountpoint": "/x"}, "../b": {}}}`), []string{`subvolumes.../b.name: expected a plain path`, `subvolumes.a: the same path in the file system as`, `/x is mounted a second time`}},
		"fs UUID":       {disk(`"x": {"content": {"type": "filesystem", "format": "ext4", "extraArgs": ["-U", "809b3a2b-828a-4730-95e1-75b6343e415a"]}}, "y": {"uuid": "809B3A2B-828A-4730-95E1-75B6343E415A"}`, ""), []string{`the same UUID as`}},
		"no format":     {holding(`{"type": "filesystem"}`), []string{`format is missing`}},
		"nodev":         {disk(ext4, `, "nodev": {"/tmp": {}, "/x": {"fsType": "none", "mountOptions": ["bind", "a b"]}}`), []string{`nodev./tmp: fsType is missing`, `nodev./x: device is missing: what is bound to /x`, `expected options without spaces, got "a b"`}},
		"labels":        {disk(`"x": {"label": "same"}, "y": {"label": "same"}, "z": {"label": "a label of more than 36 letters, which is too long"}`, ""), []string{`partitions.y.label: the same label as`, `expected at most 36 printable characters`}},
		"end and size":  {disk(`"x": {"size": "1G", "end": "2G"}`, ""), []string{`both size and end are given`}},
		"resize":        {disk(`"x": {"resize": "1G"}`, ""), []string{`only a partition with keep: true can be resized`}},
		"keep":          {disk(`"x": {"keep": true, "start": "1M", "end": "2M", "alignment": 8, "priority": 1, "hybrid": {}}`, ""), []string{`alignment: a partition`, `end: a partition`, `hybrid: a partition`, `priority: a partition`, `start: a partition`}},
		"keep and size": {disk(`"x": {"keep": true, "size": "1G", "resize": "2G"}`, ""), []string{`the partition gets another size: resize is 2G`}},
		"make ntfs":     {holding(`{"type": "filesystem", "format": "ntfs"}`), []string{`vic does not make ntfs: it can be mounted where it is kept`}},
		"hybrid":        {disk(`"a": {"hybrid": {}}, "b": {"hybrid": {}}, "c": {"hybrid": {}}, "d": {"hybrid": {"mbrPartitionType": "0x1ff"}}`, ""), []string{`a hybrid MBR has room for 3 partitions, got 4: a, b, c, d`, `expected a type in hexadecimal`}},
		"match":         {`{"disk": {"a": {"match": {"size": "big", "transport": "scci", "table": "x"}}, "b": {"match": {}}, "c": {"match": {"sise": "1G"}}}}`, []string{`read size range "big"`, `expected a GUID, got "x"`, `unknown transport "scci"`, `disk.b.match: says nothing`, `unknown key "sise"`}},
		"match nothing": {`{"disk": {"b": {"match": {}}}}`, []string{`says nothing that a disk could be chosen by`}},
		"match range":   {`{"disk": {"b": {"match": {"size": "2T..1T"}}}}`, []string{`it ends before it begins`}},

		"five primary":   {table("msdos", `{}, {}, {}, {}, {}`), []string{`room for 4 primary and extended partitions, got 5`}},
		"logical":        {table("msdos", `{"part-type": "logical"}, {"part-type": "extended"}, {"part-type": "extended"}`), []string{`partitions[0].part-type: a logical partition needs an extended one`, `partitions[2].part-type: a table has one extended partition`}},
		"gpt logical":    {table("gpt", `{"part-type": "logical"}`), []string{`a gpt has no logical partitions`}},
		"table words":    {table("mbr", `{"part-type": "second", "fs-type": "fat", "start": "1X", "flags": ["lmv"]}`), []string{`unknown format "mbr"`, `unknown type "second"`, `unknown file system "fat"`, `unknown flag "lmv", expected one of bios_grub`, `read place "1X"`}},
		"extended holds": {table("msdos", `{"part-type": "extended", "content": {"type": "swap"}}`), []string{`an extended partition holds the logical ones`}},

		"pool mode":     {pool(1, `"mode": "raid1"`), []string{`unknown mode "raid1"`}},
		"pool mirror":   {pool(1, `"mode": "mirror"`), []string{`mirror needs at least 2 members, got 1`}},
		"pool raidz3":   {pool(3, `"mode": "raidz3"`), []string{`raidz3 needs at least 4 members, got 3`}},
		"pool name":     {disk(members(1, "zfs", "pool", "mirror"), `, "zpool": {"mirror": {}}`), []string{`no name for a pool: "mirror"`}},
		"topology":      {pool(2, `"mode": {"topology": {"vdev": [{"members": ["nowhere"]}]}}`), []string{`partitions.m0.content is in the pool, but not`, `partitions.m1.content is in the pool, but not`, `member "nowhere" is no device`}},
		"topology key":  {pool(1, `"mode": {"topology": {"vdevs": []}}`), []string{`topology.vdevs: unknown key, expected one of`}},
		"topology none": {pool(1, `"mode": {"topology": {"cache": ["/dev/disk/by-partlabel/disk-a-m0"]}}`), []string{`topology.vdev is empty`}},
		"datasets":      {pool(1, `"datasets": {"a": {}, "b": {"type": "zfs_volume"}, "c": {"type": "zfs_fs", "size": "1G"}, "d": {"type": "zfs_volume", "size": "1X", "mountpoint": "/"}, "a//b": {"type": "zfs_fs"}, "e": {"type": "zfs_fs", "passwordFile": "/x"}}`), []string{`datasets.e.passwordFile: vic does not`, `datasets.a//b.name: is no name for a dataset`, `datasets.a: type is missing`, `datasets.b: size is missing`, `datasets.c: size and content are for`, `datasets.d.mountpoint: a volume is a block device`, `datasets.d.size: read size "1X"`}},
		"bcachefs":      {disk(members(1, "bcachefs", "filesystem", "f"), `, "bcachefs_filesystems": {"f": {"uuid": "x", "passwordFile": "y", "subvolumes": {"s": {"type": "btrfs_subvol"}}}}`), []string{`passwordFile: expected an absolute path`, `subvolumes.s.type: unknown type "btrfs_subvol"`, `uuid: expected a UUID`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("t.json", []byte(tt.text))
			joined, ok := err.(interface{ Unwrap() []error })
			if !ok {
				t.Fatalf("got %v", err)
			}
			left := map[string]bool{}
			for _, e := range joined.Unwrap() {
				left[e.Error()] = true
			}
			for _, w := range tt.want {
				found := ""
				for e := range left {
					if strings.Contains(e, w) {
						found = e
					}
				}
				if found == "" {
					t.Errorf("missing: %s", w)
				}
				delete(left, found)
			}
			for e := range left {
				t.Errorf("also: %s", e)
			}
		})
	}
}

func table(format, partitions string) string {
	return `{"disk": {"a": {"device": "/dev/sda", "content": {"type": "table", "format": "` + format + `", "partitions": [` + partitions + `]}}}}`
}

func pool(n int, rest string) string {
	return disk(members(n, "zfs", "pool", "tank"), `, "zpool": {"tank": {`+rest+`}}`)
}

// TestGoodLayouts are accepted, odd as they are.
func TestGoodLayouts(t *testing.T) {
	for name, text := range map[string]string{
		"data only":      disk(`"x": {"content": {"type": "filesystem", "format": "xfs"}}`, ""),
		"two at raid5":   disk(members(2, "mdraid", "name", "r"), `, "mdadm": {"r": {"level": 5}}`),
		"degraded":       disk(members(1, "mdraid", "name", "r"), `, "mdadm": {"r": {"extraArgs": ["--raid-devices=2 missing"]}}`),
		"kept ntfs":      disk(`"x": {"keep": true, "content": {"type": "filesystem", "format": "ntfs", "mountpoint": "/win"}}`, ""),
		"nulls":          `{"disk": {"a": {"device": "/dev/sda", "content": {"type": "gpt", "partitions": {"p": {"uuid": null, "content": null, "hybrid": null, "priority": null}}}}}, "nodev": null, "zpool": {}}`,
		"device at last": `{"disk": {"a": {"device": "/dev/sda", "content": {"type": "gpt", "device": "/dev/sda", "partitions": {"a p": {"label": "a (b)", "device": "/dev/disk/by-partlabel/a\\x20\\x28b\\x29", "content": {"type": "luks", "device": "/dev/disk/by-partlabel/a\\x20\\x28b\\x29", "name": "c", "content": {"type": "swap", "device": "/dev/mapper/c"}}}}}}}}`,
		"reference":      disk(members(1, "lvm_pv", "vg", "real"), `, "lvm_vg": {"key": {"name": "real", "lvs": {"l": {"size": "1.5g", "type": "lvm_lv"}}}}`),
		"two swaps":      disk(`"p": {"size": "1G", "content": {"type": "swap", "priority": 5}}, "q": {"size": "1G", "content": {"type": "swap", "priority": 5}}`, ""),
		"empty refusals": holding(`{"type": "luks", "name": "c", "enrollFido2": false, "extraFido2EnrollArgs": [], "settings": {"yubikey": null, "preOpenCommands": ""}, "_meta": {}}`),
		"slashes":        holding(`{"type": "filesystem", "format": "ext4", "mountpoint": "//nix/"}`),
	} {
		if _, err := Parse(name, []byte(text)); err != nil {
			t.Error(err)
		}
	}
}

func TestValidateSystem(t *testing.T) {
	for text, want := range map[string]string{
		disk(ext4, ""):      "",
		disk(`"x": {}`, ""): "nothing is mounted on /",
		disk(`"x": {}`, `, "nodev": {"/": {"fsType": "tmpfs"}}`): "nodev./: / is on no disk",
	} {
		err := mustParse(t, text).ValidateSystem()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestOldSwap(t *testing.T) {
	l := mustParse(t, holding(`{"type": "btrfs", "swap": {"enable": true, "files": [{"size": "1G"}, {"size": "2G"}, {"size": "3G", "path": "p"}, {"size": "4G", "pathPrefix": "x"}]}, "subvolumes": {"/s": {"swap": {"enable": false, "files": []}}}}`))
	b, _ := specOf[*Btrfs](l.Disk["a"].Content.Spec.(*GPT).Partitions["p"].Content)
	got := ""
	for _, name := range sortedKeys(b.Swap) {
		got += name + " " + b.Swap[name].Size + ", "
	}
	if want := "p 3G, swapfile 1G, swapfile2 2G, x4 4G, "; got != want || len(b.Subvolumes["/s"].Swap) != 0 {
		t.Errorf("got %s %v", got, b.Subvolumes)
	}
}

func TestNesting(t *testing.T) {
	for depth, ok := range map[int]bool{10: true, 60: false} {
		text := `{"type": "swap"}`
		for i := range depth {
			text = fmt.Sprintf(`{"type": "luks", "name": "c%d", "content": %s}`, i, text)
		}
		_, err := Parse("t.json", []byte(holding(text)))
		if (err == nil) != ok || !ok && !strings.Contains(err.Error(), "is nested more than 32 deep") {
			t.Errorf("%d: %v", depth, err)
		}
	}
}

// TestMistakesBesideOthers: what was read wrongly does not bring up more
// mistakes than there are.
func TestMistakesBesideOthers(t *testing.T) {
	text := disk(`"p": {"size": "1G", "kontent": {"type": "lvm_pv", "vg": "v"}}, "q": {"size": "1X"}`, `, "lvm_vg": {"v": {"lvs": {"l": {"sise": "1G"}}}}`)
	_, err := Parse("t.json", []byte(text))
	want := []string{
		`t.json:1:117: disk.a.content.partitions.p: unknown key "kontent"; did you mean "content"?`,
		`t.json:1:166: disk.a.content.partitions.q.size: read size "1X": expected a number of sectors, or of K, M, G, T or P, such as 512M`,
		`t.json:1:216: lvm_vg.v.lvs.l: unknown key "sise"; did you mean "size"?`,
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got %v", err)
	}
}

func TestNodevThatIsNotMounted(t *testing.T) {
	l := mustParse(t, disk(ext4, `, "nodev": {"/tmp": {"fsType": "tmpfs", "mountpoint": null}, "/": {"fsType": "tmpfs", "mountpoint": "/run/x"}}`))
	if len(l.Nodev) != 1 || l.Nodev["/"].Mountpoint != "/run/x" {
		t.Errorf("got %+v", l.Nodev)
	}
}
