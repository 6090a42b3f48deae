package initramfs

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// machineTree is a kernel with drivers that devices ask for.
func machineTree(t testing.TB) fstest.MapFS {
	t.Helper()
	tree := kernelTree(t)
	for path, info := range map[string][]string{
		"kernel/drivers/scsi/scsi_mod.ko":                    {"name=scsi_mod"},
		"kernel/drivers/scsi/sd_mod.ko":                      {"name=sd_mod", "depends=scsi_mod", "alias=scsi:t-0x00*"},
		"kernel/drivers/scsi/virtio_scsi.ko":                 {"name=virtio_scsi", "depends=scsi_mod", "alias=virtio:d00000008v*"},
		"kernel/drivers/net/virtio_net.ko":                   {"name=virtio_net", "alias=virtio:d00000001v*"},
		"kernel/drivers/usb/core/usbcore.ko":                 {"name=usbcore"},
		"kernel/drivers/usb/host/xhci-pci.ko":                {"name=xhci_pci", "depends=usbcore", "alias=pci:v*d*sv*sd*bc0Csc03i30*"},
		"kernel/drivers/hid/usbhid/usbhid.ko":                {"name=usbhid", "depends=usbcore", "alias=usb:v*p*d*dc*dsc*dp*ic03isc*ip*in*"},
		"kernel/sound/pci/hda/snd-hda-intel.ko":              {"name=snd_hda_intel", "alias=pci:v*d*sv*sd*bc04sc03i00*"},
		"kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko": {"name=e1000e", "alias=pci:v00008086d000010D3sv*sd*bc*sc*i*"},
	} {
		tree[path] = &fstest.MapFile{Data: testModule(t, info...), Mode: 0o644}
	}
	return tree
}

func TestMatchModules(t *testing.T) {
	for name, tt := range map[string]struct {
		modaliases string
		sets       string
		want       []string
	}{
		"nothing":                      {"", "hardware", []string{}},
		"a card":                       {"pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00", "hardware", []string{"e1000"}},
		"another card":                 {"pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00", "hardware", []string{"e1000e"}},
		"no driver in this kernel":     {"pci:v000010ECd00008168sv0sd0bc02sc00i00", "hardware", []string{}},
		"nothing to be heard in RAM":   {"pci:v00008086d00002668sv00001AF4sd00001100bc04sc03i00", "hardware", []string{}},
		"a controller brings disks":    {"virtio:d00000008v00001AF4", "hardware", []string{"sd_mod", "virtio_scsi"}},
		"somebody plugs a keyboard in": {"pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30", "hardware", []string{"usbhid", "xhci_pci"}},
		"of a set alone":               {"virtio:d00000001v00001AF4 virtio:d00000008v00001AF4", "early-network", []string{"virtio_net"}},
	} {
		got, err := MatchModules(machineTree(t), strings.Fields(tt.modaliases), tt.sets)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, err := MatchModules(machineTree(t), nil, "hardwear"); err == nil || !strings.Contains(err.Error(), `no set "hardwear"`) {
		t.Errorf("got %v", err)
	}
}

func TestLackingModules(t *testing.T) {
	got, err := LackingModules(machineTree(t), []string{"e1000e", "xhci-pci", "loop", "r8169", "virtio-net", "nvme"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"r8169", "nvme"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAsksForFirmware(t *testing.T) {
	for name, want := range map[string]bool{"e1000": true, "e1000e": false, "overlay": false} {
		if got, err := AsksForFirmware(machineTree(t), name); err != nil || got != want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// Modules that are elsewhere are in the index, by the name that they have there,
// and so are the others that need them.
func TestModulesThatAreElsewhere(t *testing.T) {
	files, _, err := ModuleFiles(Config{
		Modules: kernelTree(t), Release: "6.12.0-test", Sets: []string{"erofs", "f2fs"}, Elsewhere: []string{"libcrc32c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var dep string
	for _, f := range files {
		if f.Origin == OriginModule {
			names = append(names, strings.TrimPrefix(f.Path, "usr/lib/modules/6.12.0-test/kernel/"))
		}
		if strings.HasSuffix(f.Path, "/modules.dep") {
			b := make([]byte, f.Size)
			if _, err := f.Data.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			dep = string(b)
		}
	}
	want := []string{"crypto/lz4hc.ko.xz", "fs/erofs/erofs.ko.xz", "fs/f2fs/f2fs.ko.xz", "lib/lz4/lz4-compress.ko.xz", "lib/lz4/lz4hc_base.ko.xz"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	for _, line := range []string{"kernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko\n", "kernel/lib/libcrc32c.ko:\n", "kernel/crypto/crc32c_generic.ko:\n"} {
		if !strings.Contains(dep, line) {
			t.Errorf("modules.dep lacks %q:\n%s", line, dep)
		}
	}
}
