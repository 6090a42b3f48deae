package probe

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// loop attaches an image until the test ends.
func loop(t *testing.T, img string, args ...string) string {
	t.Helper()
	tooltest.Root(t)
	out, err := tooltest.Need(t, "losetup").Run(t.Context(), tool.Cmd{Name: "losetup", Args: append(append([]string{"--find", "--show"}, args...), img)})
	if err != nil {
		tooltest.Missing(t, "there are no loop devices: "+err.Error())
	}
	dev := strings.TrimSpace(string(out.Stdout))
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if _, err := (tool.Exec{}).Run(context.Background(), tool.Cmd{Name: "losetup", Args: []string{"-d", dev}}); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// alone has LVM see one device, and wait for nobody.
func alone(dev string) string {
	return `devices{filter=["a|^` + dev + `$|","r|.*|"] use_devicesfile=0} activation{udev_sync=0 udev_rules=0 verify_udev_operations=0}`
}

func TestLVMLikeBlkid(t *testing.T) {
	img := newImage(t, 64*mib)
	dev := loop(t, img)
	for _, name := range []string{"", "vg-with.dots_and-more+"} {
		run(t, "", "pvcreate", "--config", alone(dev), "-ff", "-y", dev)
		if name != "" {
			run(t, "", "vgcreate", "--config", alone(dev), name, dev)
			// Text that has gone around its ring is still found.
			for range 3 {
				run(t, "", "vgchange", "--config", alone(dev), "--addtag", "x"+strings.Repeat("y", 100), name)
				run(t, "", "vgchange", "--config", alone(dev), "--deltag", "x"+strings.Repeat("y", 100), name)
			}
		}
		run(t, "", "sync", dev)
		found := probeFile(t, img)
		if len(found) != 1 {
			t.Fatalf("%+v", found)
		}
		r := found[0]
		if diff := cmp.Diff(blkid(t, img), asBlkid(r)); diff != "" {
			t.Errorf("- blkid, + vic:\n%s", diff)
		}
		if r.Size != 64*mib || r.DataOffset != mib || (r.Group == nil) != (name == "") || r.Group != nil && r.Group.Name != name {
			t.Errorf("%q: %+v %+v", name, r, r.Group)
		}
	}
}

// What programs think the least size is must not be more than MinSize, and
// MinSize must be worth something.
func TestMinSizeOfExt(t *testing.T) {
	for name, tt := range map[string]struct {
		size int64
		args string
		fill int64
	}{
		"empty":        {256 * mib, "-t ext4", 0},
		"full":         {64 * mib, "-t ext4", 40 * mib},
		"large empty":  {60 << 30, "-t ext4", 0},
		"large":        {20 << 30, "-t ext4", 100 * mib},
		"1k blocks":    {300 * mib, "-t ext4 -b 1024", 50 * mib},
		"ext2":         {512 * mib, "-t ext2", 100 * mib},
		"many inodes":  {256 * mib, "-t ext4 -i 4096", 0},
		"no flex_bg":   {2 << 30, "-t ext4 -O ^flex_bg", 10 * mib},
		"large blocks": {1 << 30, "-t ext4 -T largefile4", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && tt.fill > 0 {
				t.Skip("short: it writes much")
			}
			img := newImage(t, tt.size)
			args := append([]string{"mke2fs", "-q", "-E", "lazy_itable_init=1,lazy_journal_init=1"}, strings.Fields(tt.args)...)
			if tt.fill > 0 {
				dir := t.TempDir()
				sparse(t, filepath.Join(dir, "hole"), tt.fill)
				data := strings.Repeat("0123456789abcdef", int(tt.fill)/16)
				if err := os.WriteFile(filepath.Join(dir, "data"), []byte(data), 0o644); err != nil {
					t.Fatal(err)
				}
				args = append(args, "-d", dir)
			}
			run(t, "", append(args, img)...)
			r := probeFile(t, img)[0]
			out := run(t, "", "resize2fs", "-P", img)
			var blocks int64
			if _, after, ok := strings.Cut(out, ": "); !ok {
				t.Fatal(out)
			} else if err := scan(after, &blocks); err != nil {
				t.Fatal(out, err)
			}
			least := blocks * r.BlockSize
			t.Logf("resize2fs %d MiB, vic %d MiB of %d MiB", least>>20, r.MinSize>>20, r.Size>>20)
			if r.MinSize < least || r.MinSize > 2*least+64*mib {
				t.Errorf("resize2fs says %d bytes, vic %d, of %d", least, r.MinSize, r.Size)
			}
			if testing.Short() || r.MinSize == r.Size {
				return
			}
			run(t, "", "resize2fs", img, words(r.MinSize/1024)+"K")
			run(t, "", "e2fsck", "-fn", img)
		})
	}
}

