// Package raspberry tests cards for Raspberry Pis: what is on them, and what becomes
// of them in QEMU's Raspberry Pi 3 B, which is given what its firmware would take out
// of the slot.
package raspberry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/initramfs/programs"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

func TestMain(m *testing.M) { lab.Main(m) }

const (
	item = "reverse-wifi-access-point"
	mib  = 1 << 20
	// cardSize is what QEMU's SD cards can have: a power of two.
	cardSize = 512 * mib
	// most is what an image may have, in bytes.
	most   = 150_000_000
	canary = "canary-Zw3nty5-in-the-air"
)

// need skips a test where the programs for a Pi, or QEMU's, are missing.
func need(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds an image")
	}
	tooltest.Need(t, "qemu-system-aarch64", "sfdisk", "fsck.vfat", "mcopy", "mdir", "e2fsck", "debugfs")
	if _, err := programs.Init("arm64"); err != nil {
		t.Fatalf("%v (go run ./initramfs/programs/generate)", err)
	}
}

// A card's image is small, sound and free of secrets, and names what is not free.
func TestImage(t *testing.T) {
	need(t)
	dir := t.TempDir()
	run := lab.MustVic(t, "build", item, "--format", "disk", "-o", "country=DE", "--out", dir)
	if !strings.Contains(run.Stderr, "firmware that is not free") || !strings.Contains(run.Stderr, "raspi-firmware=") || !strings.Contains(run.Stderr, "firmware-brcm80211=") {
		t.Errorf("the build does not name firmware that is not free:\n%s", run.Stderr)
	}
	card, err := raspberry.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, raspberry.ImageFile)
	st, err := os.Stat(image)
	if err != nil || st.Size() > most {
		t.Errorf("the image has %d bytes, at most %d are allowed: %v", st.Size(), most, err)
	}
	if size := lab.VicWith(t.Context(), t, nil, "size", dir); size.Exit != 0 || !strings.Contains(size.Stdout, "package:raspi-firmware=") {
		t.Errorf("vic size: exit code %d\n%s%s", size.Exit, size.Stdout, size.Stderr)
	} else {
		t.Log(size.Stdout)
	}
	if out := lab.Say(t, "sfdisk", "--verify", image); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk --verify: %s", out)
	}
	slot, state := filepath.Join(dir, "slot"), filepath.Join(dir, "state")
	lab.Slice(t, image, slot, card.Slot.Offset, card.Slot.Size)
	lab.Slice(t, image, state, card.StateArea.Offset, card.StateArea.Size)
	lab.Say(t, "fsck.vfat", "-n", slot)
	lab.Say(t, "e2fsck", "-fn", state)
	names := lab.Say(t, "mdir", "-b", "-i", slot, "::/")
	for _, board := range raspberry.Boards() {
		for _, f := range append(board.Firmware[:len(board.Firmware):len(board.Firmware)], board.DeviceTree, "config.txt", "cmdline.txt", "kernel8.img", "initramfs.img", "system.erofs") {
			if !strings.Contains(names, "/"+f+"\n") {
				t.Errorf("%s: the slot has no %s", board.Name, f)
			}
		}
	}
}

// What a card is flashed with is in its state, for root alone, and nowhere else.
func TestSecrets(t *testing.T) {
	need(t)
	card := flashed(t)
	words := []byte(canary)
	slot, state := filepath.Join(t.TempDir(), "slot"), filepath.Join(t.TempDir(), "state")
	lab.Slice(t, card, slot, 0, stateOffset)
	lab.Slice(t, card, state, stateOffset, raspberry.StateSize)
	if lab.Contains(t, slot, words) {
		t.Error("the password is outside of the state")
	}
	if !lab.Contains(t, state, words) {
		t.Error("the password is not in the state")
	}
	stat := lab.Say(t, "debugfs", "-R", "stat /"+raspberry.SecretsFile, state)
	if !strings.Contains(stat, "Mode:  0600") || !strings.Contains(stat, "User:     0   Group:     0") {
		t.Errorf("who can read the secrets:\n%s", stat)
	}
	lab.Say(t, "e2fsck", "-fn", state)
}

// slotSize is that of each slot; stateOffset is where the state begins, after 4 MiB and
// slot A.
const (
	slotSize    = 112 * mib
	stateOffset = 4*mib + slotSize
)

// flashed is a card that vic flash has written, of the size of a small one.
func flashed(t *testing.T, args ...string) string {
	t.Helper()
	card := filepath.Join(t.TempDir(), "card.img")
	lab.MustVic(t, append([]string{"flash", item, card, "--yes", "-s", "wifi-ssid=my-wifi,wifi-psk=" + canary, "-o", "country=DE"}, args...)...)
	if err := os.Truncate(card, cardSize); err != nil {
		t.Fatal(err)
	}
	return card
}

