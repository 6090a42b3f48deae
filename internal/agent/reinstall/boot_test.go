package reinstall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	diskplan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/volume"
	"github.com/victorinix/vic/internal/tool"
)

const mib = 1 << 20

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// atStage is a run on a disk that is a file: an old boot sector, the core image's
// place at 4 MiB, the stage at 5 MiB.
func atStage(t *testing.T, firmware string) *run {
	t.Helper()
	texts := map[string]string{stage.Payload: "payload", stage.Request: "{}", stage.CoreImage: strings.Repeat("core", 300), stage.UKIx64: "uki"}
	d := stage.Document{Version: stage.Version, ID: uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001"), Firmware: firmware,
		Disk: request.DiskSelector{Serial: "QM0001"}, Stage: stage.Place{Number: 2, GUID: uuid.New(), Offset: 5 * mib, Size: 40 * mib}}
	if firmware == "bios" {
		d.Core = &stage.Place{Number: 3, GUID: uuid.New(), Offset: 4 * mib, Size: mib}
		d.OldBootCode, d.BootCode = bytes.Repeat([]byte{'o'}, 440), bytes.Repeat([]byte{'s'}, 440)
	}
	for _, name := range []string{stage.Payload, stage.Request, stage.CoreImage, stage.UKIx64} {
		d.Files = append(d.Files, stage.File{Name: name, Size: int64(len(texts[name])), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(texts[name])))})
	}
	path := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(path, append(bytes.Repeat([]byte{'o'}, 440), bytes.Repeat([]byte{'t'}, 72)...), 0o600))
	must(t, os.Truncate(path, 50*mib))
	r := &run{Config: Config{Document: d, Sink: event.Discard}, disk: plan.Disk{Device: path, Serial: "QM0001", Size: 50 * mib, SectorSize: 512}}
	r.facts.HW.Disk = []envscan.Disk{{Name: strings.TrimPrefix(path, "/dev/"), SectorSize: 512}}
	r.disk.Device = path
	dev, err := journal.OpenStage(path, d.Stage)
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	must(t, volume.Write(t.Context(), dev, volume.Config{Document: d, Open: func(name string) (volume.Source, error) { return volume.Bytes([]byte(texts[name])), nil }}))
	r.dev = dev
	r.journal, err = journal.Open(dev, d.ID)
	must(t, err)
	return r
}

func sector(t *testing.T, r *run) string {
	t.Helper()
	b, err := os.ReadFile(r.disk.Device)
	must(t, err)
	return string(b[438:442])
}

// The boot code is changed by one write, which leaves the table in the same
// sector; others' code is refused.
func TestBootCode(t *testing.T) {
	r := atStage(t, "bios")
	b := &bios{}
	must(t, b.commit(t.Context(), r, prepared{}))
	if got := sector(t, r); got != "sstt" {
		t.Errorf("after the commit: %q", got)
	}
	must(t, b.commit(t.Context(), r, prepared{})) // once more, after a power cut
	code := bytes.Repeat([]byte{'n'}, 440)
	for range 2 {
		must(t, b.switchOver(t.Context(), r, prepared{}, code))
		if got := sector(t, r); got != "nntt" {
			t.Errorf("after the switch: %q", got)
		}
	}
	if err := b.commit(t.Context(), r, prepared{}); err == nil || !strings.Contains(err.Error(), "is not what it was") {
		t.Errorf("a commit over another's boot code: %v", err)
	}
	if err := b.switchOver(t.Context(), r, prepared{}, code[:10]); err == nil {
		t.Error("switched to a piece of boot code")
	}
}

// The core image of the new system is on the disk before the code that loads it is
// returned.
func TestComplete(t *testing.T) {
	r := atStage(t, "bios")
	boot := make([]byte, 512)
	boot[0x5c], boot[0x64], boot[0x66], boot[510], boot[511] = 1, 0xff, 0xeb, 0x55, 0xaa
	core := bytes.Repeat([]byte{'c'}, 3*512)
	copy(core[0x1f4:], []byte{2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x20, 0x08})
	p := prepared{plan: plan.Plan{Storage: plan.Storage{Disks: []diskplan.DiskPlan{{Disk: r.disk, After: &layout.Table{SectorSize: 512, Entries: []layout.Entry{
		{Number: 3, Type: layout.TypeBIOSBoot, Kept: true, FirstLBA: 8192, LastLBA: 10239},
		{Number: 1, Type: layout.TypeBIOSBoot, FirstLBA: 2048, LastLBA: 4095},
	}}}}}}}
	code, err := (&bios{boot: boot, core: core}).complete(t.Context(), r, p)
	must(t, err)
	if len(code) != 440 || code[0x5c] != 0 || code[0x5d] != 8 { // sector 2048
		t.Errorf("the code loads sector %x", code[0x5c:0x64])
	}
	disk, err := os.ReadFile(r.disk.Device)
	must(t, err)
	if !bytes.Equal(disk[mib+512:mib+3*512], core[512:]) || bytes.Contains(disk[4*mib:5*mib], []byte("cc")) {
		t.Error("the core image is not where it belongs")
	}
	if _, err := (&bios{boot: boot, core: core}).complete(t.Context(), r, prepared{}); err == nil {
		t.Error("completed without a BIOS boot partition")
	}
}

