package reinstall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/disk/resize"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/volume"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

const (
	hopFolder = "/var/lib/vic/hop"
	hopDisk   = 480 * mib
	letters   = 100
)

// loops is this machine with a loop device as its only disk.
type loops struct {
	storage.Host
	disk plan.Disk
}

func (l loops) Disks() ([]plan.Disk, error) { return []plan.Disk{l.disk}, nil }

// hopping is a machine whose only file system takes the whole disk, and has the
// stage's files.
type hopping struct {
	config Config
	said   *strings.Builder
	device string
	files  map[string][]byte
}

func newHop(t *testing.T) *hopping { return newHopOn(t, layout.KindGPT) }

// newHopOn has a table of a kind.
func newHopOn(t *testing.T, kind string) *hopping {
	t.Helper()
	if testing.Short() {
		t.Skip("shrinks file systems")
	}
	tooltest.Need(t, "mke2fs", "resize2fs", "e2fsck", "debugfs", "dumpe2fs")
	dev := tooltest.Loop(t, hopDisk)
	d, err := storage.HostDisk(filepath.Base(dev))
	must(t, err)
	machine := loops{storage.Host{Tools: tool.Exec{}, Programs: tool.Exec{}}, d}
	first := uuid.New()
	table := layout.Table{Kind: layout.KindGPT, GUID: uuid.New(), Size: hopDisk, SectorSize: 512, Entries: []layout.Entry{
		{Number: 1, Type: layout.TypeESP, GUID: first, Label: "old", FirstLBA: 2048, LastLBA: 479*2048 - 1}}}
	if kind == layout.KindMBR {
		table.Kind, table.Entries[0] = kind, layout.Entry{Number: 1, FirstLBA: 2048, LastLBA: 479*2048 - 1, MBR: &layout.MBREntry{Type: 0x83, Part: "primary", Bootable: true}}
		tooltest.Run(t, "dd", "if=/dev/urandom", "of="+dev, "bs=440", "count=1", "conv=notrunc", "status=none") // boot code
	}
	must(t, machine.WriteTable(t.Context(), dev, table, true))
	h := &hopping{device: dev, said: new(strings.Builder), files: map[string][]byte{
		stage.Payload: bytes.Repeat([]byte("payload "), 2<<20/8), stage.Request: []byte("{}"), stage.Secrets: []byte(`{"password":"canary"}`), stage.UKIx64: []byte("uki")}}
	id := uuid.New()
	st := stage.Place{Number: 2, GUID: uuid.New(), Offset: 400 * mib, Size: 60 * mib}
	doc := stage.Document{Version: stage.Version, ID: id, Firmware: "uefi", Disk: plan.Selector(d), Stage: st, Hop: &stage.Hop{
		Filesystem: uuid.NewString(), Format: "ext4", Folder: hopFolder, Layout: hopLayout(plan.Selector(d), first, st)}}
	if kind == layout.KindMBR {
		doc.Stage.GUID, doc.Hop.Layout = uuid.Nil, layout.Layout{}
		after := table
		after.Entries = []layout.Entry{table.Entries[0], {Number: 2, FirstLBA: uint64(st.Offset) / 512, LastLBA: uint64(st.Offset+st.Size)/512 - 1, MBR: &layout.MBREntry{Type: 0x0c, Part: "primary"}}}
		after.Entries[0].LastLBA = 301*2048 - 1
		doc.Hop.Table = &after
	}
	for _, name := range []string{stage.Payload, stage.Request, stage.Secrets, stage.UKIx64} {
		doc.Files = append(doc.Files, stage.File{Name: name, Size: int64(len(h.files[name])), SHA256: fmt.Sprintf("%x", sha256.Sum256(h.files[name]))})
	}
	h.fill(t, doc)
	doc.Files = doc.Files[:3] // the UKI holds this one
	sink := event.SinkFunc(func(e event.Event) { fmt.Fprintln(h.said, e.Step, e.Message) })
	h.config = Config{Document: doc, Sink: sink, Tools: tool.Exec{}, Disks: machine, Dir: filepath.Join(t.TempDir(), "stage"),
		Facts: func(context.Context) (envscan.Facts, error) { return h.facts(t), nil }}
	return h
}

