package ram

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/volume"
	"github.com/victorinix/vic/qemu-tests/logwrites"
)

// recording is all that the RAM system wrote to a disk.
type recording struct {
	scene *scene
	log   *logwrites.Log
	base  *os.File // the disk before
	core  []byte   // GRUB's core image of the stage
	// newCode is the boot code of the new system, and newCore the range of its core
	// image.
	newCode []byte
	newCore [2]int64
	journal [2]int64 // range of the journal
}

// region is a range of the disk.
func region(r [2]int64, e logwrites.Entry) bool { return e.Offset < r[1] && e.Offset+e.Length > r[0] }

func inside(r [2]int64, e logwrites.Entry) bool { return e.Offset >= r[0] && e.Offset+e.Length <= r[1] }

func (r *recording) stage() [2]int64 {
	p := r.scene.doc.Stage
	return [2]int64{p.Offset, p.Offset + p.Size}
}

func (r *recording) coreRange() [2]int64 {
	p := r.scene.doc.Core
	return [2]int64{p.Offset, p.Offset + p.Size}
}

// opened opens the files of a recording.
func opened(t *testing.T, base, log string) (*os.File, *logwrites.Log) {
	t.Helper()
	var files [2]*os.File
	for i, path := range []string{base, log} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		files[i] = f
	}
	l, err := logwrites.Open(files[1])
	if err != nil {
		t.Fatal(err)
	}
	return files[0], l
}

// newRecording is of a run of the RAM system (BIOS) that has left the scene's disk.
func newRecording(t *testing.T, s *scene, base *os.File, log *logwrites.Log) *recording {
	t.Helper()
	r := &recording{scene: s, base: base, log: log}
	dev, err := journal.OpenStage(s.disk, s.doc.Stage)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	v, err := volume.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	if r.core, err = v.ReadFile(stage.InVolume(stage.CoreImage)); err != nil {
		t.Fatal(err)
	}
	at, size, err := v.Extent(stage.InVolume(stage.Journal))
	if err != nil {
		t.Fatal(err)
	}
	r.journal = [2]int64{s.doc.Stage.Offset + at, s.doc.Stage.Offset + at + size}
	last, ok := s.history(t).Last(journal.Bootable)
	if !ok || len(last.Data) != 440 {
		t.Fatalf("the journal has no boot code: %+v", last)
	}
	r.newCode = last.Data
	r.newCore = r.biosBoot(t)
	return r
}

