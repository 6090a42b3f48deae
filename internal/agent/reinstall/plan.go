package reinstall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	diskplan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/volume"
)

// prepared is a plan that is ready to be executed.
type prepared struct {
	plan  plan.Plan
	disks *future
	// entries are the firmware's boot entries of the new system, which come after
	// everything else.
	entries []plan.BootEntry
	hash    string
	// resumed: partitions and contents are there, and stay. found is what was
	// found done, for people.
	resumed bool
	found   []string
}

// plan makes the plan of the request on the stage, around the stage.
func (r *run) plan() (prepared, error) {
	req, err := r.request()
	if err != nil {
		return prepared{}, err
	}
	r.Sink = r.Hide(r.secrets, r.Sink)
	name, err := r.layoutDisk(req)
	if err != nil {
		return prepared{}, err
	}
	facts, later, err := r.asConverted(req.Layout.Disk[name])
	if err != nil {
		return prepared{}, err
	}
	if err := r.keepStage(req.Layout, name); err != nil {
		return prepared{}, err
	}
	p, err := plan.New(req, facts, r.secrets.Names())
	if err != nil {
		return prepared{}, err
	}
	p.Warn(r.Sink, event.Scan)
	return r.arrange(p, &future{Machine: r.Disks, device: r.disk.Device, table: later})
}

// request reads the request and the secrets from the stage.
func (r *run) request() (request.Request, error) {
	v, err := volume.Open(r.dev)
	if err != nil {
		return request.Request{}, err
	}
	doc, err := v.ReadFile(stage.InVolume(stage.Request))
	if err != nil {
		return request.Request{}, err
	}
	req, err := request.Decode(bytes.NewReader(doc))
	if err != nil {
		return req, err
	}
	if payload, _ := r.Document.File(stage.Payload); payload.SHA256 != req.Payload.SHA256 || payload.Size != req.Payload.Size {
		return req, fmt.Errorf("the request is about another payload than the stage's: %.12s, not %.12s", req.Payload.SHA256, payload.SHA256)
	}
	req.Payload.Source = request.Source{Path: filepath.Join(r.Dir, stage.InVolume(stage.Payload))}
	req.Finish, req.Phases = request.FinishReboot, nil
	if _, ok := r.Document.File(stage.Secrets); !ok {
		return req, nil
	}
	text, err := v.ReadFile(stage.InVolume(stage.Secrets))
	if err != nil {
		return req, err
	}
	defer clear(text)
	r.secrets, err = secret.Decode(bytes.NewReader(text))
	return req, err
}

// layoutDisk is what the layout calls the disk with the stage.
func (r *run) layoutDisk(req request.Request) (string, error) {
	disks, err := plan.SelectDisks(req.Layout, req.Disks, r.facts)
	if err != nil {
		return "", err
	}
	for name, d := range disks {
		if storage.SameDisk(d.Disk, r.disk) {
			return name, nil
		}
	}
	return "", fmt.Errorf("the layout does not use %s, which has the stage", storage.Describe(r.disk))
}

// The names of what is kept, in the layout.
var keptNames = []string{stage.Label, stage.BootLabel}

// keepStage has the layout keep the stage, and the partition of GRUB's core
// image.
func (r *run) keepStage(l layout.Layout, name string) error {
	d := l.Disk[name]
	if d.Content == nil {
		return fmt.Errorf("the layout has no partitions on %s, and so no place beside the stage", storage.Describe(r.disk))
	}
	gpt, ok := d.Content.Spec.(*layout.GPT)
	if !ok {
		return fmt.Errorf("the layout has no GPT on %s: only beside one the stage can stay", storage.Describe(r.disk))
	}
	for i, id := range r.keptIDs() {
		key := keptNames[i]
		if _, taken := gpt.Partitions[key]; taken {
			return fmt.Errorf("the layout has a partition %s of its own", key)
		}
		gpt.Partitions[key] = layout.Partition{Keep: true, UUID: id.String()}
	}
	return nil
}

// keptIDs are the GUIDs of the stage and, with BIOS, of the core image's
// partition: those that they have, or will have once an MBR is a GPT.
func (r *run) keptIDs() []uuid.UUID {
	ids := []uuid.UUID{r.guid(r.Document.Stage, stage.Label)}
	if core := r.Document.Core; core != nil {
		ids = append(ids, r.guid(*core, stage.BootLabel))
	}
	return ids
}

