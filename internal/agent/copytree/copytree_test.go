package copytree_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/copytree"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// ext4 mounts a new file system of size bytes.
func ext4(t testing.TB, size int64) string {
	t.Helper()
	tooltest.Root(t)
	run := tooltest.Need(t, "mkfs.ext4", "mount", "umount")
	img := filepath.Join(t.TempDir(), "img")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, size); err != nil {
		t.Fatal(err)
	}
	do(t, run, "mkfs.ext4", "-q", "-b", "4096", "-I", "256", "-m", "0", "-N", "16384", img)
	return mount(t, run, "-o", "loop", img)
}

func mount(t testing.TB, run tool.Runner, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	do(t, run, "mount", append(args, dir)...)
	t.Cleanup(func() {
		if _, err := run.Run(context.Background(), tool.Cmd{Name: "umount", Args: []string{dir}}); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func do(t testing.TB, run tool.Runner, name string, args ...string) {
	t.Helper()
	if _, err := run.Run(t.Context(), tool.Cmd{Name: name, Args: args}); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, p string, b []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(p), 0o755))
	must(t, os.WriteFile(p, b, 0o644))
}

// acl is the value of system.posix_acl_access for u::rw- u:1000:r-- g::r--
// m::r-- o::--- (linux/posix_acl_xattr.h).
func acl() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, 1<<32 - 1}, {2, 4, 1000}, {4, 4, 1<<32 - 1}, {16, 4, 1<<32 - 1}, {32, 0, 1<<32 - 1}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// netBindService is a security.capability value, version 2.
var netBindService = []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// zoo makes one of each kind of thing in dir.
func zoo(t *testing.T, dir string) {
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("usr/bin/sudo"), []byte("#!"))
	must(t, os.Chown(in("usr/bin/sudo"), 0, 42))
	must(t, unix.Chmod(in("usr/bin/sudo"), 0o6755))
	write(t, in("usr/bin/ping"), make([]byte, 300<<10))
	must(t, os.Chown(in("usr/bin/ping"), 1000, 1000))
	must(t, unix.Setxattr(in("usr/bin/ping"), "security.capability", netBindService, 0))
	write(t, in("var/log/journal/x"), nil)
	must(t, unix.Setxattr(in("var/log/journal/x"), "system.posix_acl_access", acl(), 0))
	must(t, unix.Setxattr(in("var/log/journal"), "system.posix_acl_default", acl(), 0))
	must(t, unix.Setxattr(in("var/log/journal/x"), "user.big", []byte(strings.Repeat("v", 1000)), 0))
	must(t, unix.Setxattr(in("var/log/journal/x"), "user.empty", nil, 0))
	must(t, os.Symlink("../bin/sudo", in("usr/bin/link")))
	must(t, os.Symlink(strings.Repeat("a", 4000), in("usr/bin/long")))
	must(t, os.Lchown(in("usr/bin/link"), 7, 8))
	must(t, unix.Lsetxattr(in("usr/bin/link"), "trusted.note", []byte("n"), 0))
	must(t, unix.Mknod(in("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(in("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 1048575))))
	must(t, unix.Mknod(in("fifo"), unix.S_IFIFO|0o640, 0))
	must(t, unix.Mknod(in("sock"), unix.S_IFSOCK|0o755, 0))
	must(t, os.Link(in("fifo"), in("usr/fifo2")))
	must(t, os.Link(in("usr/bin/link"), in("link2")))
	write(t, in("tmp/not-utf8-\xff\n"), []byte("x"))
	must(t, unix.Chmod(in("tmp"), 0o1777))
	must(t, os.MkdirAll(in("shared"), 0o755))
	must(t, os.Chown(in("shared"), 5, 50))
	must(t, unix.Chmod(in("shared"), 0o2775))
	write(t, in("shared/unreadable"), []byte("secret"))
	must(t, os.Chmod(in("shared/unreadable"), 0))
	hardlinks(t, dir)
	holes(t, dir)
	must(t, unix.Chmod(dir, 0o751))
	age(t, dir)
}

func hardlinks(t *testing.T, dir string) {
	for i := range 40 {
		write(t, filepath.Join(dir, "links/a", fmt.Sprint(i)), fmt.Appendf(nil, "file %d", i))
		must(t, os.MkdirAll(filepath.Join(dir, "links/b", fmt.Sprint(i%3)), 0o755))
		for j := range 3 {
			must(t, os.Link(filepath.Join(dir, "links/a", fmt.Sprint(i)), filepath.Join(dir, "links/b", fmt.Sprint(i%3), fmt.Sprintf("%d.%d", i, j))))
		}
	}
	must(t, os.MkdirAll(filepath.Join(dir, "setuid"), 0o755))
	must(t, os.Link(filepath.Join(dir, "usr/bin/sudo"), filepath.Join(dir, "setuid/su")))
}