// biosBoot is the new system's BIOS boot partition.
func (r *recording) biosBoot(t *testing.T) [2]int64 {
	t.Helper()
	d, err := disk.Open(r.scene.disk, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := disk.ReadTable(d)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(table.Entries, func(e layout.Entry) bool { return e.Type == layout.TypeBIOSBoot })
	if i < 0 {
		t.Fatal("no BIOS boot partition")
	}
	return [2]int64{int64(table.Entries[i].FirstLBA) * 512, int64(table.Entries[i].LastLBA+1) * 512}
}

// code is the boot code that an entry writes; nil: it does not write the first
// sector.
func code(t *testing.T, e logwrites.Entry) []byte {
	t.Helper()
	if e.Offset > 0 || e.Length < 440 || e.Flags&logwrites.Mark != 0 {
		return nil
	}
	b := make([]byte, 440)
	if _, err := e.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return b
}

// who says whose boot code it is.
func (r *recording) who(b []byte) string {
	switch {
	case bytes.Equal(b, r.scene.doc.OldBootCode):
		return "old"
	case bytes.Equal(b, r.scene.doc.BootCode):
		return "installer"
	case bytes.Equal(b, r.newCode):
		return "new"
	}
	return "nobody"
}

// decisive are the entries of the log after which another system boots: the commit
// and the switch.
func (r *recording) decisive(t *testing.T) (commit, change int) {
	t.Helper()
	now := "old"
	for i, e := range r.log.Entries {
		b := code(t, e)
		if b == nil {
			continue
		}
		was := now
		now = r.who(b)
		switch was + " " + now {
		case "old installer":
			commit = i
		case "installer new":
			change = i
		case "old old", "installer installer", "new new":
		default:
			t.Errorf("entry %d: the boot code of %s becomes that of %s", i, was, now)
		}
	}
	if commit == 0 || change <= commit {
		t.Fatalf("the commit is entry %d, the switch %d", commit, change)
	}
	return commit, change
}

// order checks what holds for every cut, by the order of the writes: up to the
// commit nothing of the system before is written to; nobody but the journal ever
// writes to the stage; and before a decisive write everything else is on the disk.
func (r *recording) order(t *testing.T) {
	t.Helper()
	commit, change := r.decisive(t)
	for i, e := range r.log.Entries {
		if e.Length == 0 || e.Flags&logwrites.Mark != 0 {
			continue
		}
		ours := inside(r.journal, e)
		switch {
		case i < commit && !ours && !inside(r.coreRange(), e):
			t.Errorf("entry %d writes %d bytes at %d before the commit (entry %d)", i, e.Length, e.Offset, commit)
		case region(r.stage(), e) && !ours:
			t.Errorf("entry %d writes %d bytes at %d, into the stage", i, e.Length, e.Offset)
		case i > change && !ours:
			t.Errorf("entry %d writes %d bytes at %d after the switch (entry %d)", i, e.Length, e.Offset, change)
		}
	}
	for _, at := range []int{commit, change} {
		for i := at - 1; i >= 0 && r.log.Entries[i].Flags&logwrites.Flush == 0; i-- {
			if e := r.log.Entries[i]; e.Length > 0 && e.Flags&(logwrites.FUA|logwrites.Mark) == 0 {
				t.Errorf("entry %d, %d bytes at %d, may come after entry %d, which changes what boots", i, e.Length, e.Offset, at)
			}
		}
	}
}

// deciding is the log without what no boot looks at: it keeps the ends of the
// disk, where the tables are, the core images and the journal.
func (r *recording) deciding() *logwrites.Log {
	ranges := [][2]int64{{0, mib}, {diskSize - mib, diskSize}, r.coreRange(), r.newCore, r.journal}
	short := &logwrites.Log{SectorSize: r.log.SectorSize}
	for _, e := range r.log.Entries {
		if e.Length == 0 || slices.ContainsFunc(ranges, func(a [2]int64) bool { return region(a, e) }) {
			short.Entries = append(short.Entries, e)
		}
	}
	return short
}

// cuts rebuilds what decides the boot as it could stand after a cut around every
// flush, so at every step of the journal, and at others; whatever boots then has
// to be whole. It counts them.
func (r *recording) cuts(t *testing.T) {
	t.Helper()
	log := r.deciding()
	cuts := log.Cuts(logwrites.Sample{Others: 100, Seeds: 2, Seed: 6})
	count := map[string]map[string]int{}
	err := log.Replay(r.base, diskSize, cuts, func(c logwrites.Cut, o *logwrites.Overlay) error {
		who, err := r.boots(o)
		if err != nil {
			t.Errorf("%v: %s: %v", c, who, err)
		}
		kind := strings.Fields(c.Subset)[0]
		if count[who] == nil {
			count[who] = map[string]int{}
		}
		count[who][kind]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds := []string{"none", "all", "last", "random", "torn"}
	t.Logf("%d cuts of %d writes; of what was not flushed the disk keeps, and what boots is:", len(cuts), r.log.Writes())
	t.Logf("%-10s %s", "", strings.Join(kinds, " "))
	for _, who := range []string{"old", "installer", "new"} {
		row := fmt.Sprintf("%-10s", who)
		for _, k := range kinds {
			row += fmt.Sprintf(" %*d", len(k), count[who][k])
		}
		t.Log(row)
		if len(count[who]) == 0 {
			t.Errorf("no cut is followed by %s", who)
		}
	}
}

// boots says what a disk would boot, and what it lacks for that.
func (r *recording) boots(o *logwrites.Overlay) (who string, err error) {
	b := make([]byte, 440)
	if _, err := o.ReadAt(b, 0); err != nil {
		return "nobody", err
	}
	who = r.who(b)
	table, err := disk.ReadTable(o)
	if err != nil {
		return who, err
	}
	if who == "nobody" {
		return who, errors.New("nobody knows this boot code")
	}
	if who == "new" {
		return who, r.same(o, r.newCore)
	}
	if who == "old" {
		before, err := disk.ReadTable(view{r.base})
		if err == nil && fmt.Sprint(before) != fmt.Sprint(table) {
			err = fmt.Errorf("its table is %+v", table)
		}
		return who, err
	}
	x := r.scene.doc.Extent
	if (x == nil || !storage.SameTable(x.Before, table)) && !slices.ContainsFunc(table.Entries, func(e layout.Entry) bool {
		return e.GUID == r.scene.doc.Stage.GUID && int64(e.FirstLBA)*512 == r.scene.doc.Stage.Offset
	}) {
		return who, errors.New("its table has no stage")
	}
	core := make([]byte, len(r.core))
	if _, err := o.ReadAt(core, r.scene.doc.Core.Offset); err != nil || !bytes.Equal(core, r.core) {
		return who, errors.Join(err, errors.New("its core image is not whole"))
	}
	j, err := journal.Open(shifted{o, r.scene.doc.Stage.Offset}, r.scene.doc.ID)
	if err == nil && !j.History().Has(journal.Committing) {
		err = errors.New("its journal knows of no commit")
	}
	return who, err
}

// same compares a range with the disk as it is after the run.
func (r *recording) same(o *logwrites.Overlay, at [2]int64) error {
	f, err := os.Open(r.scene.disk)
	if err != nil {
		return err
	}
	defer f.Close()
	want, got := make([]byte, at[1]-at[0]), make([]byte, at[1]-at[0])
	_, err1 := f.ReadAt(want, at[0])
	_, err2 := o.ReadAt(got, at[0])
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(got, want) {
		return errors.Join(err, errors.New("its core image is not whole"))
	}
	return nil
}

// view is the disk before as a device.
type view struct{ *os.File }

func (view) Size() int64     { return diskSize }
func (view) SectorSize() int { return 512 }

// shifted is the stage on a disk.
type shifted struct {
	dev    *logwrites.Overlay
	offset int64
}

func (s shifted) ReadAt(p []byte, off int64) (int, error)  { return s.dev.ReadAt(p, s.offset+off) }
func (s shifted) WriteAt(p []byte, off int64) (int, error) { return s.dev.WriteAt(p, s.offset+off) }
