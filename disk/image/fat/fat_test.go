package fat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func pattern(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return string(b)
}

func sample() Config {
	c := Config{Label: "VIC", VolumeID: 0xcafe1234, Time: time.Date(2026, 11, 21, 18, 58, 48, 0, time.UTC), Hidden: 2048}
	for path, content := range map[string]string{
		"EFI/BOOT/BOOTX64.EFI":              pattern(3_000_001),
		"EFI/a long directory name/x":       "x",
		"empty":                             "",
		"exactly one cluster":               pattern(512),
		"two clusters and a byte":           pattern(1025),
		"README.TXT":                        "short name\n",
		"readme.md":                         "lower case\n",
		"config.yaml":                       "a: 1\n",
		"config.yaml.bak":                   "a: 0\n",
		"größe.txt":                         "umlaut\n",
		strings.Repeat("n", 250) + ".conf":  "255 characters\n",
		strings.Repeat("k", 13):             "fills one long entry\n",
		"deep/er/than/usual/in/here/f.txt":  "deep\n",
		"loader/entries/vic-installer.conf": "title vic\n",
	} {
		c.Files = append(c.Files, File{path, strings.NewReader(content)})
	}
	for i := range 300 {
		c.Files = append(c.Files, File{fmt.Sprintf("many/long-file-name-%03d.txt", i), strings.NewReader(fmt.Sprint(i))})
	}
	return c
}

func write(t testing.TB, c Config) (file string, v *Volume) {
	t.Helper()
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "fat.img")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(v.Size()), v.WriteAt(f, 0), f.Close()); err != nil {
		t.Fatal(err)
	}
	return file, v
}

func run(t testing.TB, r tool.Runner, name string, args ...string) string {
	t.Helper()
	out, err := r.Run(t.Context(), tool.Cmd{Name: name, Args: args, Env: []string{"MTOOLS_SKIP_CHECK=0"}})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Stdout)
	}
	return string(out.Stdout)
}

func TestFsckAndMtoolsAgree(t *testing.T) {
	r := tooltest.Need(t, "fsck.vfat", "mdir", "mcopy", "minfo", "mlabel")
	for _, tt := range []struct {
		sector int
		size   int64
	}{{0, 0}, {512, 64 << 20}, {512, 300 << 20}, {512, 20 << 30}, {1024, 0}, {2048, 300 << 20}, {4096, 0}, {4096, 300 << 20}, {4096, 20 << 30}} {
		t.Run(fmt.Sprintf("%d MiB in sectors of %d", tt.size>>20, tt.sector), func(t *testing.T) {
			c := sample()
			c.Size, c.SectorSize = tt.size, tt.sector
			file, v := write(t, c)
			if out := run(t, r, "fsck.vfat", "-n", "-v", file); strings.Contains(out, "Dirty bit") || !strings.Contains(out, " files, ") {
				t.Errorf("fsck.vfat:\n%s", out)
			}
			if out := run(t, r, "mlabel", "-s", "-i", file); !strings.Contains(out, "VIC") {
				t.Errorf("mlabel: %s", out)
			}
			out := run(t, r, "mdir", "-i", file, "::EFI/BOOT")
			if !strings.Contains(out, "BOOTX64  EFI   3000001 2026-11-21  18:58") || !strings.Contains(out, "CAFE-1234") {
				t.Errorf("mdir:\n%s", out)
			}
			dir := t.TempDir()
			run(t, r, "mcopy", "-s", "-n", "-i", file, "::*", dir)
			compare(t, dir, file, c.Files, v)
		})
	}
}

// compare checks the files that mcopy has read and the extents against what
// went in.
func compare(t *testing.T, dir, image string, files []File, v *Volume) {
	t.Helper()
	img, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	for _, f := range files {
		want, err := io.ReadAll(io.NewSectionReader(f.Source, 0, f.Source.Size()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, f.Path))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes came back of %d, %v", f.Path, len(got), len(want), err)
		}
		off, size, ok := v.Extent(f.Path)
		if ok != (len(want) > 0) {
			t.Fatalf("%s: extent %t", f.Path, ok)
		}
		got = make([]byte, size)
		if _, err := img.ReadAt(got, off); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: is not at its extent, %v", f.Path, err)
		}
	}
}

