package image

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func content(n int) string { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }

func sampleUSB() USB {
	return USB{
		Label: "VIC", Time: time.Unix(1_700_000_000, 0),
		Files: []File{
			{Path: "EFI/BOOT/BOOTX64.EFI", Source: strings.NewReader(content(5_000_000))},
			{Path: "request.json", Source: strings.NewReader("{}\n")},
		},
	}
}

func sampleBIOS() *BIOS {
	return &BIOS{Boot: fakeBoot(), Core: fakeCore(60_000), Config: func(b Blocklist) (string, error) {
		kernel, err := b("EFI/BOOT/BOOTX64.EFI", 1024, 100_000)
		return "linux " + kernel + "\n", err
	}}
}

func writeImage(t testing.TB, u USB) (string, *Result) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "usb.img")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// What was there before must not show.
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 1<<20), 30<<20); err != nil {
		t.Fatal(err)
	}
	res, err := WriteUSB(f, u)
	if err != nil {
		t.Fatal(err)
	}
	return file, res
}

func output(t testing.TB, r tool.Runner, name string, args ...string) string {
	t.Helper()
	out, err := r.Run(t.Context(), tool.Cmd{Name: name, Args: args})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Stdout)
	}
	return string(out.Stdout)
}

func TestForeignToolsReadUSB(t *testing.T) {
	r := tooltest.Need(t, "sgdisk", "fsck.vfat", "mdir", "mtype", "dd")
	for name, bios := range map[string]*BIOS{"bios": sampleBIOS(), "uefi only": nil} {
		for _, size := range []int64{0, 100 * mib} {
			t.Run(fmt.Sprintf("%s %d", name, size), func(t *testing.T) {
				u := sampleUSB()
				u.BIOS, u.Size = bios, size
				file, res := writeImage(t, u)
				if st, err := os.Stat(file); err != nil || st.Size() != res.Size || size > 0 && res.Size != size {
					t.Errorf("size %d, file %v, %v", res.Size, st, err)
				}
				if out := output(t, r, "sgdisk", "-v", file); !strings.Contains(out, "No problems found") {
					t.Errorf("sgdisk:\n%s", out)
				}
				esp := res.Partitions[len(res.Partitions)-1]
				checkTable(t, output(t, r, "sgdisk", "-p", file), bios != nil)
				part := filepath.Join(t.TempDir(), "esp")
				output(t, r, "dd", "status=none", "bs=1M", "if="+file, "of="+part, fmt.Sprint("skip=", esp.Start/2048), fmt.Sprint("count=", esp.Sectors/2048))
				output(t, r, "fsck.vfat", "-n", part)
				if got := output(t, r, "mtype", "-i", fmt.Sprintf("%s@@%d", file, esp.Start*sectorSize), "::request.json"); got != "{}\n" {
					t.Errorf("request.json has %q", got)
				}
				if out := output(t, r, "mdir", "-b", "-/", "-i", part); !strings.Contains(out, "EFI/BOOT/BOOTX64.EFI") || strings.Contains(out, "grub.cfg") != (bios != nil) {
					t.Errorf("mdir:\n%s", out)
				}
			})
		}
	}
}

func checkTable(t *testing.T, out string, bios bool) {
	t.Helper()
	if strings.Contains(out, "EF02  BIOS boot") != bios || !strings.Contains(out, "EF00  EFI system") {
		t.Errorf("sgdisk:\n%s", out)
	}
}

func TestSameInputsSameImage(t *testing.T) {
	build := func(change func(*USB)) ([]byte, *Result) {
		u := sampleUSB()
		u.BIOS = sampleBIOS()
		change(&u)
		file, res := writeImage(t, u)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b, res
	}
	a, resA := build(func(*USB) {})
	b, _ := build(func(*USB) {})
	if !bytes.Equal(a, b) {
		t.Error("two builds differ")
	}
	_, resC := build(func(u *USB) { u.Files[1].Source = strings.NewReader("[]\n") })
	if resA.DiskGUID == resC.DiskGUID || resA.VolumeID == resC.VolumeID || resA.Partitions[0].GUID == resC.Partitions[0].GUID {
		t.Error("other content has the same identifiers")
	}
	seen := map[string]bool{resA.DiskGUID: true, resA.Partitions[0].GUID: true, resA.Partitions[1].GUID: true}
	if len(seen) != 3 {
		t.Errorf("identifiers are not unique: %v", seen)
	}
}

