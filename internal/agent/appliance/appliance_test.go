package appliance

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestParseID(t *testing.T) {
	id, err := ParseID("0badcafe-02")
	if err != nil || id != (ID{0x0badcafe, 2}) || id.String() != "0badcafe-02" {
		t.Errorf("got %+v %v %s", id, err, id)
	}
	for _, s := range []string{"", "0badcafe", "0badcafe-3", "0badcafe-03", "0badcafe-00", "badcafe-01", "0badcafe-1", "xbadcafe-01", "0badcafe-01-01"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("%q is %+v", s, id)
		}
	}
}

func TestPartition(t *testing.T) {
	for disk, want := range map[string]string{"/dev/mmcblk0": "/dev/mmcblk0p3", "/dev/sda": "/dev/sda3", "/dev/nvme0n1": "/dev/nvme0n1p3"} {
		if got := partition(disk, 3); got != want {
			t.Errorf("%s: got %s, want %s", disk, got, want)
		}
	}
}

const mib = 1 << 20

// entry is a partition from and to a MiB.
func entry(n int, typ byte, from, to uint64) layout.Entry {
	return layout.Entry{Number: n, FirstLBA: from * 2048, LastLBA: to*2048 - 1, MBR: &layout.MBREntry{Type: typ, Part: "primary"}}
}

// card is the table of an image on a card of some MiB.
func card(size int64, more ...layout.Entry) layout.Table {
	return layout.Table{Kind: layout.KindMBR, SectorSize: 512, Size: size * mib, GUID: [16]byte{0x12, 0x34, 0xab, 0xcd},
		Entries: append([]layout.Entry{entry(1, 0x0c, 4, 68)}, more...)}
}

func TestFilled(t *testing.T) {
	small := entry(3, 0x83, 68, 84)
	for name, tt := range map[string]struct {
		in   layout.Table
		want []layout.Entry
	}{
		"new":              {card(1000, small), []layout.Entry{entry(1, 0x0c, 4, 68), entry(2, 0x0c, 936, 1000), entry(3, 0x83, 68, 936)}},
		"unaligned":        {card(1002, small), []layout.Entry{entry(1, 0x0c, 4, 68), entry(2, 0x0c, 936, 1000), entry(3, 0x83, 68, 936)}},
		"again":            {card(1000, entry(2, 0x0c, 936, 1000), entry(3, 0x83, 68, 936)), []layout.Entry{entry(1, 0x0c, 4, 68), entry(2, 0x0c, 936, 1000), entry(3, 0x83, 68, 936)}},
		"copied elsewhere": {card(2000, entry(2, 0x0c, 936, 1000), entry(3, 0x83, 68, 936)), []layout.Entry{entry(1, 0x0c, 4, 68), entry(2, 0x0c, 936, 1000), entry(3, 0x83, 68, 936)}},
		"no room for B":    {card(140, small), []layout.Entry{entry(1, 0x0c, 4, 68), entry(3, 0x83, 68, 140)}},
		"no room at all":   {card(84, small), []layout.Entry{entry(1, 0x0c, 4, 68), small}},
		"4 TiB":            {card(4<<20, small), []layout.Entry{entry(1, 0x0c, 4, 68), entry(2, 0x0c, 2<<20-68, 2<<20-4), entry(3, 0x83, 68, 2<<20-68)}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := filled(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if g, w := places(got.Entries), places(tt.want); g != w {
				t.Errorf("got\n%swant\n%s", g, w)
			}
		})
	}
}

func places(list []layout.Entry) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%d %#02x %d-%d\n", e.Number, e.MBR.Type, e.FirstLBA/2048, (e.LastLBA+1)/2048)
	}
	return b.String()
}

// A disk that is none of ours is left as it is.
func TestFilledRefuses(t *testing.T) {
	for name, in := range map[string]layout.Table{
		"empty":         {Kind: layout.KindMBR, SectorSize: 512, Size: 1000 * mib},
		"no state":      card(1000),
		"Linux as two":  card(1000, entry(2, 0x83, 68, 84)),
		"four":          card(1000, entry(2, 0x0c, 68, 100), entry(3, 0x83, 100, 120), entry(4, 0x83, 120, 130)),
		"swap as three": card(1000, entry(3, 0x82, 68, 84)),
		"state first":   card(1000, entry(3, 0x83, 1, 4)),
	} {
		if got, err := filled(in); err == nil {
			t.Errorf("%s: %s", name, places(got.Entries))
		}
	}
}