func (r *run) guid(p stage.Place, label string) uuid.UUID {
	if p.GUID != uuid.Nil {
		return p.GUID
	}
	return uuid.NewSHA1(r.Document.ID, []byte(label))
}

// table is the partition table that the scan found.
func (r *run) table() (*layout.Table, error) {
	for _, d := range r.facts.HW.Disk {
		if "/dev/"+d.Name == r.disk.Device && d.Table != nil {
			return d.Table, nil
		}
	}
	return nil, fmt.Errorf("%s has no partition table", storage.Describe(r.disk))
}

// placed sees that the partition of this label is where the document says, or the file
// that it will be made of.
func (r *run) placed(p stage.Place, label string) error {
	t, err := r.table()
	if err != nil {
		return err
	}
	if r.inFile(*t) {
		return nil
	}
	for _, e := range t.Entries {
		if int64(e.FirstLBA)*int64(t.SectorSize) != p.Offset || e.Size(t.SectorSize) != p.Size {
			continue
		}
		if t.Kind == layout.KindGPT && e.GUID != r.guid(p, label) {
			return fmt.Errorf("find %s on %s: the partition at its place has the GUID %s", label, storage.Describe(r.disk), e.GUID)
		}
		return nil
	}
	return fmt.Errorf("find %s on %s: no partition of %d bytes begins at byte %d", label, storage.Describe(r.disk), p.Size, p.Offset)
}

// typeReserved is the type of the core image's partition once an MBR has become
// a GPT: "Linux filesystem data". grub-install would take one of type "BIOS
// boot" for its own.
var typeReserved = uuid.MustParse("0fc63daf-8483-4772-8e79-3d69d8477de4")

// asConverted are the facts as they will be when the disk's MBR has become a GPT
// with nothing in it but the stage, or the file with the stage a partition: what a
// layout with a GPT is planned for. later is that table; nil when there is nothing to
// convert.
func (r *run) asConverted(d layout.Disk) (facts envscan.Facts, later *layout.Table, err error) {
	now, err := r.table()
	if err != nil {
		return facts, nil, err
	}
	if d.Content == nil || d.Content.ContentType() != "gpt" {
		return r.facts, nil, nil
	}
	if r.inFile(*now) {
		return r.withTable(&r.Document.Extent.After), &r.Document.Extent.After, nil
	}
	if now.Kind == layout.KindGPT {
		return r.facts, nil, nil
	}
	t := layout.Table{Kind: layout.KindGPT, Disk: now.Disk, GUID: uuid.NewSHA1(r.Document.ID, []byte("table")), SectorSize: now.SectorSize, Size: now.Size}
	first, last, ok := layout.Usable(layout.Geometry{Size: t.Size, SectorSize: t.SectorSize})
	places := []stage.Place{r.Document.Stage}
	if r.Document.Core != nil {
		places = append(places, *r.Document.Core)
	}
	for i, p := range places {
		e := layout.Entry{
			Number: p.Number, Label: keptNames[i], Type: []uuid.UUID{layout.TypeESP, typeReserved}[i], GUID: r.guid(p, keptNames[i]),
			FirstLBA: uint64(p.Offset) / uint64(t.SectorSize), LastLBA: uint64(p.Offset+p.Size)/uint64(t.SectorSize) - 1,
		}
		if !ok || e.FirstLBA < first || e.LastLBA > last {
			return facts, nil, fmt.Errorf("%s is where a GPT goes: sectors %d to %d, and not within %d to %d", e.Label, e.FirstLBA, e.LastLBA, first, last)
		}
		t.Entries = append(t.Entries, e)
	}
	slices.SortFunc(t.Entries, func(a, b layout.Entry) int { return a.Number - b.Number })
	return r.withTable(&t), &t, nil
}

// withTable are the facts of the disk with another table. Of the partitions those are
// left that it has.
func (r *run) withTable(t *layout.Table) envscan.Facts {
	facts := r.facts
	facts.HW.Disk = slices.Clone(facts.HW.Disk)
	for i, d := range facts.HW.Disk {
		if "/dev/"+d.Name != r.disk.Device {
			continue
		}
		facts.HW.Disk[i].Table = t
		facts.HW.Disk[i].Partition = slices.DeleteFunc(slices.Clone(d.Partition), func(p envscan.Partition) bool {
			return !slices.ContainsFunc(t.Entries, func(e layout.Entry) bool {
				return e.Number == p.Number && int64(e.FirstLBA)*int64(t.SectorSize) == p.Offset
			})
		})
	}
	return facts
}

