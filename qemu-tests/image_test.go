package qemutests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/qemu-tests/lab"
)

// The default layout: BIOS boot partition, ESP, root.
const (
	mib        = 1 << 20
	espStart   = 2 * mib
	espSize    = 512 * mib
	rootStart  = espStart + espSize
	targetSize = lab.DiskSize
)

// checkImage has foreign tools look at an installed disk.
func checkImage(t *testing.T, path string, sector int) {
	t.Helper()
	out := lab.Say(t, "e2fsck", "-fn", fmt.Sprintf("%s?offset=%d", path, rootStart))
	if !strings.Contains(out, "Pass 5") {
		t.Errorf("e2fsck did not look at the whole file system:\n%s", out)
	}
	esp := filepath.Join(t.TempDir(), "esp")
	lab.Slice(t, path, esp, espStart, espSize)
	lab.Say(t, "fsck.vfat", "-n", esp)
	tree := strings.ToLower(lab.Say(t, "mdir", "-b", "-/", "-i", esp, "::"))
	for _, want := range []string{"/efi/boot/bootx64.efi", "/efi/systemd/systemd-bootx64.efi", "/loader/entries/debian-", "/linux", "/initrd.img"} {
		if !strings.Contains(tree, want) {
			t.Errorf("%s is not on the ESP:\n%s", want, tree)
		}
	}
	lab.CheckTable(t, path, sector)
}
