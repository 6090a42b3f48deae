package raspberry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/builder/deb/debtest"
	"github.com/victorinix/vic/disk/image/fat"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/slot"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestConfig(t *testing.T) {
	s := Spec{Serial: true, Overlays: []string{"pi4-spidev", "w1,pin=4"}, Config: []string{"gpu_mem=16"}, Cmdline: []string{"quiet"}}
	want := `# Made by vic. Lines of your own: -o config-txt=...
arm_64bit=1
# Device trees of the kernel's own, not those of the firmware's makers.
upstream_kernel=1
kernel=kernel8.img
initramfs initramfs.img followkernel
disable_splash=1
boot_delay=0
enable_uart=1
dtoverlay=pi4-spidev
dtoverlay=w1,pin=4
gpu_mem=16
`
	if got := s.configText(); got != want {
		t.Errorf("got\n%s", got)
	}
	line := "console=ttyS1,115200 console=tty0 vic.system=SLOT=0badcafe-02 vic.onerror=reboot panic=10 quiet\n"
	if got := s.cmdline(0x0badcafe, 2); got != line {
		t.Errorf("got %q", got)
	}
	s.Serial = false
	if got := s.configText() + s.cmdline(1, 1); strings.Contains(got, "ttyS1") || !strings.Contains(got, "enable_uart=0") {
		t.Errorf("without a serial console:\n%s", got)
	}
}

func TestCheckRefuses(t *testing.T) {
	for want, s := range map[string]Spec{
		"how the card starts":   {Config: []string{"kernel=other.img"}},
		"what os_prefix says":   {Config: []string{" os_prefix=b/"}},
		"what initramfs says":   {Config: []string{"initramfs x followkernel"}},
		"no other file":         {Config: []string{"include other.txt"}},
		"at most 98":            {Config: []string{strings.Repeat("x", 99)}},
		`line "a\nkernel=x"`:    {Config: []string{"a\nkernel=x"}},
		`overlay "../x" is not`: {Overlays: []string{"../x"}},
		`overlay "a,b=1 c"`:     {Overlays: []string{"a,b=1 c"}},
		"without spaces":        {Cmdline: []string{"init=/bin/sh rw"}},
	} {
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", s, err, want)
		}
	}
	if err := (Spec{Config: []string{"", "[pi4]", "# kernel=", "dtparam=spi=on"}, Overlays: []string{"disable-bt", "w1-gpio,gpiopin=4,pullup"}}).Check(); err != nil {
		t.Error(err)
	}
}

// The firmware that lines ask for comes along.
func TestFirmwareFiles(t *testing.T) {
	plain, camera := firmwareFiles(nil), firmwareFiles([]string{"start_x = 1"})
	if plain[0] != "bootcode.bin" || slices.Contains(plain, "start_x.elf") || !slices.Contains(camera, "start4x.elf") || len(camera) != len(plain)+4 {
		t.Errorf("got %v\nand %v", plain, camera)
	}
}

const kernelRelease = "6.12.1-arm64"

// testArchive has packages with what Debian's have.
func testArchive(t *testing.T) builder.Env {
	t.Helper()
	firmware := map[string]string{"usr/lib/raspi-firmware/overlays/pi4-spidev.dtbo": "overlay"}
	trees := map[string]string{"boot/vmlinuz-" + kernelRelease: "kernel"}
	for _, b := range Boards() {
		for _, f := range b.Firmware {
			firmware["usr/lib/raspi-firmware/"+f] = "firmware " + f
		}
		trees["usr/lib/linux-image-"+kernelRelease+"/broadcom/"+b.DeviceTree] = "tree " + b.DeviceTree
	}
	mirror, cache := t.TempDir(), t.TempDir()
	archive := debtest.Archive{Suite: Suite, Arch: "arm64", Packages: []debtest.Package{
		{Name: firmwarePackage, Files: firmware}, {Name: "linux-image-" + kernelRelease, Files: trees},
	}}
	if err := archive.Write(mirror); err != nil {
		t.Fatal(err)
	}
	open := func(ctx context.Context, suite, arch string) (*deb.Archive, error) {
		return deb.Open(ctx, deb.Config{Mirror: "file://" + mirror, Suite: suite, Arch: arch, CacheDir: cache,
			Keyrings: []string{filepath.Join(mirror, debtest.Keyring)}})
	}
	return builder.Env{Cache: cache, Time: builder.DefaultTime, Archive: open, Sink: event.Discard}
}

