package images_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
)

// The default layout is what the issue asks for, on every architecture and
// sector size: BIOS boot 1 MiB, ESP 512 MiB, ext4 root, aligned to 1 MiB.
func TestDefaultLayout(t *testing.T) {
	const biosBoot, esp = "21686148-6449-6e6f-744e-656564454649", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	for arch, root := range map[string]string{
		"amd64": "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
		"arm64": "b921b045-1df0-41c3-af44-4c6f280d3fae",
	} {
		text, err := images.Layout(images.DefaultLayout, arch)
		if err != nil {
			t.Fatal(err)
		}
		l, err := layout.Parse("default.yaml", text)
		if err != nil {
			t.Fatal(err)
		}
		for _, sector := range []int{512, 4096} {
			tables, err := layout.Resolve(l, map[string]layout.Geometry{"main": {Size: 8 << 30, SectorSize: sector}}, uuid.UUID{1})
			if err != nil || len(tables) != 1 || len(tables[0].Entries) != 3 {
				t.Fatalf("%s, sectors of %d: %+v, %v", arch, sector, tables, err)
			}
			for i, want := range []struct {
				typ, format, mountpoint string
				size                    int64 // at least; exactly but for the root
			}{{biosBoot, "", "", 1 << 20}, {esp, "vfat", "/boot/efi", 512 << 20}, {root, "ext4", "/", 7 << 30}} {
				e := tables[0].Entries[i]
				fs := layout.Filesystem{}
				if e.Content != nil {
					f, ok := e.Content.Spec.(*layout.Filesystem)
					if !ok {
						t.Fatalf("%s, partition %d holds a %s", arch, e.Number, e.Content.ContentType())
					}
					fs = *f
				}
				if e.Type.String() != want.typ || fs.Format != want.format || fs.Mountpoint != want.mountpoint {
					t.Errorf("%s, partition %d: %+v %+v, want %+v", arch, e.Number, e, fs, want)
				}
				if size := e.Size(sector); size < want.size || (i < 2 && size != want.size) {
					t.Errorf("%s, partition %d: %d bytes, want %d", arch, e.Number, size, want.size)
				}
				if e.FirstLBA*uint64(sector)%(1<<20) != 0 {
					t.Errorf("%s, partition %d begins at sector %d of %d bytes: not aligned", arch, e.Number, e.FirstLBA, sector)
				}
			}
		}
	}
}

func TestLayoutRefuses(t *testing.T) {
	if _, err := images.Layout("none", "amd64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown layout: got %v", err)
	}
	if _, err := images.Layout(images.DefaultLayout, "m68k"); err == nil || !strings.Contains(err.Error(), "m68k") {
		t.Errorf("unknown architecture: got %v", err)
	}
}
