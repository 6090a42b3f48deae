package disk

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestMkfsCommand(t *testing.T) {
	const id = "5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10"
	vfat := Filesystem{Format: "vfat", UUID: "ABCD-1234", Label: "ESP", Start: 4096, Size: 512 << 20}
	tests := map[string]struct {
		edit func(*Filesystem)
		fs   Filesystem
		want string
	}{
		"vfat":       {fs: vfat, want: "mkfs.vfat --invariant -I -S 512 -i ABCD1234 -h 4096 -F 32 -n ESP /dev/vda2"},
		"vfat 4096":  {func(f *Filesystem) { f.SectorSize = 4096 }, vfat, "mkfs.vfat --invariant -I -S 4096 -i ABCD1234 -h 4096 -F 32 -n ESP /dev/vda2"},
		"vfat small": {func(f *Filesystem) { f.Size = 1 << 20 }, vfat, "mkfs.vfat --invariant -I -S 512 -i ABCD1234 -h 4096 -F 16 -n ESP /dev/vda2"},
		"vfat own":   {func(f *Filesystem) { f.Label, f.Args, f.Size, f.Start = "", []string{"-F", "16"}, 0, 0 }, vfat, "mkfs.vfat --invariant -I -S 512 -i ABCD1234 -F 16 /dev/vda2"},
		"ext4": {fs: Filesystem{Format: "ext4", UUID: id, Args: []string{"-E", "stride=8", "-m", "1", "-Eroot_owner=1:1"}},
			want: "mkfs.ext4 -F -q -b 4096 -U " + id + " -E lazy_itable_init=1,hash_seed=9b4a6176-1a9e-517e-9c45-6755eea2ca79,stride=8,root_owner=1:1 -m 1 /dev/vda2"},
		"ext2": {fs: Filesystem{Format: "ext2", UUID: id, Label: "old"},
			want: "mkfs.ext2 -F -q -b 4096 -U " + id + " -L old -E lazy_itable_init=1,hash_seed=9b4a6176-1a9e-517e-9c45-6755eea2ca79 /dev/vda2"},
		"xfs": {fs: Filesystem{Format: "xfs", UUID: id, Label: "data", Args: []string{"-m", "reflink=0"}},
			want: "mkfs.xfs -f -q -m uuid=" + id + " -L data -m reflink=0 /dev/vda2"},
		"btrfs": {fs: Filesystem{Format: "btrfs", UUID: id, Label: "pool", Args: []string{"-d", "raid1", "/dev/vdb1"}},
			want: "mkfs.btrfs -f -q -U " + id + " -L pool /dev/vda2 -d raid1 /dev/vdb1"},
		"f2fs": {fs: Filesystem{Format: "f2fs", UUID: id, Label: "flash", Args: []string{"-O", "encrypt"}},
			want: "mkfs.f2fs -T 1700000000 -f -q -r -U " + id + " -l flash -O encrypt /dev/vda2"},
		"exfat": {fs: Filesystem{Format: "exfat", UUID: "ABCD-1234", Label: "CARD", Args: []string{"-c", "32K"}},
			want: "mkfs.exfat -L CARD -c 32K /dev/vda2"},
		"swap": {fs: Filesystem{Format: "swap", UUID: id, Label: "s", Args: []string{"--pagesize", "4096"}},
			want: "mkswap -U " + id + " -L s --pagesize 4096 /dev/vda2"},
	}
	for name, tt := range tests {
		if tt.edit != nil {
			tt.edit(&tt.fs)
		}
		c, err := MkfsCommand(tt.fs, "/dev/vda2", time.Unix(1700000000, 0))
		if err != nil || c.String() != tt.want {
			t.Errorf("%s:\ngot  %v %v\nwant %s", name, c, err, tt.want)
		}
		want := []string{"SOURCE_DATE_EPOCH=1700000000", "E2FSPROGS_FAKE_TIME=1700000000"}
		if diff := cmp.Diff(want, c.Env); diff != "" && c.Name == "mkfs.ext4" {
			t.Error(diff)
		}
	}
	for _, fs := range []Filesystem{{}, {Format: "zfs"}, {Format: "ext4", UUID: "x"}, {Format: "vfat", UUID: "x"},
		{Format: "vfat", UUID: "ABCD-1234"}, {Format: "exfat", UUID: "0000-0000"}, {Format: "swap", UUID: "1"}} {
		if c, err := MkfsCommand(fs, "/dev/vda1", time.Time{}); err == nil {
			t.Errorf("%+v gives %v", fs, c)
		}
	}
}