// hopLayout keeps the old partition, smaller, and makes the stage.
func hopLayout(sel request.DiskSelector, old uuid.UUID, st stage.Place) layout.Layout {
	return layout.Layout{Disk: map[string]layout.Disk{"main": {Type: "disk", Device: sel.Device, Content: &layout.Content{Spec: &layout.GPT{Partitions: map[string]layout.Partition{
		"old":       {Keep: true, UUID: old.String(), Resize: "300M"},
		stage.Label: {Type: "EF00", Label: stage.Label, UUID: st.GUID.String(), Start: fmt.Sprintf("%ds", st.Offset/512), End: fmt.Sprintf("%ds", (st.Offset+st.Size)/512-1)},
	}}}}}}
}

// fill makes the file system, with the files in it.
func (h *hopping) fill(t *testing.T, doc stage.Document) {
	t.Helper()
	tree := t.TempDir()
	var self bytes.Buffer
	must(t, doc.Encode(&self))
	files := map[string][]byte{stage.InVolume(stage.Self): self.Bytes()}
	for name, text := range h.files {
		files[stage.InVolume(name)] = text
	}
	for name, text := range files {
		path := filepath.Join(tree, hopFolder, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, text, 0o600))
	}
	var remove strings.Builder
	for i := range letters { // what is there to be moved, since what lay before it was removed
		for _, kind := range []string{"gone", "letter"} {
			must(t, os.MkdirAll(filepath.Join(tree, kind), 0o755))
			must(t, os.WriteFile(filepath.Join(tree, kind, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, 1400<<10), 0o600))
		}
		fmt.Fprintf(&remove, "rm gone/%d\n", i)
	}
	old, script := disk.PartitionPath(h.device, 1), filepath.Join(t.TempDir(), "script")
	tooltest.Run(t, "mke2fs", "-q", "-t", "ext4", "-U", doc.Hop.Filesystem, "-d", tree, old)
	must(t, os.WriteFile(script, []byte(remove.String()), 0o600))
	tooltest.Run(t, "debugfs", "-w", "-f", script, old)
}

// facts are the disk as a scan sees it.
func (h *hopping) facts(t *testing.T) (f envscan.Facts) {
	t.Helper()
	d := h.config.Disks.(loops).disk
	fact := envscan.Disk{Name: filepath.Base(h.device), Path: d.Path, Size: d.Size, SectorSize: d.SectorSize}
	found, err := h.config.Disks.Table(h.device)
	must(t, err)
	fact.Table = &found.Table
	for _, e := range found.Entries {
		dev, err := disk.Open(disk.PartitionPath(h.device, e.Number), os.O_RDONLY)
		must(t, err)
		list, err := probe.Probe(dev, dev.Size())
		must(t, errors.Join(err, dev.Close()))
		fact.Partition = append(fact.Partition, envscan.Partition{Number: e.Number, Content: list})
	}
	f.HW.Disk = []envscan.Disk{fact}
	return f
}

// hop runs the hop as at a boot.
func (h *hopping) hop(t *testing.T, vars *fakeBoot) error {
	t.Helper()
	r := &run{Config: h.config, boot: vars}
	must(t, r.scan(t.Context()))
	err := r.openStage()
	if err != nil {
		err = r.hop(t.Context())
		if vars.hopped = r.hopped; err != nil {
			return err
		}
		must(t, r.openStage())
	}
	t.Cleanup(func() { r.dev.Close() })
	return r.forgetHopSecrets(t.Context())
}

// fakeBoot counts how often the RAM system was made the default.
type fakeBoot struct {
	booter
	held   int
	hopped bool
}