var hostKey = regexp.MustCompile(`the host key is (SHA256:[A-Za-z0-9+/]{43})`)

// The card boots, fills itself, runs its services on the network card that USB has,
// and keeps what they keep when the power goes, twice.
func TestBoot(t *testing.T) {
	if os.Getenv("VIC_TEST_MATRIX") != "1" {
		t.Skip("starts an emulated Raspberry Pi three times: VIC_TEST_MATRIX=1")
	}
	need(t)
	card := flashed(t, "-o", "sshkey="+lab.AuthorizedKey(t))
	before := digestOfSlot(t, card)
	const cuts = 2
	first := ""
	for boot := range cuts + 1 {
		key := life(t, card, boot)
		if first == "" {
			first = key
		}
		if key != first {
			t.Errorf("boot %d: the host key is %s, that of the first was %s", boot, key, first)
		}
	}
	if digestOfSlot(t, card) != before {
		t.Error("the slot was written to")
	}
	table := lab.Say(t, "sfdisk", "--dump", card)
	for _, want := range []string{"start=      819200, size=      229376, type=c", "start=      237568, size=      581632, type=83"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table has no %q:\n%s", want, table)
		}
	}
}

// life is from power on until the power goes. It returns the host key of the SSH
// server, which needs the state, the graph, and the address of the Ethernet side.
func life(t *testing.T, card string, boot int) string {
	t.Helper()
	m := start(t, card, boot)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	// 512 MiB without slots A and B, and what is before A.
	lab.Shows(ctx, t, m, "284.0 MiB, mounted on /run/vic/state")
	lab.Shows(ctx, t, m, "the host key is SHA256:")
	var key []string
	for key == nil && ctx.Err() == nil { // the rest of the line
		key = hostKey.FindStringSubmatch(m.Console())
	}
	// The journal is written at least every five seconds of the machine's.
	select {
	case <-time.After(20 * time.Second):
	case <-m.Done():
		t.Fatalf("boot %d: it ended by itself", boot)
	}
	m.Kill()
	<-m.Done()
	if key == nil {
		t.Fatalf("boot %d: no host key", boot)
	}
	return key[1]
}

// start starts a card as the firmware of a Pi 3 would that was never updated.
func start(t *testing.T, card string, boot int) *vm.Machine {
	t.Helper()
	return startSlot(t, card, 4*mib, fmt.Sprintf("pi-%d", boot), vm.NIC{Restrict: true})
}

// startSlot starts the slot at an offset of a card, in bytes.
func startSlot(t *testing.T, card string, offset int64, name string, nic vm.NIC) *vm.Machine {
	t.Helper()
	dir := t.TempDir()
	for _, f := range []string{"kernel8.img", "initramfs.img", "cmdline.txt", "bcm2837-rpi-3-b.dtb"} {
		lab.Say(t, "mcopy", "-n", "-i", fmt.Sprintf("%s@@%d", card, offset), "::/"+f, filepath.Join(dir, f))
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline.txt"))
	if err != nil {
		t.Fatal(err)
	}
	nic.Model = "usb-net"
	return vm.Start(t, vm.Config{
		Name: name, Dir: filepath.Join(dir, "run"), Arch: "arm64", Firmware: "none", Board: vm.RaspberryPi,
		Kernel: filepath.Join(dir, "kernel8.img"), Initrd: []string{filepath.Join(dir, "initramfs.img")},
		DeviceTree: filepath.Join(dir, "bcm2837-rpi-3-b.dtb"), Cmdline: strings.TrimSpace(string(cmdline)),
		Disks:    []vm.Disk{{Path: card, Format: "raw", Bus: "mmc"}},
		NICs:     []vm.NIC{nic},
		NoReboot: true,
	})
}

// digestOfSlot reads slot A.
func digestOfSlot(t *testing.T, card string) string {
	t.Helper()
	slot := filepath.Join(t.TempDir(), "slot")
	lab.Slice(t, card, slot, 4*mib, stateOffset-4*mib)
	return lab.Digest(t, slot)
}

// Same input, same bytes.
func TestReproducible(t *testing.T) {
	if os.Getenv("VIC_TEST_MATRIX") != "1" {
		t.Skip("builds the image twice: VIC_TEST_MATRIX=1")
	}
	need(t)
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		lab.MustVic(t, "build", item, "--format", "disk", "--out", dir)
	}
	for _, name := range []string{raspberry.ImageFile, "card.json", "lock.json"} {
		a, errA := os.Open(filepath.Join(one, name))
		b, errB := os.Open(filepath.Join(two, name))
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if !equal(t, a, b) {
			t.Errorf("%s differs", name)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
}

func equal(t *testing.T, a, b io.Reader) bool {
	t.Helper()
	x, y := make([]byte, mib), make([]byte, mib)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			return errors.Is(errA, errB)
		}
	}
}