func TestBlocklistPointsIntoTheFile(t *testing.T) {
	r := tooltest.Need(t, "mtype")
	u := sampleUSB()
	u.BIOS = sampleBIOS()
	file, res := writeImage(t, u)
	esp := res.Partitions[1]
	cfg := output(t, r, "mtype", "-i", fmt.Sprintf("%s@@%d", file, esp.Start*sectorSize), "::"+GRUBConfigFile)
	var first, count int64
	if _, err := fmt.Sscanf(cfg, "linux %d+%d\n", &first, &count); err != nil || count != 196 || len(cfg) != configSize {
		t.Fatalf("config of %d bytes: %q, %v", len(cfg), strings.TrimSpace(cfg), err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, 100_000)
	if _, err := f.ReadAt(got, (esp.Start+first)*sectorSize); err != nil || string(got) != content(5_000_000)[1024:101_024] {
		t.Errorf("blocks %d+%d have other content, %v", first, count, err)
	}
}

// limited is a target that runs full.
type limited struct{ left int }

func (l *limited) Truncate(int64) error { return nil }
func (l *limited) WriteAt(b []byte, _ int64) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

var errFull = errors.New("no space left")

func TestWriteUSBRefuses(t *testing.T) {
	for want, change := range map[string]func(*USB){
		"size of 1000 bytes is not":                     func(u *USB) { u.Size = 1000 },
		"image of 2 MiB, ESP of 0 MiB":                  func(u *USB) { u.Size = 2 * mib },
		"file system is too small":                      func(u *USB) { u.Size = 20 * mib },
		`file "x": has no source`:                       func(u *USB) { u.Files = append(u.Files, File{Path: "x"}) },
		`file "grub/grub.cfg": is there twice`:          func(u *USB) { u.Files = append(u.Files, File{Path: GRUBConfigFile, Source: strings.NewReader("")}) },
		"GRUB boot image: 0 bytes are not":              func(u *USB) { u.BIOS.Boot = nil },
		"GRUB core image: has 2100 sectors":             func(u *USB) { u.BIOS.Core = fakeCore(2100 * 512) },
		"grub/grub.cfg: has 5000 bytes":                 func(u *USB) { u.BIOS.Config = func(Blocklist) (string, error) { return content(5000), nil } },
		`blocks of "nothing"`:                           func(u *USB) { u.BIOS.Config = func(b Blocklist) (string, error) { return b("nothing", 0, 1) } },
		"1 bytes from 100 are not whole sectors":        func(u *USB) { u.BIOS.Config = func(b Blocklist) (string, error) { return b("request.json", 100, 1) } },
		"4 bytes from 0 are not whole sectors of its 3": func(u *USB) { u.BIOS.Config = func(b Blocklist) (string, error) { return b("request.json", 0, 4) } },
		`label "vic"`:                                   func(u *USB) { u.Label = "vic" },
	} {
		u := sampleUSB()
		u.BIOS = sampleBIOS()
		change(&u)
		if _, err := WriteUSB(&limited{left: 1 << 30}, u); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, left := range []int{0, 100_000, 600_000, 5_600_000} {
		u := sampleUSB()
		u.BIOS = sampleBIOS()
		if _, err := WriteUSB(&limited{left: left}, u); !errors.Is(err, errFull) && !strings.Contains(fmt.Sprint(err), errFull.Error()) {
			t.Errorf("full after %d bytes: got %v", left, err)
		}
	}
}