// future is the machine with the disk's table as it will be. become makes it so.
type future struct {
	storage.Machine
	device string
	table  *layout.Table // nil: it is what it is
}

// Table implements storage.Machine.
func (f *future) Table(device string) (*probe.Table, error) {
	if f.table != nil && device == f.device {
		return &probe.Table{Table: *f.table}, nil
	}
	return f.Machine.Table(device)
}

// become writes the table. Of an MBR the last write is that of the sector with the
// boot code, which stays: before it the stage is found by the MBR, after it by the GPT.
func (f *future) become(ctx context.Context) error {
	if f.table == nil {
		return nil
	}
	if err := f.Machine.WriteTable(ctx, f.device, *f.table, true); err != nil {
		return fmt.Errorf("write the partition table with the stage to %s: %w", f.device, err)
	}
	f.table = nil
	return nil
}

// arrange orders the steps so that nothing becomes bootable before it is whole
// and on the disk, and leaves out what was found done.
func (r *run) arrange(p plan.Plan, disks *future) (prepared, error) {
	out := prepared{disks: disks}
	var err error
	if out.hash, err = r.hash(p); err != nil {
		return out, err
	}
	// The programs of the phase inject change several files one after the other, and
	// can be cut off between them: nobody goes on in a tree in which they have been.
	out.resumed = r.history.Has(journal.Committed) && r.history.Reached(event.Inject, out.hash)
	out.found = r.foundDone(out.hash)
	p.Steps = slices.Clone(p.Steps)
	for i := 0; i < len(p.Steps); i++ {
		keep := true
		switch a := p.Steps[i].Action.(type) {
		case plan.BootEntry:
			out.entries = append(out.entries, a)
			keep = false
		case plan.CheckPayload: // the whole stage was verified
			keep = false
		case plan.CheckBoot:
			a.BIOS = a.BIOS && r.Document.Firmware != "bios" // what the BIOS starts comes later
			p.Steps[i].Action = a
		default:
			keep = !out.resumed || again(p.Steps[i])
		}
		if !keep {
			p.Steps = slices.Delete(p.Steps, i, i+1)
			i--
		}
	}
	out.plan = p
	return out, nil
}

// again says whether a step is executed also when everything up to the phase
// inject was found done: checks, what opens and mounts, and the later phases.
func again(s plan.Step) bool {
	switch s.Action.(type) {
	case plan.CheckMemory, plan.CheckTools, plan.CheckSecrets, plan.CheckHostKeys,
		diskplan.LUKSOpen, diskplan.ActivateVG, diskplan.AssembleArray, diskplan.ImportPool, diskplan.Mount:
		return true
	}
	return slices.Contains([]event.Phase{event.Boot, event.Finish}, s.Phase)
}

// hash is the name of what the disks become: equal for the same request on the
// same disk, whatever was done of it.
func (r *run) hash(p plan.Plan) (string, error) {
	sum := sha256.New()
	enc := json.NewEncoder(sum)
	err := enc.Encode(r.Document.ID)
	for _, d := range p.Storage.Disks {
		err = errors.Join(err, enc.Encode(d.After))
	}
	if err != nil {
		return "", fmt.Errorf("hash plan: %w", err)
	}
	return fmt.Sprintf("%.8x", sum.Sum(nil)), nil
}

// foundDone is what the journal proves, for people.
func (r *run) foundDone(hash string) []string {
	found := []string{"commit"}
	for _, p := range []event.Phase{event.Partition, event.Format, event.Copy, event.Inject} {
		if r.history.Reached(event.Inject, hash) {
			found = append(found, string(p))
		}
	}
	if len(found) == 1 {
		if last, ok := r.history.Last(journal.PhaseDone); ok && last.Phase != event.Verify {
			found = append(found, fmt.Sprintf("an earlier run reached the end of %s, and what it made is made again", last.Phase))
		}
	}
	return found
}

// syncAll has all file systems write what they have.
func syncAll() { unix.Sync() }