// testBundle is a bundle of some bytes.
func testBundle(t *testing.T, arch string) *builder.Bundle {
	t.Helper()
	dir := t.TempDir()
	doc := builder.Bundle{Version: builder.Version, Item: "test", Arch: arch, Kernel: kernelRelease}
	lock := fmt.Sprintf(`{"lockVersion":1,"suite":%q,"arch":"arm64","components":["main"],"date":"","inRelease":"","packages":[]}`, Suite)
	for name, text := range map[string]string{
		builder.KernelFile: strings.Repeat("kernel", 1000), builder.InitramfsFile: "initramfs", builder.SystemFile: strings.Repeat("system", 10000), builder.LockFile: lock,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(text))
		size := int64(len(text))
		doc.Files = append(doc.Files, builder.File{Name: name, Size: size, SHA256: hex.EncodeToString(sum[:]), Parts: []builder.Part{{Origin: "vic:" + name, Size: size}}})
	}
	slices.SortFunc(doc.Files, func(a, b builder.File) int { return strings.Compare(a.Name, b.Name) })
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, builder.BundleFile), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := builder.OpenBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// makeImage makes an image with a state of some bytes.
func makeImage(t *testing.T, env builder.Env, spec Spec) (string, *build) {
	t.Helper()
	ctx := context.Background()
	b := &build{env: env, bundle: testBundle(t, "arm64"), spec: spec, target: Target{Number: slot.A, Offset: slotStart, Size: slotSize}}
	t.Cleanup(b.close)
	src, err := resolve(ctx, env, b.bundle)
	if err != nil {
		t.Fatal(err)
	}
	c, err := src.read(ctx, env)
	if err != nil {
		t.Fatal(err)
	}
	if b.pieces, err = src.pieces(c, spec); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), ImageFile)
	if err := errors.Join(b.prepare(ctx), b.write(ctx, path, append(make([]byte, 8192), "state"...))); err != nil {
		t.Fatal(err)
	}
	return path, b
}

// The image is what fdisk, fsck and mtools take for a card, and each board finds
// what it reads, also by short names: the boot ROM knows no others.
func TestImage(t *testing.T) {
	tooltest.Need(t, "sfdisk", "fsck.vfat", "mdir", "mtype")
	path, b := makeImage(t, testArchive(t), Spec{Serial: true, Overlays: []string{"pi4-spidev"}})
	if out := say(t, "sfdisk", "--verify", path); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk: %s", out)
	}
	if out := say(t, "sfdisk", "--dump", path); !strings.Contains(out, "label: dos") || !strings.Contains(out, fmt.Sprintf("label-id: 0x%08x", b.disk())) ||
		!strings.Contains(out, "start=        8192, size=      229376, type=c") || !strings.Contains(out, "start=      237568, size=       32768, type=83") {
		t.Errorf("sfdisk: %s", out)
	}
	say(t, "fsck.vfat", "-n", slotOf(t, path))
	at := fmt.Sprintf("%s@@%d", path, slotStart)
	for _, board := range Boards() {
		for _, f := range board.Firmware {
			if got := say(t, "mtype", "-i", at, "::/"+f); got != "firmware "+f {
				t.Errorf("%s: %s is %q", board.Name, f, got)
			}
		}
		if got := say(t, "mtype", "-i", at, "::/"+board.DeviceTree); got != "tree "+board.DeviceTree {
			t.Errorf("%s: %s is %q", board.Name, board.DeviceTree, got)
		}
	}
	list := say(t, "mdir", "-i", at, "::/")
	for _, short := range []string{"BOOTCODE BIN", "START    ELF", "FIXUP    DAT", "START4   ELF", "CONFIG   TXT", "CMDLINE  TXT", "AUTOBOOT TXT", "KERNEL8  IMG"} {
		if !strings.Contains(list, short) {
			t.Errorf("no file has the short name %q:\n%s", short, list)
		}
	}
	if got := say(t, "mtype", "-i", at, "::/cmdline.txt"); got != b.spec.cmdline(b.disk(), 1) {
		t.Errorf("cmdline.txt is %q", got)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	state := make([]byte, 5)
	if _, err := f.ReadAt(state, slotStart+slotSize+8192); err != nil || string(state) != "state" {
		t.Errorf("the state has %q: %v", state, err)
	}
}