type ran struct{ cmd tool.Cmd }

func (r *ran) Run(_ context.Context, c tool.Cmd) (tool.Output, error) {
	r.cmd = c
	return tool.Output{}, nil
}

// grub-install leaves the boot sector alone, and no other program is changed.
func TestNoBootSector(t *testing.T) {
	var last ran
	run := (&bios{inner: &last}).tools(plan.Disk{Device: "/dev/vda"})
	for _, tt := range []struct {
		cmd  tool.Cmd
		want bool
	}{
		{tool.Cmd{Name: "grub-install", Args: []string{"--target=i386-pc", "/dev/vda"}}, true},
		{tool.Cmd{Name: "grub-install", Args: []string{"--target=i386-pc", "/dev/vdb"}}, false},
		{tool.Cmd{Name: "update-grub"}, false},
	} {
		if _, err := run.Run(t.Context(), tt.cmd); err != nil || slices.Contains(last.cmd.Args, "--no-bootsector") != tt.want {
			t.Errorf("%v became %v (%v)", tt.cmd, last.cmd, err)
		}
	}
}

// order is the boot order by label.
func order(t *testing.T, v efi.Variables) string {
	t.Helper()
	list, err := efi.ListBootEntries(v)
	must(t, err)
	var labels []string
	for _, b := range list {
		labels = append(labels, b.Description)
	}
	return strings.Join(labels, " ")
}

func firmware(t *testing.T) (v efi.MapVariables, old efi.Entry) {
	t.Helper()
	guid, err := efi.ParseGUID(uuid.NewString())
	must(t, err)
	v, old = efi.MapVariables{}, efi.Entry{Label: "old", Path: `\EFI\debian\grubx64.efi`, Partition: efi.HardDrive{Number: 1, Start: 2048, Size: 100, Partition: guid}}
	_, err = efi.AddBootEntry(v, old, true)
	must(t, err)
	return v, old
}

// At each instant the order begins with what boots: the system before, the
// installer, the new one.
func TestOrder(t *testing.T) {
	v, _ := firmware(t)
	r := atStage(t, "uefi")
	u := uefi{vars: v}
	step := func(want string, err error) {
		t.Helper()
		must(t, err)
		if got := order(t, v); got != want {
			t.Errorf("the order is %q, want %q", got, want)
		}
	}
	const ours = stage.EntryLabel
	step("old "+ours, u.prepare(t.Context(), r))
	for range 2 {
		step(ours+" old", u.commit(t.Context(), r, prepared{}))
	}
	p := prepared{entries: []plan.BootEntry{{Label: "new", Loader: `\EFI\systemd\systemd-bootx64.efi`, Partition: layout.Entry{Number: 1, GUID: uuid.New(), FirstLBA: 2048, LastLBA: 4095}}}}
	for range 2 {
		step("new "+ours+" old", u.switchOver(t.Context(), r, p, nil))
	}
	if err := u.switchOver(t.Context(), r, prepared{}, nil); err == nil {
		t.Error("switched to nothing")
	}
	r.Document.Stage.GUID = uuid.Nil
	if err := u.commit(t.Context(), r, prepared{}); err == nil {
		t.Error("committed to a stage that the firmware cannot find")
	}
}

// While a file system is shrunk the RAM system comes first, if it was started from
// an entry of its own, and not otherwise.
func TestHold(t *testing.T) {
	v, old := firmware(t)
	own := old
	own.Label, own.Path = "hop", `\EFI\vic\reinstall.efi`
	num, err := efi.AddBootEntry(v, own, false)
	must(t, err)
	current := efi.VariableName{Name: "BootCurrent", Vendor: efi.Global}
	must(t, v.Set(current, []byte{byte(num), 0}, 6))
	u := uefi{vars: v, loader: `\efi\VIC\reinstall.efi`}
	for range 2 {
		closed, err := u.hold()
		if got := order(t, v); err != nil || !closed || got != "hop old" {
			t.Errorf("held: %q, %v, %v", got, closed, err)
		}
	}
	for range 2 {
		if err := u.release(); err != nil || order(t, v) != "old hop" {
			t.Errorf("released: %q, %v", order(t, v), err)
		}
	}
	must(t, v.Set(current, []byte{byte(num) - 1, 0}, 6)) // of a boot loader
	if closed, err := u.hold(); err != nil || closed || u.release() != nil || order(t, v) != "old hop" {
		t.Errorf("from a boot loader: %q, %v, %v", order(t, v), closed, err)
	}
}