func (f *fakeBoot) hold() (bool, error) { f.held++; return true, nil }
func (f *fakeBoot) release() error      { f.held = 0; return nil }

// whole checks the stage, and that the system before has all it had.
func (h *hopping) whole(t *testing.T) {
	t.Helper()
	doc := h.config.Document
	dev, err := journal.OpenStage(h.device, doc.Stage)
	must(t, err)
	defer dev.Close()
	must(t, volume.Verify(t.Context(), dev, doc, nil))
	j, err := journal.Open(dev, doc.ID)
	if err != nil || !j.History().Has(journal.Staged) {
		t.Errorf("the journal: %v", err)
	}
	old := disk.PartitionPath(h.device, 1)
	tooltest.Run(t, "e2fsck", "-fn", old)
	h.letters(t, old)
	if got := tooltest.Run(t, "debugfs", "-R", "cat "+hopFolder+"/vic/"+stage.Secrets, old); strings.Contains(got, "canary") {
		t.Error("the secrets are still in the file system of the system before")
	}
}

func (h *hopping) letters(t *testing.T, old string) {
	t.Helper()
	dir := t.TempDir()
	tooltest.Run(t, "debugfs", "-R", "rdump / "+dir, old)
	for i := range letters {
		if b, err := os.ReadFile(filepath.Join(dir, "letter", fmt.Sprint(i))); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, 1400<<10)) {
			t.Fatalf("letter%d: %d bytes that differ (%v)", i, len(b), err)
		}
	}
}

func TestHop(t *testing.T) {
	h := newHop(t)
	vars := &fakeBoot{}
	must(t, h.hop(t, vars))
	h.whole(t)
	if vars.held != 0 || vars.hopped {
		t.Errorf("afterwards: %+v", vars)
	}
}

// On a disk with an MBR one sector changes, and not its boot code.
func TestHopInMBR(t *testing.T) {
	h := newHopOn(t, layout.KindMBR)
	code := bootCode(t, h.device)
	vars := &fakeBoot{}
	must(t, h.hop(t, vars))
	h.whole(t)
	if vars.held != 0 || vars.hopped {
		t.Errorf("afterwards: %+v", vars)
	}
	got, err := h.config.Disks.Table(h.device)
	must(t, err)
	if len(got.Entries) != 2 || got.Entries[0].LastLBA != 301*2048-1 || got.Entries[0].MBR == nil || !got.Entries[0].MBR.Bootable {
		t.Errorf("the table is %+v", got.Entries)
	}
	if !bytes.Equal(code, bootCode(t, h.device)) {
		t.Error("the boot code has changed")
	}
}

// Cut off while it shrinks, it goes on with the same table.
func TestHopInMBRCut(t *testing.T) {
	h := newHopOn(t, layout.KindMBR)
	vars := &fakeBoot{}
	machine := h.config.Disks.(loops)
	dying := machine
	cut := &dies{disk.PartitionPath(h.device, 1)}
	dying.Tools = cut
	h.config.Disks = dying
	err := h.hop(t, vars)
	if !cut.unfinished(t, h.device) || err == nil || !vars.hopped {
		t.Errorf("after the cut: %v; %+v", err, vars)
	}
	h.config.Disks = machine
	must(t, h.hop(t, vars))
	h.whole(t)
}