func TestFullFileSystem(t *testing.T) {
	r := tooltest.Need(t, "fsck.vfat")
	c := Config{Files: []File{{"BIG.BIN", strings.NewReader(pattern(40_000_000))}}}
	file, v := write(t, c)
	run(t, r, "fsck.vfat", "-n", file)
	if free := v.Size() - 40_000_000; free > 1<<20 {
		t.Errorf("the smallest file system for 40 MB has %d bytes more", free)
	}
}

func TestSameConfigSameBytes(t *testing.T) {
	var sums [2][]byte
	for i := range sums {
		c := Config{Label: "A", Time: time.Unix(1e9, 0).In(time.FixedZone("x", 3600*i)), Files: []File{{"a/b", strings.NewReader("1")}, {"C", strings.NewReader("2")}}}
		file, _ := write(t, c)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = b
	}
	if !bytes.Equal(sums[0], sums[1]) {
		t.Error("two builds differ")
	}
}

type sized struct {
	io.ReaderAt
	size int64
}

func (s sized) Size() int64 { return s.size }

func TestNewRefuses(t *testing.T) {
	x := func(paths ...string) (c Config) {
		for _, p := range paths {
			c.Files = append(c.Files, File{p, strings.NewReader("x")})
		}
		return c
	}
	big := Config{Files: []File{{"BIG", sized{strings.NewReader(""), math.MaxUint32 + 1}}}}
	late := x("a")
	late.Time = time.Date(2108, 1, 1, 0, 0, 0, 0, time.UTC)
	for want, c := range map[string]Config{
		"is there twice":                       x("EFI/a", "efi/A"),
		"is a file as well":                    x("EFI", "EFI/BOOT"),
		`file "EFI": is there twice`:           x("EFI/BOOT", "EFI"),
		"empty, . or ..":                       x("/EFI"),
		`file "a/../b": path has an empty`:     x("a/../b"),
		`has '\\', which FAT forbids`:          x(`EFI\BOOT`),
		"ends in a dot":                        x("a."),
		"longer than 255":                      x(strings.Repeat("a", 256)),
		`label "vic" has 'v'`:                  {Label: "vic"},
		`longer than 11`:                       {Label: "ABCDEFGHIJKL"},
		"not a multiple of 512":                {Size: 1000},
		"sectors of 520 bytes":                 {SectorSize: 520},
		"sectors of 8192 bytes":                {SectorSize: 8192},
		"not a multiple of 4096":               {SectorSize: 4096, Size: 300<<20 + 512},
		"less than 4 GiB":                      big,
		"is after 2107":                        late,
		`file "nothing": has no source`:        {Files: []File{{Path: "nothing"}}},
		"it has 1048576 bytes, the files need": {Size: 1 << 20},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := New(Config{Size: 40 << 20, Files: []File{{"A", sized{nil, 41 << 20}}}}); !errors.Is(err, ErrTooSmall) {
		t.Errorf("got %v, want ErrTooSmall", err)
	}
}

func TestWriteErrorsNameTheFile(t *testing.T) {
	v, err := New(Config{Files: []File{{"EFI/SHORT", sized{strings.NewReader("abc"), 9}}}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "img"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := v.WriteAt(f, 0); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), `"EFI/SHORT": source ends after 3 of 9`) {
		t.Errorf("got %v", err)
	}
}

func TestAlias(t *testing.T) {
	taken := map[[11]byte]bool{}
	for _, c := range []struct{ name, want string }{
		{"readme.md", "README  MD "}, {"readme.markdown", "README~1MAR"}, {"readme.md5", "README  MD5"},
		{"Readme.Md", "README~1MD "}, {".hidden", "HIDDEN~1   "}, {"a b+c.tar.gz", "AB_CTA~1GZ "}, {"日本", "__~1       "}, {". .x", "_~1     X  "},
	} {
		got, err := alias(c.name, taken)
		if err != nil || string(got[:]) != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
		taken[got] = true
	}
	if _, ok := exactShort("BOOTX64.EFI"); !ok {
		t.Error("BOOTX64.EFI needs no alias")
	}
}

// Whatever the names are, New refuses them or gives each its own short name.
func FuzzNames(f *testing.F) {
	f.Add("readme.md", "README.MD~1", "readme.mdx")
	f.Add("LONGNA~1", "long name", "a/b")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		var files []File
		for _, p := range []string{a, b, c} {
			files = append(files, File{p, strings.NewReader(p)})
		}
		v, err := New(Config{Files: files})
		if err != nil {
			return
		}
		for _, d := range v.dirs {
			seen := map[[11]byte]bool{}
			for _, e := range d.entries {
				if seen[e.short] || e.short[0] == ' ' {
					t.Errorf("%q has the short name %q of another file, or an empty one", e.name, e.short)
				}
				seen[e.short] = true
			}
			if got := int64(len(v.encodeDir(d))); got < d.size() || got%v.geo.clusterBytes() != 0 {
				t.Errorf("directory has %d bytes, %d were planned", got, d.size())
			}
		}
	})
}