func TestMinSizeOfNTFS(t *testing.T) {
	for _, fill := range []int{0, 30} {
		img := contents["ntfs"].image(t)
		if fill > 0 {
			data := filepath.Join(t.TempDir(), "data")
			if err := os.WriteFile(data, make([]byte, fill*mib), 0o644); err != nil {
				t.Fatal(err)
			}
			run(t, "", "ntfscp", img, data, "data")
		}
		r := probeFile(t, img)[0]
		out := run(t, "", "ntfsresize", "--info", "--no-progress-bar", "-f", img)
		_, after, ok := strings.Cut(out, "You might resize at ")
		var least int64
		if err := scan(after, &least); !ok || err != nil {
			t.Fatal(out, err)
		}
		t.Logf("ntfsresize %d, vic %d of %d", least, r.MinSize, r.Size)
		if r.MinSize < least || r.MinSize > least+least/2+16*mib {
			t.Errorf("ntfsresize says %d bytes, vic %d, of %d", least, r.MinSize, r.Size)
		}
		run(t, "", "ntfsresize", "--no-action", "--no-progress-bar", "-f", "-s", words(r.MinSize), img)
	}
}

// FAT: the clusters in use are counted as fsck counts them.
func TestMinSizeOfFAT(t *testing.T) {
	for _, name := range []string{"fat12", "fat16", "fat32"} {
		img := contents[name].image(t)
		data := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(data, make([]byte, 1*mib), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, "", "mcopy", "-i", img, data, "::data")
		f, size := openImage(t, img)
		s := &source{r: f, size: size}
		v, ok := fatGeometry(s.read(0, 512))
		out := run(t, "", "fsck.vfat", "-n", img)
		_, after, cut := strings.Cut(out, "files, ") // 1 files, 512/4077 clusters
		var used, total int64
		if err := scan(strings.Replace(after, "/", " ", 1), &used, &total); !ok || !cut || err != nil {
			t.Fatal(out, err)
		}
		if got := v.count(s); got != used || v.clusters != total {
			t.Errorf("%s: %d of %d clusters, fsck says %d of %d", name, got, v.clusters, used, total)
		}
		r := probeFile(t, img)[0]
		if r.MinSize < used*v.cluster || r.MinSize > r.Size || r.MinSize == 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// What was not unmounted says so.
func TestNotClean(t *testing.T) {
	for name, spoil := range map[string]struct {
		at int64
		b  []byte
	}{
		"ext2":  {1024 + 58, []byte{0}},
		"fat16": {0x25, []byte{1}},
		"fat32": {0x41, []byte{1}},
		"exfat": {106, []byte{2}},
	} {
		img := contents[name].image(t)
		f, _ := openImage(t, img)
		if _, err := f.WriteAt(spoil.b, spoil.at); err != nil {
			t.Fatal(err)
		}
		if r := probeFile(t, img); len(r) != 1 || r[0].Clean == nil || *r[0].Clean {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// A btrfs with data in it can be made as small as it says.
func TestMinSizeOfBtrfs(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it writes much")
	}
	img := newImage(t, 2<<30)
	run(t, "", "mkfs.btrfs", "-q", img)
	dev := loop(t, img)
	dir := t.TempDir()
	mount := func() {
		if err := syscall.Mount(dev, dir, "btrfs", 0, ""); err != nil {
			tooltest.Missing(t, "the kernel mounts no btrfs: "+err.Error())
		}
	}
	umount := func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}
	mount()
	err := os.WriteFile(filepath.Join(dir, "data"), make([]byte, 100*mib), 0o644)
	umount()
	if err != nil {
		t.Fatal(err)
	}
	r := probeFile(t, img)[0]
	if r.MinSize < 100*mib || r.MinSize > 1536*mib || r.Size != 2<<30 {
		t.Errorf("at least %d MiB of %d", r.MinSize>>20, r.Size>>20)
	}
	mount()
	defer umount()
	run(t, "", "btrfs", "filesystem", "resize", words(r.MinSize), dir)
}
