package flash

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// gptImage is an image as sgdisk makes it, with a pattern in its partitions.
func gptImage(t testing.TB, size int64) []byte {
	t.Helper()
	run := tooltest.Need(t, "sgdisk")
	path := filepath.Join(t.TempDir(), "gpt.img")
	if err := os.WriteFile(path, mbrImage(t, size), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := run.Run(t.Context(), tool.Cmd{Name: "sgdisk", Args: []string{"-Z", "-o", "-n", "1:2048:+256K", "-t", "1:ef00", "-n", "2:0:0", "-c", "2:root", path}})
	if err != nil {
		// sgdisk says 2 about a table that it was told to destroy, and then does not go on.
		_, err = run.Run(t.Context(), tool.Cmd{Name: "sgdisk", Args: []string{"-o", "-n", "1:2048:+256K", "-t", "1:ef00", "-n", "2:0:0", "-c", "2:root", path}})
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verifyGPT has sgdisk look at a disk.
func verifyGPT(t *testing.T, b []byte) string {
	t.Helper()
	run := tooltest.Need(t, "sgdisk")
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run.Run(t.Context(), tool.Cmd{Name: "sgdisk", Args: []string{"-v", "-p", path}})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Stdout)
	}
	return string(out.Stdout)
}

// The backup GPT is where the device ends, and sgdisk is content; the copy that
// was at the end of the image is gone.
func TestMoveGPT(t *testing.T) {
	image := gptImage(t, 23<<20)
	c := newCard(64 << 20)
	if results, err := write(t, Config{Image: newImage(image)}, c); err != nil || results[0].State != Done {
		t.Fatal(err, results)
	}
	if out := verifyGPT(t, c.durable); !strings.Contains(out, "No problems found") || !strings.Contains(out, "root") {
		t.Error(out)
	}
	if !bytes.Equal(c.durable[headSize:len(image)-33*512], image[headSize:len(image)-33*512]) || !isZero(c.durable[len(image)-33*512:len(image)]) {
		t.Error("partitions differ, or the old backup is there")
	}
}

// Where nothing has to move, or nothing should, the image is there byte for byte.
func TestKeepGPT(t *testing.T) {
	image := gptImage(t, 23<<20)
	iso := bytes.Clone(image)
	copy(iso[0x8001:], "CD001")
	for _, tt := range []struct {
		name  string
		image []byte
		size  int64
		keep  bool
	}{{"same size", image, 23 << 20, false}, {"asked for", image, 64 << 20, true}, {"ISO 9660", iso, 64 << 20, false}} {
		c := newCard(tt.size)
		results, err := write(t, Config{Image: newImage(tt.image), KeepGPT: tt.keep}, c)
		if err != nil || results[0].State != Done || !bytes.Equal(c.durable[:len(tt.image)], tt.image) {
			t.Errorf("%s: %v, %+v", tt.name, err, results)
		}
	}
}

// Tables are recognised, and what they need of a device.
func TestReadTable(t *testing.T) {
	gpt, mbr := gptImage(t, 23<<20), mbrImage(t, 23<<20)
	fat := make([]byte, headSize)
	copy(fat[:], "\xeb\x3c\x90mkfs.fat")
	fat[446], fat[510], fat[511] = 0x17, 0x55, 0xaa
	torn := bytes.Clone(gpt)
	torn[512+40]++
	copy(torn[446:510], zeroes)
	for _, tt := range []struct {
		name   string
		head   []byte
		kind   string
		sector int
		end    int64
	}{
		{"gpt", gpt, "gpt", 512, 23 << 20}, {"mbr", mbr, "mbr", 512, 23 << 20}, {"fat", fat, "", 0, 0},
		{"torn", torn, "", 0, 0}, {"nothing", zeroes[:headSize], "", 0, 0}, {"short", mbr[:300], "", 0, 0},
	} {
		got := readTable(tt.head[:min(len(tt.head), headSize)])
		// sgdisk aligns the end of the last partition to what it likes.
		if got.kind != tt.kind || got.sectorSize != tt.sector || got.end > tt.end || got.end < tt.end-2<<20 {
			t.Errorf("%s: %q, sectors of %d, end at %d", tt.name, got.kind, got.sectorSize, got.end)
		}
	}
}

// An image for other sectors, or something that is no image, is refused before
// anything is written.
func TestRefusedImages(t *testing.T) {
	gpt := gptImage(t, 23<<20)
	j, err := Prepare(Config{Image: newImage(gpt)})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Fits(1<<40, 4096); err == nil || !strings.Contains(err.Error(), "sectors of 512 bytes") {
		t.Error(err)
	}
	if err := j.Fits(1<<20, 512); err == nil || !strings.Contains(err.Error(), "needs 24.1 MB") {
		t.Error(err)
	}
	for _, o := range others {
		b := make([]byte, 8192)
		copy(b[o.at:], o.magic)
		if _, err := Prepare(Config{Image: newImage(b)}); err == nil || !strings.Contains(err.Error(), o.what) {
			t.Errorf("%q: %v", o.magic, err)
		}
	}
	if _, err := Prepare(Config{Image: newImage(nil)}); err == nil {
		t.Error("an empty image")
	}
	outside := Overlay{Offset: 23<<20 - 1, Size: 2, Data: strings.NewReader("xx")}
	if _, err := Prepare(Config{Image: newImage(gpt), Overlays: []Overlay{outside}}); err == nil {
		t.Error("an overlay outside of the image")
	}
}

// What a table says is never trusted: whatever the bytes, what follows of them
// can be computed, for devices of any size.
func FuzzTable(f *testing.F) {
	f.Add(gptImage(f, 3<<20)[:64<<10], int64(64<<20), true)
	f.Add(mbrImage(f, 3<<20)[:64<<10], int64(1<<20), false)
	f.Fuzz(func(t *testing.T, b []byte, size int64, fix bool) {
		head := make([]byte, 64<<10)
		copy(head, b)
		if fix && string(head[512:520]) == gptSignature {
			seal(head[512 : 512+gptHeaderSize])
		}
		table := readTable(head)
		if size < headSize || size > 1<<50 {
			return
		}
		d := sized{size: size, sector: max(table.sectorSize, 512)}
		first, backup, at := table.ending(head, make([]byte, table.backup.Size), d, false)
		if len(first) != len(head) || at < 0 || at+int64(len(backup)) > size {
			t.Errorf("%d bytes at %d of %d", len(backup), at, size)
		}
		if moved := readTable(first); len(backup) > 0 && moved.kind != "gpt" {
			t.Error(fmt.Sprint("the table is none any more: ", moved))
		}
	})
}

type sized struct {
	Device
	size   int64
	sector int
}

func (s sized) Size() int64     { return s.size }
func (s sized) SectorSize() int { return s.sector }