func holes(t *testing.T, dir string) {
	for name, at := range map[string][]int64{"none": nil, "start": {0}, "middle": {1 << 20, 3 << 20}, "end": {9<<20 - 5}, "two": {4096, 16384}} {
		p := filepath.Join(dir, "sparse", name)
		write(t, p, nil)
		f, err := os.OpenFile(p, os.O_WRONLY, 0)
		must(t, err)
		for _, off := range at {
			_, err := f.WriteAt([]byte("data!"), off)
			must(t, err)
		}
		must(t, f.Truncate(9<<20))
		must(t, f.Close())
	}
}

// age gives everything its own time, before 1970 and beyond 2038 too.
func age(t *testing.T, dir string) {
	i := int64(0)
	must(t, filepath.Walk(dir, func(p string, _ os.FileInfo, err error) error {
		i++
		ts := unix.Timespec{Sec: []int64{-86400, 1234567890, 5_000_000_000}[i%3] + i, Nsec: i * 1001}
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}))
}

func TestCopyIsExact(t *testing.T) {
	src, dst := ext4(t, 64<<20), ext4(t, 64<<20)
	zoo(t, src)
	before := openFiles(t)
	for _, workers := range []int{1, 8} {
		to := filepath.Join(dst, fmt.Sprint(workers))
		must(t, os.Mkdir(to, 0o777))
		st, err := copytree.Copy(t.Context(), src, to, copytree.Options{Workers: workers})
		must(t, err)
		requireSame(t, src, to)
		// 40 files with 4 names each, sudo, the fifo and the link with 2.
		if st.Hardlinks != 123 || st.Special != 4 || st.Symlinks != 2 {
			t.Errorf("%d workers: %+v", workers, st)
		}
	}
	if n := openFiles(t); n != before {
		t.Errorf("%d files are open, %d were before", n, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	l, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(l)
}

func TestCopyFromSquashfs(t *testing.T) {
	src := ext4(t, 64<<20)
	run := tooltest.Need(t, "mksquashfs")
	zoo(t, src)
	img := filepath.Join(t.TempDir(), "sq")
	do(t, run, "mksquashfs", src, img, "-quiet", "-no-progress", "-noD", "-e", "lost+found")
	sq, dst := mount(t, run, "-o", "loop,ro", img), ext4(t, 64<<20)
	_, err := copytree.Copy(t.Context(), sq, dst, copytree.Options{})
	must(t, err)
	want, got := snapshot(t, sq), snapshot(t, dst)
	if len(want) != len(got) {
		t.Errorf("%d names became %d", len(want), len(got))
	}
	for p, w := range want {
		g := got[p]
		if w.SHA256 != g.SHA256 || w.Mode != g.Mode || w.Mtime != g.Mtime || w.SameAs != g.SameAs || w.Rdev != g.Rdev {
			t.Errorf("%s: %+v became %+v", p, w, g)
		}
	}
}

func TestCopyIntoMountPoints(t *testing.T) {
	src, dst := ext4(t, 32<<20), ext4(t, 32<<20)
	write(t, filepath.Join(src, "boot/efi/README"), []byte("r"))
	write(t, filepath.Join(dst, "boot/efi/kept"), []byte("k"))
	_, err := copytree.Copy(t.Context(), src, dst, copytree.Options{})
	must(t, err)
	for _, name := range []string{"README", "kept"} {
		if _, err := os.Stat(filepath.Join(dst, "boot/efi", name)); err != nil {
			t.Error(err)
		}
	}
}

func TestCopyDeepAndWide(t *testing.T) {
	src, dst := ext4(t, 64<<20), ext4(t, 64<<20)
	deep := filepath.Join(src, strings.Repeat("d/", 300))
	write(t, filepath.Join(deep, "f"), []byte("deep"))
	for i := range 3000 {
		write(t, filepath.Join(src, "wide", strings.Repeat("n", 100)+fmt.Sprint(i)), []byte{byte(i)})
	}
	must(t, os.Link(filepath.Join(deep, "f"), filepath.Join(src, "wide/deep")))
	_, err := copytree.Copy(t.Context(), src, dst, copytree.Options{})
	must(t, err)
	requireSame(t, src, dst)
}

// The destination must not be able to send the copy elsewhere.
func TestCopyRefusesToFollowOrReplace(t *testing.T) {
	for _, test := range []struct {
		name, want string
		put        func(outside, dst string) error
		is         error
	}{
		{"link for directory", "etc: make directory", func(o, d string) error { return os.Symlink(o, d+"/etc") }, unix.ENOTDIR},
		{"link for file", "etc/passwd: create", func(o, d string) error {
			return errors.Join(os.Mkdir(d+"/etc", 0o755), os.Symlink(o+"/passwd", d+"/etc/passwd"))
		}, unix.EEXIST},
		{"file for file", "etc/passwd: create", func(_, d string) error {
			return errors.Join(os.Mkdir(d+"/etc", 0o755), os.WriteFile(d+"/etc/passwd", nil, 0o644))
		}, unix.EEXIST},
		{"file for directory", "etc: make directory", func(_, d string) error { return os.WriteFile(d+"/etc", nil, 0o644) }, unix.ENOTDIR},
	} {
		t.Run(test.name, func(t *testing.T) {
			src, dst, outside := t.TempDir(), t.TempDir(), t.TempDir()
			write(t, src+"/etc/passwd", []byte("root"))
			must(t, test.put(outside, dst))
			_, err := copytree.Copy(t.Context(), src, dst, copytree.Options{})
			if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q and %v", err, test.want, test.is)
			}
			if l, _ := os.ReadDir(outside); len(l) != 0 {
				t.Errorf("wrote %v outside the destination", l)
			}
		})
	}
}

func TestCopyOntoFullDisk(t *testing.T) {
	src, dst := t.TempDir(), ext4(t, 16<<20)
	before := openFiles(t)
	for i := range 30 {
		write(t, fmt.Sprintf("%s/%d/f", src, i), make([]byte, 1<<20))
	}
	_, err := copytree.Copy(t.Context(), src, dst, copytree.Options{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "/f: write at ") {
		t.Errorf("got %v", err)
	}
	if n := openFiles(t); n != before {
		t.Errorf("%d files are open, %d were before", n, before)
	}
}

func TestCopyStopsWhenCancelled(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, src+"/f", []byte("x"))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("power button")
	cancel(why)
	if _, err := copytree.Copy(ctx, src, dst, copytree.Options{}); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if l, _ := os.ReadDir(dst); len(l) != 0 {
		t.Errorf("made %v", l)
	}
}

func TestCopyNamesMissingDirectory(t *testing.T) {
	for _, d := range [][2]string{{"/no/such/source", t.TempDir()}, {t.TempDir(), "/no/such/destination"}} {
		_, err := copytree.Copy(t.Context(), d[0], d[1], copytree.Options{})
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/no/such/") {
			t.Errorf("got %v", err)
		}
	}
}