// slotOf copies slot A out of an image.
func slotOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "slot")
	if err := os.WriteFile(file, b[slotStart:slotStart+slotSize], 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func say(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// The same input gives the same bytes; other lines give another disk signature, as
// two cards in one machine must be told apart.
func TestImageIsReproducible(t *testing.T) {
	env := testArchive(t)
	one, b := makeImage(t, env, Spec{Serial: true})
	two, _ := makeImage(t, env, Spec{Serial: true})
	x, errX := os.ReadFile(one)
	y, errY := os.ReadFile(two)
	if err := errors.Join(errX, errY); err != nil || !bytes.Equal(x, y) {
		t.Errorf("two images of the same differ: %v", err)
	}
	if _, other := makeImage(t, env, Spec{}); other.disk() == b.disk() || other.stateUUID() == b.stateUUID() {
		t.Error("an image with other files has the same signature")
	}
}

// What chooses a slot is one sector, which an update overwrites as it is.
func TestAutobootIsOneSector(t *testing.T) {
	text := string(Target{}.choice())
	v, err := fat.New(fat.Config{Size: slotSize, Files: []fat.File{
		{Path: "bootcode.bin", Source: bytes.NewReader(make([]byte, 52476))}, {Path: slot.AutobootFile, Source: strings.NewReader(text)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	at, size, ok := v.Extent(slot.AutobootFile)
	if !ok || at/sectorSize != (at+size-1)/sectorSize || size != slot.AutobootSize {
		t.Errorf("it has %d bytes at %d: %v", size, at, ok)
	}
	for line := range strings.Lines(text) {
		if line != "\n" && !strings.HasPrefix(line, "#") {
			t.Errorf("it says %q", line)
		}
	}
}

func TestPiecesRefuse(t *testing.T) {
	ctx := context.Background()
	env := testArchive(t)
	src, err := resolve(ctx, env, testBundle(t, "arm64"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := src.read(ctx, env)
	if err != nil {
		t.Fatal(err)
	}
	var refused *builder.RefusedError
	if _, err := src.pieces(c, Spec{Overlays: []string{"pi4-spidef,x=1"}}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "did you mean pi4-spidev?") {
		t.Errorf("got %v", err)
	}
	delete(c.trees, "bcm2711-rpi-400.dtb")
	if _, err := src.pieces(c, Spec{}); err == nil || !strings.Contains(err.Error(), "no bcm2711-rpi-400.dtb, for Raspberry Pi 400") {
		t.Errorf("got %v", err)
	}
	delete(c.firmware, "start4.elf")
	if _, err := src.pieces(c, Spec{}); err == nil || !strings.Contains(err.Error(), "no start4.elf") {
		t.Errorf("got %v", err)
	}
	if _, err := Write(ctx, env, testBundle(t, "amd64"), Spec{}, t.TempDir()); !errors.As(err, &refused) || !strings.Contains(err.Error(), "needs arm64") {
		t.Errorf("got %v", err)
	}
}

// What is not free is named.
func TestAnnounce(t *testing.T) {
	env := testArchive(t)
	var said []event.Event
	env.Sink = event.SinkFunc(func(e event.Event) { said = append(said, e) })
	if err := Announce(t.Context(), env, Suite, []string{"linux-image-" + kernelRelease}); err != nil {
		t.Fatal(err)
	}
	// The test's archive has no components: all is free.
	if len(said) != 1 || said[0].Step != "firmware that is not free" || said[0].Message != "" {
		t.Errorf("got %+v", said)
	}
	if err := Announce(t.Context(), env, Suite, []string{"no-such"}); err == nil {
		t.Error("a package that is not there was announced")
	}
}

func TestNonFree(t *testing.T) {
	l := &deb.Lock{Packages: []deb.LockedPackage{
		{Name: "iw", Version: "1", Filename: "pool/main/i/iw/iw_1_arm64.deb"},
		{Name: "raspi-firmware", Version: "2", Filename: "pool/non-free-firmware/r/raspi-firmware/x.deb"},
	}}
	if got := nonFree(l); !slices.Equal(got, []string{"raspi-firmware=2"}) {
		t.Errorf("got %v", got)
	}
}
