package reinstall

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	diskplan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/journal"
)

// onMBR is a run whose disk has an MBR with the stage.
func onMBR(last int64) *run {
	r := &run{Config: Config{Document: stage.Document{ID: uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001"),
		Stage: stage.Place{Number: 3, Offset: 600 * mib, Size: last - 600*mib}, Core: &stage.Place{Number: 5, Offset: 599 * mib, Size: mib}}},
		disk: plan.Disk{Device: "/dev/sda", Size: 1 << 30, SectorSize: 512}}
	e := func(n int, from, to int64) layout.Entry {
		return layout.Entry{Number: n, FirstLBA: uint64(from / 512), LastLBA: uint64(to/512) - 1, MBR: &layout.MBREntry{Type: 0x83}}
	}
	r.facts.HW.Disk = []envscan.Disk{{Name: "sda", SectorSize: 512}}
	r.facts.HW.Disk[0].Table = &layout.Table{Kind: layout.KindMBR, Size: 1 << 30, SectorSize: 512,
		Entries: []layout.Entry{e(1, mib, 599*mib), e(3, 600*mib, last), e(5, 599*mib, 600*mib)}}
	return r
}

var gptLayout = layout.Disk{Content: &layout.Content{Spec: &layout.GPT{}}}

// An MBR becomes a GPT that has the stage's partitions where they are, by their
// numbers, and nothing else.
func TestConverted(t *testing.T) {
	r := onMBR(1000 * mib)
	facts, later, err := r.asConverted(gptLayout)
	must(t, err)
	if later == nil || later.Kind != layout.KindGPT || facts.HW.Disk[0].Table != later || r.facts.HW.Disk[0].Table == later {
		t.Fatalf("got %+v", later)
	}
	for i, want := range []struct {
		number int
		first  uint64
		id     uuid.UUID
	}{{3, 600 * 2048, r.keptIDs()[0]}, {5, 599 * 2048, r.keptIDs()[1]}} {
		if e := later.Entries[i]; e.Number != want.number || e.FirstLBA != want.first || e.GUID != want.id || e.Type == layout.TypeBIOSBoot {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
	must(t, r.placed(r.Document.Stage, stage.Label))
	r.facts = facts // once it is one, it is found by the same GUIDs
	must(t, r.placed(r.Document.Stage, stage.Label))
	if _, again, err := r.asConverted(gptLayout); err != nil || again != nil {
		t.Errorf("converted a GPT: %+v, %v", again, err)
	}
	if _, _, err := onMBR(1 << 30).asConverted(gptLayout); err == nil || !strings.Contains(err.Error(), "where a GPT goes") {
		t.Errorf("a stage up to the last sector: %v", err)
	}
	r.Document.Stage.Offset += mib
	if err := r.placed(r.Document.Stage, stage.Label); err == nil {
		t.Error("found a stage where there is none")
	}
}

// inExtent is a run whose stage is in a file, on a disk with a GPT.
func inExtent() *run {
	r := onMBR(1000 * mib)
	now := r.facts.HW.Disk[0].Table
	now.Kind, now.GUID = layout.KindGPT, uuid.UUID{9}
	e := func(n int, label string, from, to int64) layout.Entry {
		return layout.Entry{Number: n, Label: label, Type: layout.TypeESP, GUID: uuid.UUID{byte(n)}, FirstLBA: uint64(from / 512), LastLBA: uint64(to/512) - 1}
	}
	now.Entries = []layout.Entry{e(1, "esp", mib, 100*mib), e(2, "root", 100*mib, 1020*mib)}
	after := *now
	after.Entries = []layout.Entry{now.Entries[0], e(3, stage.Label, 600*mib, 1000*mib), e(5, stage.BootLabel, 599*mib, 600*mib)}
	r.Document.Stage.GUID, r.Document.Core.GUID = uuid.UUID{3}, uuid.UUID{5}
	before := *now
	before.Entries = slices.Clone(now.Entries)
	r.Document.Extent = &stage.Extent{Before: before, After: after}
	r.facts.HW.Disk[0].Partition = []envscan.Partition{{Number: 1, Offset: mib}, {Number: 2, Offset: 100 * mib}}
	return r
}

// A stage in a file is at its place before the table says so, as long as the table is
// the one that was there; after the commit it is a partition.
func TestExtent(t *testing.T) {
	r := inExtent()
	must(t, errors.Join(r.placed(r.Document.Stage, stage.Label), r.placed(*r.Document.Core, stage.BootLabel)))
	facts, later, err := r.asConverted(gptLayout)
	must(t, err)
	if later != &r.Document.Extent.After || facts.HW.Disk[0].Table != later || len(facts.HW.Disk[0].Partition) != 1 {
		t.Errorf("the plan is for %+v", facts.HW.Disk[0])
	}
	other := inExtent()
	other.facts.HW.Disk[0].Table.Entries[1].LastLBA--
	if err := other.placed(r.Document.Stage, stage.Label); err == nil {
		t.Error("found in a table that has changed")
	}
	r.facts = facts
	must(t, errors.Join(r.placed(r.Document.Stage, stage.Label), r.placed(*r.Document.Core, stage.BootLabel)))
	if _, again, err := r.asConverted(gptLayout); err != nil || again != nil {
		t.Errorf("committed twice: %+v, %v", again, err)
	}
}

// tables is a machine on which tables are written.
type tables struct {
	storage.Machine
	written []string
	order   func() string
}

func (m *tables) WriteTable(_ context.Context, device string, t layout.Table, _ bool) error {
	m.written = append(m.written, device+" after "+m.order())
	return nil
}

// By UEFI the stage's entry is the first one before the table has its partition: the
// table is the last write of the commit, and is written once.
func TestExtentOrder(t *testing.T) {
	v, _ := firmware(t)
	r := atStage(t, "uefi")
	u := uefi{vars: v}
	must(t, u.prepare(t.Context(), r))
	r.Document.Extent = &stage.Extent{}
	m := &tables{order: func() string { return order(t, v) }}
	p := prepared{disks: &future{Machine: m, device: "/dev/sda", table: &layout.Table{}}}
	for range 2 {
		must(t, u.commit(t.Context(), r, p))
	}
	if want := []string{"/dev/sda after " + stage.EntryLabel + " old"}; !slices.Equal(m.written, want) {
		t.Errorf("wrote %q, want %q", m.written, want)
	}
}

// The layout keeps the stage beside what it has.
func TestKeepStage(t *testing.T) {
	r := onMBR(1000 * mib)
	gpt := &layout.GPT{Partitions: map[string]layout.Partition{"root": {Size: "100%"}}}
	l := layout.Layout{Disk: map[string]layout.Disk{"main": {Content: &layout.Content{Spec: gpt}}}}
	must(t, r.keepStage(l, "main"))
	if p := gpt.Partitions[stage.Label]; !p.Keep || p.UUID != r.keptIDs()[0].String() || len(gpt.Partitions) != 3 {
		t.Errorf("got %+v", gpt.Partitions)
	}
	if err := r.keepStage(l, "main"); err == nil {
		t.Error("took a partition of the layout for its own")
	}
	for _, content := range []*layout.Content{nil, {Spec: &layout.Filesystem{}}, {Spec: &layout.MBR{}}} {
		l := layout.Layout{Disk: map[string]layout.Disk{"main": {Content: content}}}
		if err := r.keepStage(l, "main"); err == nil {
			t.Errorf("a place beside the stage on %+v", content)
		}
	}
}

func steps() []plan.Step {
	return []plan.Step{
		{Phase: event.Verify, Name: "memory", Action: plan.CheckMemory{}},
		{Phase: event.Verify, Name: "disk", Action: diskplan.CheckState{}},
		{Phase: event.Verify, Name: "payload", Action: plan.CheckPayload{}},
		{Phase: event.Partition, Name: "wipe", Action: diskplan.Wipe{}},
		{Phase: event.Format, Name: "open", Action: diskplan.LUKSOpen{}},
		{Phase: event.Format, Name: "mkfs", Action: diskplan.Mkfs{}},
		{Phase: event.Copy, Name: "mount", Action: diskplan.Mount{}},
		{Phase: event.Copy, Name: "copy", Action: plan.CopyPayload{}},
		{Phase: event.Inject, Name: "files", Action: plan.WriteFile{}},
		{Phase: event.Boot, Name: "check", Action: plan.CheckBoot{BIOS: true}},
		{Phase: event.Boot, Name: "entry", Action: plan.BootEntry{}},
		{Phase: event.Finish, Name: "unmount", Action: plan.UnmountAll{}},
	}
}

func names(p plan.Plan) string {
	var list []string
	for _, s := range p.Steps {
		list = append(list, s.Name)
	}
	return strings.Join(list, " ")
}

// What makes the new system the default is not among the steps; what the journal
// proves done is left out after a power cut, and only then.
func TestArrange(t *testing.T) {
	r := atStage(t, "bios")
	p := plan.Plan{Steps: steps()}
	got, err := r.arrange(p, nil)
	must(t, err)
	if names(got.plan) != "memory disk wipe open mkfs mount copy files check unmount" || len(got.entries) != 1 || got.resumed {
		t.Errorf("the steps are %s; %+v", names(got.plan), got)
	}
	for _, s := range got.plan.Steps {
		if a, ok := s.Action.(plan.CheckBoot); ok && a.BIOS {
			t.Error("the boot sector is checked before it is written")
		}
	}
	if c := p.Steps[9].Action.(plan.CheckBoot); !c.BIOS {
		t.Error("the plan itself was changed")
	}
	note := func(rec journal.Record) {
		t.Helper()
		must(t, r.note(rec))
	}
	note(journal.Record{State: journal.Committed})
	note(journal.Record{State: journal.PhaseDone, Phase: event.Copy, Plan: got.hash})
	again, err := r.arrange(p, nil)
	must(t, err)
	if again.resumed || names(again.plan) != names(got.plan) { // useradd, say, may have been cut off since
		t.Errorf("after the copy: %s; %+v", names(again.plan), again)
	}
	note(journal.Record{State: journal.PhaseDone, Phase: event.Inject, Plan: got.hash})
	again, err = r.arrange(p, nil)
	must(t, err)
	if names(again.plan) != "memory open mount check unmount" || !again.resumed || !slices.Contains(again.found, "inject") || again.hash != got.hash {
		t.Errorf("after inject: %s; %+v", names(again.plan), again)
	}
	note(journal.Record{State: journal.PhaseDone, Phase: event.Verify, Plan: got.hash})
	if again, err = r.arrange(p, nil); err != nil || again.resumed {
		t.Errorf("a run that began anew resumes what the one before had: %+v, %v", again, err)
	}
}

// An attempt that failed before the commit says why in its journal, and that the
// system before is as it was; not after it.
func TestFailed(t *testing.T) {
	r := atStage(t, "uefi")
	why := errors.New("the payload is damaged")
	if err := r.failed(t.Context(), why); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if last, ok := r.journal.History().Last(journal.Failed); !ok || last.Message != why.Error() {
		t.Errorf("the journal says %+v", last)
	}
}
