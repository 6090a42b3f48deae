package release

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/dm"
	"github.com/victorinix/vic/disk/luks"
	"github.com/victorinix/vic/disk/lvm"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// TestStack stops a volume group in a LUKS container, and refuses while one of
// its volumes is open. It needs device mapper.
func TestStack(t *testing.T) {
	tooltest.Root(t)
	r := tooltest.Need(t, "cryptsetup", "pvcreate", "losetup")
	if _, err := os.Stat("/sys/class/misc/device-mapper"); err != nil {
		t.Skip("this kernel has no device mapper")
	}
	dev := tooltest.Loop(t, 96<<20)
	name := "vic" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	c := luks.Container{Device: dev}
	key, quick := []byte("pass"), []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}
	if err := luks.Format(t.Context(), r, c, uuid.NewString(), quick, key); err != nil {
		t.Fatal(err)
	}
	node, err := luks.Open(t.Context(), r, c, name, key, luks.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := lvm.LVM{Udev: udev.Running(), Devices: []string{node}}
	lv, err := l.CreateLV(lvm.Volume{VG: name, Name: "my-root", Size: "16M"})
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []tool.Cmd{l.CreatePVs(node), l.CreateVG(name, node), lv} {
		if _, err := r.Run(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open("/dev/" + name + "/my-root")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Disk(t.Context(), r, filepath.Base(dev), nil)
	var busy *BusyError
	if !errors.As(err, &busy) || !strings.Contains(err.Error(), "(LUKS "+name+") held by dm-") || !strings.Contains(err.Error(), "(LVM "+name+"/my-root) open in release.test") {
		t.Errorf("while it is open: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 0} {
		stops, err := Disk(t.Context(), r, filepath.Base(dev), nil)
		if err != nil || len(stops) != want {
			t.Errorf("%v %v", stops, err)
		}
	}
	list, err := dm.List(sysfs.Root("/"))
	for _, m := range list {
		if strings.Contains(m.Name, name) {
			t.Errorf("%+v is left", m)
		}
	}
	if err != nil {
		t.Error(err)
	}
}