// A table that is not the one that was planned for is left alone.
func TestHopInMBRRefused(t *testing.T) {
	h := newHopOn(t, layout.KindMBR)
	planned := *h.config.Document.Hop.Table
	for want, spoil := range map[string]func(*layout.Table){
		"its partition table is another one":           func(after *layout.Table) { after.GUID[0]++ },
		"partition 1 would be lost":                    func(after *layout.Table) { after.Entries = after.Entries[1:] },
		"partition 1 is not what it was":               func(after *layout.Table) { after.Entries[0].FirstLBA += 2048 },
		"partition 2 is neither there nor the stage's": func(after *layout.Table) { after.Entries[1].FirstLBA += 2048 },
	} {
		after := planned
		after.Entries = slices.Clone(planned.Entries)
		spoil(&after)
		h.config.Document.Hop.Table = &after
		if err := h.hop(t, &fakeBoot{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
		now, err := h.config.Disks.Table(h.device)
		if err != nil || len(now.Entries) != 1 || now.Entries[0].LastLBA != 479*2048-1 {
			t.Errorf("%s: the table is %+v (%v)", want, now, err)
		}
	}
}

func bootCode(t *testing.T, device string) []byte {
	t.Helper()
	f, err := os.Open(device)
	must(t, err)
	defer f.Close()
	code := make([]byte, 440)
	_, err = f.ReadAt(code, 0)
	must(t, err)
	return code
}

// Cut off in the middle of the shrinking, the RAM system stays what boots, and
// goes on at the next boot.
func TestHopCut(t *testing.T) {
	h := newHop(t)
	vars := &fakeBoot{}
	machine := h.config.Disks.(loops)
	dying := machine
	cut := &dies{disk.PartitionPath(h.device, 1)}
	dying.Tools = cut
	h.config.Disks = dying
	err := h.hop(t, vars)
	if !cut.unfinished(t, h.device) || err == nil || !vars.hopped || vars.held != 1 {
		t.Errorf("after the cut: %v; %+v", err, vars)
	}
	h.config.Disks = machine
	must(t, h.hop(t, vars))
	h.whole(t)
	if vars.held != 0 || vars.hopped {
		t.Errorf("afterwards: %+v", vars)
	}
}

// dies kills resize2fs while it works: from its first change of the file system to
// its last that has a mark.
type dies struct{ device string }

func (d *dies) Run(ctx context.Context, c tool.Cmd) (tool.Output, error) {
	if c.Name != "resize2fs" || slices.Contains(c.Args, "-P") {
		return tool.Exec{}.Run(ctx, c)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for ctx.Err() == nil {
			if cut, err := resize.Interrupted(d.device); err == nil && cut {
				cancel(errors.New("the power is cut"))
			}
			time.Sleep(time.Millisecond)
		}
	}()
	return tool.Exec{}.Run(ctx, c)
}

func (*dies) unfinished(t *testing.T, device string) bool {
	return strings.Contains(tooltest.Run(t, "dumpe2fs", "-h", disk.PartitionPath(device, 1)), "with errors")
}

// A file that is not what it was ends the attempt before anything is changed, and
// the system before finds the reason.
func TestHopRefused(t *testing.T) {
	h := newHop(t)
	h.config.Document.Files[0].SHA256 = strings.Repeat("0", 64)
	table, err := h.config.Disks.Table(h.device)
	must(t, err)
	err = Run(t.Context(), h.refusing(t))
	var unchanged *Unchanged
	if !errors.As(err, &unchanged) || !strings.Contains(err.Error(), stage.Payload) {
		t.Errorf("got %v", err)
	}
	after, err := h.config.Disks.Table(h.device)
	if err != nil || len(after.Entries) != len(table.Entries) || after.Entries[0] != table.Entries[0] {
		t.Errorf("the table is %+v (%v)", after, err)
	}
	var ended stage.Ended
	text := tooltest.Run(t, "debugfs", "-R", "cat "+hopFolder+"/"+stage.Outcome, disk.PartitionPath(h.device, 1))
	if err := json.Unmarshal([]byte(text), &ended); err != nil || ended.ID != h.config.Document.ID || !strings.Contains(ended.Error, stage.Payload) {
		t.Errorf("%s says %q (%v)", stage.Outcome, text, err)
	}
}

// refusing is a configuration with firmware, for all of a run.
func (h *hopping) refusing(t *testing.T) Config {
	t.Helper()
	v, _ := firmware(t)
	h.config.Variables = v
	return h.config
}
