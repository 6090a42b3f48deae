package image

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// fakeBoot and fakeCore have the fields that EmbedGRUB checks, and no code.
func fakeBoot() []byte {
	b := make([]byte, sectorSize)
	b[bootCoreLBA], b[bootDrive], b[bootDriveCheck] = 1, 0xff, 0xeb
	b[510], b[511] = 0x55, 0xaa
	return b
}

func fakeCore(size int) []byte {
	b := make([]byte, size)
	b[coreBlocks] = diskbootStart
	binary.LittleEndian.PutUint16(b[coreBlocks+8:], uint16((size+511)/512-1))
	binary.LittleEndian.PutUint16(b[coreBlocks+10:], coreSegment)
	return b
}

func TestEmbedGRUBPatches(t *testing.T) {
	boot, core, err := EmbedGRUB(fakeBoot(), fakeCore(1500), 2048, 2048)
	if err != nil {
		t.Fatal(err)
	}
	want := fakeBoot()[:bootCodeEnd]
	copy(want[0x5c:], "\x00\x08\x00\x00\x00\x00\x00\x00\xff\x00\x90\x90")
	if !bytes.Equal(boot[:], want) {
		t.Errorf("boot code is %x", boot)
	}
	if len(core) != 1536 || string(core[0x1f4:0x200]) != "\x01\x08\x00\x00\x00\x00\x00\x00\x02\x00\x20\x08" {
		t.Errorf("%d bytes of core, blocks %x", len(core), core[0x1f4:0x200])
	}
}

func TestEmbedGRUBRefuses(t *testing.T) {
	patched, core, err := EmbedGRUB(fakeBoot(), fakeCore(1500), 2048, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]struct{ boot, core []byte }{
		"440 bytes are not a boot sector": {patched[:], fakeCore(1500)},
		"not an unpatched i386-pc/boot":   {append(patched[:], fakeBoot()[bootCodeEnd:]...), fakeCore(1500)},
		"has only 100 bytes":              {fakeBoot(), make([]byte, 100)},
		"not start with an unpatched":     {fakeBoot(), core},
		"has 3 sectors":                   {fakeBoot(), fakeCore(1500)},
	} {
		if _, _, err := EmbedGRUB(c.boot, c.core, 2048, 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestCoreCommand(t *testing.T) {
	c := Core{Dir: "/m", Prefix: USBPrefix, Config: "echo\n", Modules: []string{"fat", "linux"}}
	want := "-O i386-pc -d /m -p (,gpt2)/grub -o /t/core.img -c /t/embedded.cfg fat linux"
	if got := c.command("/t"); got.Name != "grub-mkimage" || !slices.Equal(got.Args, strings.Fields(want)) {
		t.Errorf("got %s", got)
	}
}

const hostModules = "/usr/lib/grub/i386-pc" // Debian's grub-pc-bin

func hostGRUB(t *testing.T, c Core) *BIOS {
	t.Helper()
	run := tooltest.Need(t, "grub-mkimage")
	boot, err := os.ReadFile(filepath.Join(hostModules, "boot.img"))
	if err != nil {
		tooltest.Missing(t, "grub-pc-bin is not installed")
	}
	c.Dir, c.Prefix = hostModules, USBPrefix
	core, err := BuildCore(t.Context(), run, c)
	if err != nil {
		t.Fatal(err)
	}
	return &BIOS{Boot: boot, Core: core}
}

func TestCoreFromGrubMkimage(t *testing.T) {
	c := Core{Modules: USBModules(), Config: "set timeout=0\n"}
	a, b := hostGRUB(t, c), hostGRUB(t, c)
	if !bytes.Equal(a.Core, b.Core) {
		t.Error("two core images differ")
	}
	if _, _, err := EmbedGRUB(a.Boot, a.Core, 2048, 2048); err != nil {
		t.Error(err)
	}
	c.Modules = []string{"no-such-module"}
	_, err := BuildCore(t.Context(), tool.Exec{}, Core{Dir: hostModules, Prefix: USBPrefix, Modules: c.Modules})
	var te *tool.Error
	if !errors.As(err, &te) || !strings.Contains(err.Error(), "no-such-module") {
		t.Errorf("got %v", err)
	}
}

// GRUB starts from the image, finds its configuration on the ESP, reads a piece
// of another file by its blocks, and says so on the serial line.
func TestImageBootsOnBIOS(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a virtual machine")
	}
	run := tooltest.Need(t, "qemu-system-x86_64", "grub-mkimage")
	u := sampleUSB()
	u.Files = append(u.Files, File{Path: "script.txt", Source: strings.NewReader(content(1024) + "echo read by blocks: $greeting\n")})
	u.BIOS = hostGRUB(t, Core{
		Modules: append(USBModules(), "cat"),
		Config:  "serial --unit=0 --speed=115200\nterminal_output serial\nset greeting=hello\n",
	})
	u.BIOS.Config = func(b Blocklist) (string, error) {
		blocks, err := b("script.txt", 1024, 31)
		return "echo configuration found on $root\nsource " + blocks + "\nhalt\n", err
	}
	file, _ := writeImage(t, u)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	serial := filepath.Join(t.TempDir(), "serial")
	_, err := run.Run(ctx, tool.Cmd{Name: "qemu-system-x86_64", Args: []string{
		"-machine", "pc,accel=tcg", "-m", "64", "-display", "none", "-monitor", "none", "-net", "none", "-no-reboot",
		"-serial", "file:" + serial, "-device", "qemu-xhci", "-device", "usb-storage,drive=usb,bootindex=0",
		"-drive", "if=none,id=usb,format=raw,readonly=on,file=" + file,
	}})
	log, readErr := os.ReadFile(serial)
	if err != nil || readErr != nil {
		t.Fatalf("%v, %v; serial line:\n%s", err, readErr, log)
	}
	for _, want := range []string{"configuration found on hd0,gpt2", "read by blocks: hello"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("serial line lacks %q:\n%s", want, log)
		}
	}
}
