package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInstallArgs(t *testing.T) {
	one := System{Spec: Spec{Firmware: "uefi", Sector: 4096}.withDefaults(), Paths: []string{"/d/disk.img"}}
	two := System{Spec: Spec{Name: "raid", Firmware: "bios", Prove: true, Args: []string{"--layout", "raid.yaml"},
		Disks: []Target{{Name: "a", Size: 1 << 30}, {Name: "b", Path: "/old.img", Sector: 4096}}}.withDefaults(),
		Paths: []string{"/d/a.img", "/old.img"}}
	for _, tt := range []struct {
		s    System
		want []string
	}{
		{one, []string{"--disk /d/disk.img,size=8589934592,sector=4096 --firmware uefi", "password=@/secret", "sshkey=@/key", "--phases"}},
		{two, []string{"--disk a=/d/a.img,size=1073741824,sector=512 --disk b=/old.img,sector=4096 --firmware bios", "--layout raid.yaml"}},
	} {
		got := strings.Join(tt.s.installArgs("/key", "/secret"), " ")
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in %s", tt.s, want, got)
			}
		}
		if strings.Contains(got, "--phases") == tt.s.Prove {
			t.Errorf("%s: %s", tt.s, got)
		}
	}
	if one.String() != "uefi-4096" || one.Drives()[0].Serial != "vic-target" || two.Drives()[1].Serial != "vic-b" || two.Drives()[1].SectorSize != 4096 {
		t.Errorf("%s: %+v, %+v", one, one.Drives(), two.Drives())
	}
}

// A file with holes is searched across the parts that are read, and a slice of
// it has the same bytes.
func TestImageFiles(t *testing.T) {
	dir := t.TempDir()
	path, part := filepath.Join(dir, "image"), filepath.Join(dir, "part")
	const words = "needle-in-two-parts"
	image := make([]byte, 4<<20)
	copy(image[3<<20-5:], words)
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	if !Contains(t, path, []byte(words)) || Contains(t, path, []byte("hay")) {
		t.Error("the search is wrong")
	}
	Slice(t, path, part, 2<<20, 1<<20)
	if got, err := os.ReadFile(part); err != nil || !bytes.Equal(got, image[2<<20:3<<20]) {
		t.Errorf("the slice has other content (%v)", err)
	}
	before := Digest(t, path)
	image[len(image)-1] ^= 1
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	if Digest(t, path) == before {
		t.Error("the digest of an altered file is the same")
	}
}