func TestProgressEndsWithAllBytes(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	for i := range 8 {
		write(t, fmt.Sprintf("%s/%d", src, i), make([]byte, 1<<20))
	}
	var seen []int64
	st, err := copytree.Copy(t.Context(), src, dst, copytree.Options{Progress: func(n int64) { seen = append(seen, n) }})
	must(t, err)
	if st.Bytes != 8<<20 || len(seen) == 0 || seen[len(seen)-1] != st.Bytes {
		t.Errorf("progress %v, stats %+v", seen, st)
	}
	for i := 1; i < len(seen); i++ {
		if seen[i] < seen[i-1] {
			t.Errorf("progress went back: %v", seen)
		}
	}
}

// BenchmarkCopy reports how long a copy takes compared with tar -x of the same
// tree, both until everything is on disk.
func BenchmarkCopy(b *testing.B) {
	src := os.Getenv("VIC_BENCH_TREE")
	if src == "" {
		src = b.TempDir()
		for i := range 4000 {
			write(b, fmt.Sprintf("%s/%d/%d", src, i%100, i), make([]byte, 1<<10<<(i%8)))
		}
	}
	run := tooltest.Need(b, "tar", "sync")
	archive := filepath.Join(b.TempDir(), "tar")
	do(b, run, "tar", "--xattrs", "--xattrs-include=*", "--acls", "-cf", archive, "-C", src, ".")
	var ours, tars time.Duration
	for b.Loop() {
		start := time.Now()
		_, err := copytree.Copy(b.Context(), src, ext4(b, 1<<30), copytree.Options{})
		ours += time.Since(start)
		must(b, err)
		start = time.Now()
		dst := ext4(b, 1<<30)
		do(b, run, "tar", "--xattrs", "--xattrs-include=*", "--acls", "-xpf", archive, "-C", dst)
		do(b, run, "sync", "-f", dst)
		tars += time.Since(start)
	}
	b.ReportMetric(float64(ours)/float64(tars), "times-tar")
}