func TestFsckCommand(t *testing.T) {
	tests := []struct{ format, look, fix string }{
		{"ext4", "e2fsck -f -n /dev/x", "e2fsck -f -p /dev/x"},
		{"xfs", "xfs_repair -n /dev/x", "xfs_repair /dev/x"},
		{"btrfs", "btrfs check --readonly /dev/x", ""},
		{"f2fs", "fsck.f2fs --dry-run /dev/x", "fsck.f2fs -a /dev/x"},
		{"vfat", "fsck.vfat -n /dev/x", "fsck.vfat -a /dev/x"},
		{"exfat", "fsck.exfat -n /dev/x", "fsck.exfat -p /dev/x"},
		{"ntfs", "ntfsresize --check --force /dev/x", ""},
	}
	for _, tt := range tests {
		if c, err := FsckCommand(tt.format, "/dev/x", false); err != nil || c.String() != tt.look {
			t.Errorf("%s: %v %v", tt.format, c, err)
		}
		c, err := FsckCommand(tt.format, "/dev/x", true)
		if tt.fix == "" && !errors.Is(err, ErrNoRepair) || tt.fix != "" && (err != nil || c.String() != tt.fix) {
			t.Errorf("%s: %v %v", tt.format, c, err)
		}
	}
	if c, err := FsckCommand("minix", "/dev/x", false); err == nil {
		t.Errorf("minix: %v", c)
	}
}

// kinds are those of TestMkfs: the least size, and whether two runs give equal
// bytes.
var kinds = []struct {
	format string
	size   int64
	equal  bool
}{
	{format: "ext2", size: 16 << 20, equal: true},
	{format: "ext3", size: 16 << 20, equal: true},
	{format: "ext4", size: 16 << 20, equal: true},
	{format: "xfs", size: 300 << 20},
	{format: "btrfs", size: 110 << 20},
	{format: "f2fs", size: 64 << 20, equal: true},
	{format: "vfat", size: 40 << 20, equal: true}, // the smallest that is FAT32
	{format: "exfat", size: 16 << 20, equal: true},
	{format: "swap", size: 1 << 20, equal: true},
}

// TestMkfs makes real file systems on devices with both sizes of sectors,
// twice, and has them checked and named.
func TestMkfs(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every mkfs")
	}
	for _, k := range kinds {
		for _, sectorSize := range []int{512, 4096} {
			if k.format == "vfat" && sectorSize == 4096 {
				k.size = 260 << 20
			}
			mkfsTwice(t, k.format, k.size, sectorSize, k.equal)
		}
	}
}

func mkfsTwice(t *testing.T, format string, size int64, sectorSize int, equal bool) {
	t.Helper()
	name := fmt.Sprintf("%s in sectors of %d", format, sectorSize)
	f := Filesystem{Format: format, UUID: uuid.NewSHA1(uuid.Nil, []byte(name)).String(), Label: "AN-FS", Start: 2048, Size: size, SectorSize: sectorSize}
	if format == "vfat" || format == "exfat" {
		f.UUID = "ABCD-1234"
	}
	sums := make([][32]byte, 1, 2)
	if equal {
		sums = sums[:2]
	}
	for i := range sums {
		dev := loop(t, size, sectorSize)
		if err := Mkfs(t.Context(), tool.Exec{}, f, dev, time.Unix(1700000000, 0)); err != nil {
			if errors.Is(err, tool.ErrNotFound) {
				tooltest.Missing(t, err.Error())
			}
			t.Errorf("%s: %v", name, err)
			return
		}
		if format != "swap" {
			if err := Fsck(t.Context(), tool.Exec{}, format, dev, false); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		out := run(t, "blkid", "-p", "-o", "export", dev)
		if format == "vfat" && !strings.Contains(out, "VERSION=FAT32") {
			t.Errorf("%s: not a FAT32: %s", name, out)
		}
		if !strings.Contains(out, "\nUUID="+f.UUID+"\n") || !strings.Contains(out, "\nTYPE="+format+"\n") || !strings.Contains(out, "LABEL=AN-FS\n") {
			t.Errorf("%s: blkid: %s", name, out)
		}
		sums[i] = hash(t, dev, 0, size)
		d := openRW(t, dev)
		if err := errors.Join(Wipe(t.Context(), d, nil, nil), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if equal && sums[0] != sums[1] {
		t.Errorf("%s: two differ", name)
	}
}

// hash is the SHA-256 of a part of a device.
func hash(t testing.TB, dev string, off, size int64) (sum [32]byte) {
	t.Helper()
	f, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.Copy(h, io.NewSectionReader(f, off, size)); err != nil || n != size {
		t.Fatalf("read %s: %d bytes, %v", dev, n, err)
	}
	h.Sum(sum[:0])
	return sum
}