// find knows a card by its signature, whatever its name.
func TestFind(t *testing.T) {
	sys, dev := t.TempDir(), t.TempDir()
	plug := func(name, part, number string, sig uint32) {
		dir := filepath.Join(sys, "block", name, part)
		b := make([]byte, 512)
		binary.LittleEndian.PutUint32(b[440:], sig)
		b[510], b[511] = 0x55, 0xaa
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "partition"), []byte(number+"\n"), 0o644),
			os.WriteFile(filepath.Join(dev, name), b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(disk string, fails error) {
		t.Helper()
		got, err := find(sys, dev, ID{0x1234abcd, 1})
		if !errors.Is(err, fails) || disk != "" && got != filepath.Join(dev, disk) {
			t.Errorf("got %q %v, want %s %v", got, err, disk, fails)
		}
	}
	want("", fs.ErrNotExist)
	plug("mmcblk1", "mmcblk1p1", "1", 0x11111111)
	plug("mmcblk2", "mmcblk2p2", "2", 0x1234abcd) // has no partition 1
	want("", fs.ErrNotExist)
	plug("sda", "sda1", "1", 0x1234abcd)
	want("sda", nil)
	plug("mmcblk0", "mmcblk0p1", "1", 0x1234abcd)
	want("mmcblk0", nil)
}

// A card is filled and its state grown, as when it is started for the first time;
// the second time nothing changes.
func TestCard(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("loop devices and mounts need root")
	}
	tooltest.Need(t, "mke2fs", "losetup", "sfdisk")
	ctx := context.Background()
	image := makeImage(t)
	run := tool.Exec{}
	for round := range 2 {
		loop := attach(t, image, 512*mib)
		if err := fill(ctx, loop); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if out, err := run.Run(ctx, tool.Cmd{Name: "sfdisk", Args: []string{"--verify", loop}}); err != nil || strings.Contains(string(out.Stderr), "ERROR") {
			t.Errorf("sfdisk --verify: %v\n%s%s", err, out.Stdout, out.Stderr)
		}
		dir := t.TempDir()
		size, err := mountState(ctx, partition(loop, state), dir, run)
		if errors.Is(err, unix.EPERM) && !mayGrow(t) {
			detached(t, dir)
			t.Skip("the table is right; to grow a mounted file system needs CAP_SYS_RESOURCE")
		}
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		// 512 MiB without A, B, and what is before A.
		if want := int64(512-4-64-64) * mib; size != want {
			t.Errorf("round %d: the state has %d bytes, want %d", round, size, want)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil || int64(st.Blocks)*st.Bsize < 350*mib {
			t.Errorf("round %d: the file system has %d blocks of %d: %v", round, st.Blocks, st.Bsize, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "kept")); err != nil || string(b) != "kept\n" {
			t.Errorf("round %d: %q %v", round, b, err)
		}
		detached(t, dir)
		if out, err := run.Run(ctx, tool.Cmd{Name: "e2fsck", Args: []string{"-fn", partition(loop, state)}}); err != nil {
			t.Errorf("round %d: %v\n%s", round, err, out.Stdout)
		}
		detach(t, loop)
	}
}

// A state whose superblock is lost cannot be repaired: 16 MiB have no copy of it. The
// error says what e2fsck said.
func TestMountStateSaysWhy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("loop devices and mounts need root")
	}
	tooltest.Need(t, "mke2fs", "losetup", "e2fsck")
	image := makeImage(t)
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The magic: the kernel takes it for no ext4.
	if _, err := f.WriteAt([]byte{0, 0}, 68*mib+1024+56); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	loop := attach(t, image, 84*mib)
	dir := t.TempDir()
	_, err = mountState(context.Background(), partition(loop, state), dir, tool.Exec{})
	if err == nil {
		defer unix.Unmount(dir, 0)
	}
	if err == nil || !strings.Contains(err.Error(), "e2fsck") {
		t.Errorf("got %v", err)
	}
}

func detached(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
}

// mayGrow says whether this process has CAP_SYS_RESOURCE.
func mayGrow(t *testing.T) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// makeImage writes an image with an empty slot and a small state.
func makeImage(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "kept"), []byte("kept\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "card.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(84*mib), f.Close()); err != nil {
		t.Fatal(err)
	}
	mkfs := exec.Command("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-N", "512", "-d", tree, "-E", fmt.Sprintf("offset=%d", 68*mib), path, "16M")
	if out, err := mkfs.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d, err := disk.Open(path, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(disk.WriteMBR(context.Background(), d, card(84, entry(3, 0x83, 68, 84))), d.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// attach makes a card of some size of an image.
func attach(t *testing.T, image string, size int64) string {
	t.Helper()
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", "--partscan", image).CombinedOutput()
	if err != nil {
		t.Skipf("losetup: %v: %s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", loop).Run() }) // detached already where the test got that far
	return loop
}

func detach(t *testing.T, loop string) {
	t.Helper()
	if out, err := exec.Command("losetup", "--detach", loop).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
