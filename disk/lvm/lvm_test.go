package lvm

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// tail is a command without the configuration.
func tail(c tool.Cmd) string {
	return tool.Cmd{Name: c.Name, Args: c.Args[2:]}.String()
}

func TestCommands(t *testing.T) {
	l := LVM{Udev: true}
	lv := func(v Volume) tool.Cmd {
		v.VG, v.Name = "vg0", "data"
		c, err := l.CreateLV(v)
		if err != nil {
			t.Error(err)
		}
		return c
	}
	tests := []struct {
		got  tool.Cmd
		want string
	}{
		{l.CreatePVs("/dev/sda2", "/dev/sdb2"), "pvcreate --yes /dev/sda2 /dev/sdb2"},
		{l.CreateVG("vg0", "/dev/sda2"), "vgcreate --yes vg0 /dev/sda2"},
		{lv(Volume{Size: "10G"}), "lvcreate --yes --wipesignatures y --zero y --size 10G --name data vg0"},
		{lv(Volume{Size: "100%FREE", Type: "raid1", Args: []string{"-m", "1"}}), "lvcreate --yes --wipesignatures y --zero y --type raid1 --extents 100%FREE --name data -m 1 vg0"},
		{lv(Volume{Size: "50%VG", Type: "thin-pool"}), "lvcreate --yes --type thin-pool --extents 50%VG --name data vg0"},
		{lv(Volume{Size: "1T", Type: "thinlv", Pool: "pool"}), "lvcreate --yes --wipesignatures y --virtualsize 1T --thinpool pool --name data vg0"},
		{l.Activate("vg0"), "vgchange --activate y vg0"},
		{l.Deactivate("vg0"), "vgchange --activate n vg0"},
		{l.ResizePV("/dev/sda2", 1<<30), "pvresize --yes --setphysicalvolumesize 1073741824b /dev/sda2"},
		{l.ResizePV("/dev/sda2", 0), "pvresize --yes /dev/sda2"},
		{l.ResizeLV("vg0", "data", 1<<30), "lvresize --yes --force --size 1073741824b vg0/data"},
	}
	for _, tt := range tests {
		if got := tail(tt.got); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
	if got := l.MoveTail("/dev/sda2", 50, 100); got.Name != "lvm" || got.Args[0] != "pvmove" || strings.Join(got.Args[3:], " ") != "--yes --alloc anywhere /dev/sda2:50-99 /dev/sda2:0-49" {
		t.Errorf("got %s", got)
	}
	for _, bad := range []Volume{{Type: "thin", Size: "1G"}, {Type: "thin", Size: "10%FREE", Pool: "p"}} {
		if c, err := l.CreateLV(bad); err == nil {
			t.Errorf("%+v gives %s", bad, c)
		}
	}
	without := LVM{Devices: []string{"/dev/sda2", "/dev/sdb2"}}.Activate("vg0")
	if !strings.Contains(without.String(), "udev_sync=0") || !strings.Contains(without.String(), "--devices /dev/sda2,/dev/sdb2") || !slices.Contains(without.Env, "DM_DISABLE_UDEV=1") {
		t.Errorf("without udev: %s %v", without, without.Env)
	}
}

func TestParse(t *testing.T) {
	text := `{"report": [{"lv": [{"vg_name":"vg0","lv_name":"root","lv_uuid":"u","lv_size":"1073741824","segtype":"linear","pool_lv":"","lv_path":"/dev/vg0/root","lv_active":"active","lv_kernel_major":"254","lv_kernel_minor":"3"}]}]}`
	_, _, lvs, err := parse([]byte(text))
	want := []LV{{VG: "vg0", Name: "root", UUID: "u", Size: 1 << 30, Type: "linear", Path: "/dev/vg0/root", Active: "active", Major: 254, Minor: 3}}
	if diff := cmp.Diff(want, lvs); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, bad := range []string{"", `{"report":[{"pv":[{"pv_size":"x"}]}]}`} {
		if _, _, _, err := parse([]byte(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// TestVolumes makes a group with volumes of several types, resizes and stops
// it, which needs device mapper.
func TestVolumes(t *testing.T) {
	tooltest.Root(t)
	r := tooltest.Need(t, "pvcreate", "losetup")
	if _, err := os.Stat("/sys/class/misc/device-mapper"); err != nil {
		t.Skip("this kernel has no device mapper")
	}
	devices := []string{tooltest.Loop(t, 128<<20), tooltest.Loop(t, 128<<20)}
	l := LVM{Udev: udev.Running(), Devices: devices}
	vg := "vic" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	do := func(c tool.Cmd, errs ...error) {
		t.Helper()
		out, err := r.Run(t.Context(), c)
		if err := errors.Join(append(errs, err)...); err != nil {
			t.Fatalf("%v\n%s", err, out.Stdout)
		}
	}
	do(l.CreatePVs(devices...))
	do(l.CreateVG(vg, devices...))
	t.Cleanup(func() { _, _ = r.Run(t.Context(), l.Deactivate(vg)) })
	for _, v := range []Volume{
		{Name: "root", Size: "32M"},
		{Name: "mirror", Size: "16M", Type: "raid1", Args: []string{"-m", "1"}},
		{Name: "pool", Size: "40M", Type: "thin-pool"},
		{Name: "thin", Size: "1G", Type: "thin", Pool: "pool"},
		{Name: "rest", Size: "50%FREE"},
	} {
		v.VG = vg
		c, err := l.CreateLV(v)
		do(c, err)
		found, ok, err := l.FindLV(t.Context(), r, vg, v.Name)
		if err != nil || !ok || found.Active != "active" {
			t.Errorf("%s: %+v %v", v.Name, found, err)
		}
		if v.Type != "thin-pool" {
			if _, err := os.Stat("/dev/" + vg + "/" + v.Name); err != nil {
				t.Error(err)
			}
		}
	}
	resizing(t, l, r, vg, devices[0])
	do(l.Deactivate(vg))
	if _, err := os.Stat("/dev/" + vg + "/root"); err == nil {
		t.Error("there is still a node")
	}
	do(l.Activate(vg))
	if group, ok, err := l.FindVG(t.Context(), r, vg); err != nil || !ok || group.PVs != 2 || group.LVs != 5 {
		t.Errorf("%+v %v", group, err)
	}
	do(l.Deactivate(vg))
}

func resizing(t *testing.T, l LVM, r tool.Runner, vg, device string) {
	t.Helper()
	for range 2 {
		if got, err := l.SetLV(t.Context(), r, vg, "root", 50<<20); err != nil || got != 52<<20 {
			t.Errorf("volume: %d %v", got, err)
		}
	}
	pv, ok, err := l.FindPV(t.Context(), r, device)
	if err != nil || !ok || pv.Start != 1<<20 {
		t.Fatalf("%+v %v", pv, err)
	}
	least, err := l.LeastPV(t.Context(), r, device)
	if err != nil || least <= pv.Start || least > 128<<20 {
		t.Errorf("least %d %v", least, err)
	}
	for _, to := range []int64{least, least, 128 << 20} {
		if got, err := l.SetPV(t.Context(), r, device, to); err != nil || got > to || to-got >= 4<<20 {
			t.Errorf("physical volume to %d: %d %v", to, got, err)
		}
	}
	if _, err := l.SetPV(t.Context(), r, device, least-8<<20); err == nil {
		t.Error("extents in use were cut off")
	}
}
