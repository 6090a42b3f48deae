package storage

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
)

// hooked gives every type of a layout all six hooks.
func hooked(text string) string {
	var all []string
	for _, when := range []string{"preCreate", "postCreate", "preMount", "postMount", "preUnmount", "postUnmount"} {
		all = append(all, when+"Hook: x")
	}
	for _, indent := range []string{"      ", "    "} { // in a block
		text = strings.ReplaceAll(text, "\n"+indent+"HOOKS\n", "\n"+indent+strings.Join(all, "\n"+indent)+"\n")
	}
	return strings.ReplaceAll(text, "HOOKS", strings.Join(all, ", "))
}

// Every hook of every type is run, around what it stands at.
func TestHooks(t *testing.T) {
	l := mustParse(t, hooked(`
disk:
  a:
    type: disk
    device: /dev/a
    HOOKS
    content:
      type: gpt
      HOOKS
      partitions:
        raid: {size: 10G, content: {type: mdraid, name: md, HOOKS}}
        swap: {size: 1G, content: {type: swap, HOOKS}}
        tank: {size: 1G, content: {type: zfs, pool: tank, HOOKS}}
  b:
    type: disk
    device: /dev/b
    content: {type: mdraid, name: md}
mdadm:
  md:
    type: mdadm
    HOOKS
    content: {type: luks, name: crypt, HOOKS, content: {type: lvm_pv, vg: pool, HOOKS}}
lvm_vg:
  pool:
    type: lvm_vg
    HOOKS
    lvs:
      root: {size: 100%FREE, HOOKS, content: {type: btrfs, HOOKS, subvolumes: {root: {mountpoint: /}, home: {mountpoint: /home}}}}
zpool: {tank: {type: zpool, HOOKS, datasets: {srv: {type: zfs_fs, mountpoint: /srv, HOOKS}}}}
nodev: {/tmp: {fsType: tmpfs, HOOKS}}
`))
	p, err := New(Config{Layout: l, Disks: blank(l), Seed: seed, Anew: true})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "hooks-all", render(p))
	for _, s := range p.Create {
		if h, ok := s.Action.(Hook); ok && h.Script != "x" {
			t.Errorf("%s runs %q", s.Name, h.Script)
		}
	}
	checkVars(t, p)
}

// A hook sees the options of what it stands at.
func checkVars(t *testing.T, p Plan) {
	t.Helper()
	want := map[string]string{
		"postCreateHook of disk.a":                                 "imageName= imageSize= name=a type=disk",
		"preCreateHook of disk.a.content":                          "efiGptPartitionFirst=1 type=gpt",
		"postCreateHook of mdadm.md":                               "level=1 metadata=default name=md type=mdadm",
		"preCreateHook of lvm_vg.pool.lvs.root":                    "lvm_type= name=root pool= priority= size=100%FREE",
		"postCreateHook of zpool.tank.datasets.srv":                "mountpoint=/srv name=srv size= type=zfs_fs",
		"preCreateHook of nodev./tmp":                              "device=none fsType=tmpfs mountpoint=/tmp type=nodev",
		"postCreateHook of disk.a.content.partitions.swap.content": "discardPolicy= priority= randomEncryption= resumeDevice= type=swap",
		"preCreateHook of disk.a.content.partitions.raid.content":  "name=md type=mdraid",
	}
	for _, s := range p.Create {
		if w, ok := want[s.Name]; ok {
			delete(want, s.Name)
			got := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(s.Action.(Hook).Vars.Text), "map["), "]")
			if plain := regexp.MustCompile(`:(\S*)`).ReplaceAllString(got, "=$1"); plain != w {
				t.Errorf("%s sees %s, want %s", s.Name, plain, w)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}
}

// Where disko has no hooks, there are none.
func TestHooksThatAreNone(t *testing.T) {
	for _, text := range []string{
		"disk: {a: {type: disk, device: /dev/a, content: {type: gpt, partitions: {x: {size: 1G, preCreateHook: x}}}}}",
		"disk: {a: {type: disk, device: /dev/a, content: {type: btrfs, subvolumes: {x: {postCreateHook: x}}}}}",
	} {
		if _, err := layout.Parse("x.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "Hook") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
