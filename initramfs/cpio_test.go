package initramfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var when = time.Date(2025, 8, 9, 10, 11, 12, 0, time.UTC)

// listing is what cpio(1) says of an archive, its columns squeezed.
func listing(t *testing.T, archive []byte) []string {
	t.Helper()
	run := tooltest.Need(t, "cpio")
	out, err := run.Run(t.Context(), tool.Cmd{Name: "cpio", Args: []string{"-itv", "--numeric-uid-gid"}, Stdin: bytes.NewReader(archive)})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(out.Stdout)) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func TestSegmentIsWhatCpioReads(t *testing.T) {
	owned := Regular("/etc/owned", 0o640, []byte("12345"))
	owned.UID, owned.GID = 7, 8
	setuid := Regular("bin/su", 0o755, []byte("x"))
	setuid.Mode |= fs.ModeSetuid
	files := []File{
		owned, setuid, Regular("empty", 0o600, nil), Symlink("etc/link", "../bin/su"), CharDevice("dev/console", 0o600, 5, 1),
		{Path: "dev/vda", Mode: fs.ModeDevice | 0o660, Major: 254, Minor: 16}, {Path: "fifo", Mode: fs.ModeNamedPipe | 0o644},
		{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	var b bytes.Buffer
	if err := WriteSegment(&b, files, when); err != nil {
		t.Fatal(err)
	}
	if b.Len()%512 != 0 {
		t.Errorf("length %d is no multiple of 512", b.Len())
	}
	date := "Aug 9 2025"
	want := []string{
		"drwxr-xr-x 2 0 0 0 " + date + " bin",
		"-rwsr-xr-x 1 0 0 1 " + date + " bin/su",
		"drwxr-xr-x 2 0 0 0 " + date + " dev",
		"crw------- 1 0 0 5, 1 " + date + " dev/console",
		"brw-rw---- 1 0 0 254, 16 " + date + " dev/vda",
		"-rw------- 1 0 0 0 " + date + " empty",
		"drwxr-xr-x 2 0 0 0 " + date + " etc",
		"lrwxrwxrwx 1 0 0 9 " + date + " etc/link -> ../bin/su",
		"-rw-r----- 1 7 8 5 " + date + " etc/owned",
		"prw-r--r-- 1 0 0 0 " + date + " fifo",
		"drwxrwxrwt 2 0 0 0 " + date + " tmp",
	}
	if diff := cmp.Diff(want, listing(t, b.Bytes())); diff != "" {
		t.Error(diff)
	}
}

func TestSegmentRefuses(t *testing.T) {
	for want, files := range map[string][]File{
		"listed twice":                {Regular("a/b", 0o644, nil), Regular("/a//b", 0o644, nil)},
		"not a path inside":           {Regular("a/../../b", 0o644, nil)},
		`"": not a path`:              {Directory("", 0o755)},
		"zero byte":                   {Regular("a\x00b", 0o644, nil)},
		"the name that ends":          {Regular("TRAILER!!!", 0o644, nil)},
		"path of 5000 bytes":          {Regular(strings.Repeat("a", 5000), 0o644, nil)},
		"a is not a directory":        {Regular("a", 0o644, nil), Regular("a/b", 0o644, nil)},
		"link target of 0 bytes":      {Symlink("a", "")},
		"link target of 4096 bytes":   {Symlink("a", strings.Repeat("b", 4096))},
		"4294967296 bytes do not fit": {{Path: "a", Mode: 0o644, Data: zeros{}, Size: 1 << 32}},
		"cannot be archived":          {{Path: "a", Mode: fs.ModeSocket}},
		"wrote 3 bytes":               {{Path: "a", Mode: 0o644, Data: strings.NewReader("abc"), Size: 4}},
		"disk on fire":                {{Path: "a", Mode: 0o644, Data: broken{}, Size: 4}},
	} {
		err := WriteSegment(io.Discard, files, when)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
	if err := WriteSegment(io.Discard, nil, time.Unix(-1, 0)); err == nil {
		t.Error("a time before 1970 was written")
	}
	full := errors.New("disk full")
	if err := WriteSegment(fullDisk{full}, []File{Regular("a", 0o644, nil)}, when); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	if _, err := Write(fullDisk{full}, Config{Time: when}); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}

type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("disk on fire") }

type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

func sampleConfig(t *testing.T) Config {
	return Config{
		Init: []byte("\x7fELF busybox"), Commands: []string{"vic-init", "ls"},
		Modules: kernelTree(t), Release: "6.12.0-test", Sets: []string{"early", "e1000"},
		Firmware: fstest.MapFS{"intel/e1000.fw": {Data: []byte("blob")}}, Files: []File{Regular("etc/os-release", 0o644, []byte("ID=vic\n"))},
		Time: when,
	}
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	contents, err := Write(&b, sampleConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != contents.Compressed || b.Len()%512 != 0 {
		t.Errorf("wrote %d bytes, says %d; want a multiple of 512", b.Len(), contents.Compressed)
	}
	plain := firstFrame(t, b.Bytes())
	if int64(len(plain)) != contents.Size {
		t.Errorf("archive has %d bytes, contents say %d", len(plain), contents.Size)
	}
	var listed []string
	for _, line := range listing(t, plain) {
		_, path, _ := strings.Cut(line, "Aug 9 2025 ")
		listed = append(listed, path)
	}
	var want []string
	for _, e := range contents.Entries {
		if e.Link != "" {
			want = append(want, e.Path+" -> "+e.Link)
		} else {
			want = append(want, e.Path)
		}
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("contents and archive differ: %s", diff)
	}
	for _, path := range []string{
		"init -> bbin/vic-init", "bbin/vic-init -> bb", "bbin/ls -> bb", "lib -> usr/lib", "dev/console", "etc/os-release",
		"usr/lib/modules/6.12.0-test/kernel/fs/erofs/erofs.ko", "usr/lib/modules/6.12.0-test/modules.dep",
		"usr/lib/firmware/intel/e1000.fw",
	} {
		if !strings.Contains("\n"+strings.Join(listed, "\n")+"\n", "\n"+path+"\n") {
			t.Errorf("no %s", path)
		}
	}
	if strings.Contains(strings.Join(listed, " "), ".bin") {
		t.Error("modules.*.bin is in the archive")
	}
}

func TestContentsSayWhereEachByteComesFrom(t *testing.T) {
	contents, err := Write(io.Discard, sampleConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	origins := map[string]string{}
	for _, e := range contents.Entries {
		origins[e.Path] = e.Origin
		if e.Size > 0 && len(e.SHA256) != 64 || e.Link != "" && e.SHA256 != "" {
			t.Errorf("%+v: a file has a hash, a link has none", e)
		}
	}
	for path, want := range map[string]string{
		"init": OriginInit, "bbin/bb": OriginInit, "bbin/ls": OriginCommand, "dev/null": OriginSkeleton, "usr": OriginSkeleton,
		"etc/os-release": OriginFile, "usr/lib/firmware/intel/e1000.fw": OriginFirmware,
		"usr/lib/modules/6.12.0-test/modules.alias":            OriginIndex,
		"usr/lib/modules/6.12.0-test/kernel/fs/erofs/erofs.ko": OriginModule,
	} {
		if origins[path] != want {
			t.Errorf("%s: origin %q, want %q", path, origins[path], want)
		}
	}
}

func TestWriteTwiceIsTheSame(t *testing.T) {
	var a, b bytes.Buffer
	first, err := Write(&a, sampleConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	config := sampleConfig(t)
	config.Time = when.In(time.FixedZone("elsewhere", 3600))
	second, err := Write(&b, config)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same config gave other bytes")
	}
	if diff := cmp.Diff(first, second, cmpopts.IgnoreFields(Entry{}, "Data")); diff != "" {
		t.Error(diff)
	}
}

func TestWriteRefuses(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"no command vic-init":     func(c *Config) { c.Commands = []string{"ls"} },
		"no kernel modules given": func(c *Config) { c.Modules = nil },
		`"" is no kernel release`: func(c *Config) { c.Release = "" },
		`"../x" is no kernel`:     func(c *Config) { c.Release = "../x" },
		`did you mean "early"?`:   func(c *Config) { c.Sets = []string{"earyl"} },
		"bbin/bb: listed twice":   func(c *Config) { c.Files = []File{Regular("bbin/bb", 0o755, nil)} },
	} {
		c := sampleConfig(t)
		change(&c)
		_, err := Write(io.Discard, c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

// firstFrame decompresses the zstd frame that b begins with; what follows it
// must be padding.
func firstFrame(t *testing.T, b []byte) []byte {
	t.Helper()
	dec, err := zstd.NewReader(bytes.NewReader(bytes.TrimRight(b, "\x00")), zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	plain, err := io.ReadAll(dec)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}