// anchoredSample is a file system whose root directory has several clusters.
func anchoredSample(rest int) Config {
	c := Config{Size: 64 << 20, Label: "A", Time: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), Anchored: 2, Files: []File{
		{"zeroth.bin", strings.NewReader(pattern(3000))}, {"chosen.txt", strings.NewReader("one\n")}, {"dir/file", strings.NewReader("two\n")},
	}}
	for i := range rest {
		c.Files = append(c.Files, File{fmt.Sprintf("another-file-%03d.txt", i), strings.NewReader(pattern(i))})
	}
	return c
}

// What is anchored is where it is whatever comes after it, and nobody else minds.
func TestAnchored(t *testing.T) {
	r := tooltest.Need(t, "fsck.vfat", "mdir", "mtype")
	var where []int64
	for _, rest := range []int{0, 1, 60, 200} {
		file, v := write(t, anchoredSample(rest))
		run(t, r, "fsck.vfat", "-n", file)
		names := run(t, r, "mdir", "-b", "-i", file, "::/")
		if lines := strings.Fields(names); len(lines) != 3+rest || lines[0] != "::/zeroth.bin" || lines[1] != "::/chosen.txt" {
			t.Errorf("%d files: the root has\n%s", rest, names)
		}
		for path, want := range map[string]string{"zeroth.bin": pattern(3000), "chosen.txt": "one\n", "dir/file": "two\n"} {
			if got := run(t, r, "mtype", "-i", file, "::/"+path); got != want {
				t.Errorf("%d files: %s has %.20q", rest, path, got)
			}
		}
		a, _, _ := v.Extent("zeroth.bin")
		b, _, _ := v.Extent("chosen.txt")
		if where = append(where, a, b); where[0] != a || where[1] != b {
			t.Errorf("%d files: anchored at %v", rest, where)
		}
		if all, err := os.ReadFile(file); err != nil || !bytes.Equal(onlyPieces(v, all), all) {
			t.Errorf("%d files: something is in no piece: %v", rest, err)
		}
	}
}

// onlyPieces leaves out what is in no piece.
func onlyPieces(v *Volume, all []byte) []byte {
	got := make([]byte, len(all))
	for _, p := range v.Pieces() {
		copy(got[p.Offset:p.Offset+p.Size], all[p.Offset:])
	}
	return got
}

func TestAnchoredRefuses(t *testing.T) {
	for _, c := range []Config{
		{Anchored: 1},
		{Anchored: 1, Files: []File{{"a/b", strings.NewReader("x")}}},
		{Anchored: 1, Files: []File{{"a", strings.NewReader("")}}},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}
