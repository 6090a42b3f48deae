package disk

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestMkfsCommand(t *testing.T) {
	vfat := layout.Entry{Number: 2, FirstLBA: 4096, LastLBA: 4096 + 1<<20 - 1, Filesystem: &layout.Filesystem{Format: "vfat", UUID: "ABCD-1234", Label: "ESP"}}
	ext4 := layout.Entry{Number: 3, FirstLBA: 1 << 21, LastLBA: 1 << 22, Filesystem: &layout.Filesystem{
		Format: "ext4", UUID: "5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10", ExtraArgs: []string{"-E", "stride=8", "-m", "1"}}}
	small := vfat
	small.LastLBA = small.FirstLBA + 2047
	own := vfat
	own.Filesystem = &layout.Filesystem{Format: "vfat", UUID: "ABCD-1234", ExtraArgs: []string{"-F", "16"}}
	tests := []struct {
		e          layout.Entry
		sectorSize int
		want       string
	}{
		{vfat, 512, "mkfs.vfat --invariant -S 512 -i ABCD1234 -h 4096 -F 32 -n ESP /dev/vda2"},
		{vfat, 4096, "mkfs.vfat --invariant -S 4096 -i ABCD1234 -h 4096 -F 32 -n ESP /dev/vda2"},
		{small, 512, "mkfs.vfat --invariant -S 512 -i ABCD1234 -h 4096 -F 16 -n ESP /dev/vda2"},
		{own, 512, "mkfs.vfat --invariant -S 512 -i ABCD1234 -h 4096 -F 16 /dev/vda2"},
		{ext4, 512, "mkfs.ext4 -F -q -b 4096 -U 5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10 -E lazy_itable_init=1,hash_seed=9b4a6176-1a9e-517e-9c45-6755eea2ca79,stride=8 -m 1 /dev/vda2"},
	}
	for _, tt := range tests {
		c, err := MkfsCommand(tt.e, "/dev/vda2", tt.sectorSize, time.Unix(1700000000, 0))
		if err != nil || c.String() != tt.want {
			t.Errorf("got  %v %v\nwant %s", c, err, tt.want)
		}
		want := []string{"SOURCE_DATE_EPOCH=1700000000", "E2FSPROGS_FAKE_TIME=1700000000"}
		if diff := cmp.Diff(want, c.Env); diff != "" && c.Name == "mkfs.ext4" {
			t.Error(diff)
		}
	}
	for _, fs := range []*layout.Filesystem{nil, {Format: "xfs"}, {Format: "ext4", UUID: "x"}, {Format: "vfat", UUID: "x"}} {
		if c, err := MkfsCommand(layout.Entry{Filesystem: fs}, "/dev/vda1", 512, time.Time{}); err == nil {
			t.Errorf("%+v gives %v", fs, c)
		}
	}
}

// TestMkfs makes real file systems, twice, and has them checked.
func TestMkfs(t *testing.T) {
	runner := tooltest.Need(t, "mkfs.ext4", "mkfs.vfat", "fsck.ext4", "fsck.vfat", "blkid")
	// The smallest that are FAT32.
	for sectorSize, esp := range map[int]string{512: "40M", 4096: "260M"} {
		text := strings.ReplaceAll(testLayout, "300M", esp)
		for _, e := range testTable(t, text, 300<<20, sectorSize).Entries[1:] {
			var images [2][]byte
			for i := range images {
				path := image(t, e.Size(sectorSize))
				c, err := MkfsCommand(e, path, sectorSize, time.Unix(1700000000, 0))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := runner.Run(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				check := tool.Cmd{Name: "fsck." + e.Filesystem.Format, Args: []string{"-n", path}}
				if out, err := runner.Run(t.Context(), check); err != nil {
					t.Errorf("%v\n%s", err, out.Stdout)
				}
				out := run(t, "blkid", "-p", "-o", "export", path)
				if e.Filesystem.Format == "vfat" && !strings.Contains(out, "VERSION=FAT32") {
					t.Errorf("not a FAT32: %s", out)
				}
				if !strings.Contains(out, "UUID="+e.Filesystem.UUID+"\n") || !strings.Contains(out, "TYPE="+e.Filesystem.Format) {
					t.Errorf("blkid: %s", out)
				}
				if images[i], err = os.ReadFile(path); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(images[0], images[1]) {
				t.Errorf("sector size %d: two %s differ", sectorSize, e.Filesystem.Format)
			}
		}
	}
}
