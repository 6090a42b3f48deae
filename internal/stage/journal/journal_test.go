package journal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/volume"
)

// newStage writes a stage into a disk's image, from 1 MiB on.
func newStage(t *testing.T) (disk string, d stage.Document) {
	t.Helper()
	const size = 40 << 20
	one := func(name string) stage.File {
		return stage.File{Name: name, Size: 1, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte("x")))}
	}
	d = stage.Document{
		Version: stage.Version, ID: uuid.New(), Firmware: "uefi", Disk: request.DiskSelector{Serial: "QM0001"},
		Stage: stage.Place{Offset: 1 << 20, Size: size}, Files: []stage.File{one(stage.Payload), one(stage.Request)},
	}
	disk = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 42<<20); err != nil {
		t.Fatal(err)
	}
	dev, err := OpenStage(disk, d.Stage)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	x := func(string) (volume.Source, error) { return volume.Bytes([]byte("x")), nil }
	if err := volume.Write(t.Context(), dev, volume.Config{Document: d, Open: x}); err != nil {
		t.Fatal(err)
	}
	return disk, d
}

// with opens the journal anew, as after a power cut.
func with(t *testing.T, disk string, d stage.Document, f func(j *Journal)) {
	t.Helper()
	dev, err := OpenStage(disk, d.Stage)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	j, err := Open(dev, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	f(j)
}

func states(h History) string {
	var s []string
	for _, r := range h {
		s = append(s, strings.TrimSpace(string(r.State)+" "+string(r.Phase)))
	}
	return strings.Join(s, ", ")
}

func appendAll(t *testing.T, j *Journal, list ...Record) {
	t.Helper()
	for _, r := range list {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAppend(t *testing.T) {
	disk, d := newStage(t)
	with(t, disk, d, func(j *Journal) {
		appendAll(t, j, Record{State: Staged}, Record{State: Started}, Record{State: Committed})
	})
	with(t, disk, d, func(j *Journal) {
		appendAll(t, j, Record{State: PhaseDone, Phase: event.Copy, Plan: "p"})
		h := j.History()
		if got := states(h); got != "staged, started, committed, phase copy" {
			t.Errorf("got %s", got)
		}
		if !h.Has(Committed) || h.Has(Bootable) || !h.Reached(event.Format, "p") || h.Reached(event.Inject, "p") || h.Reached(event.Format, "q") {
			t.Error("the history says something else")
		}
		appendAll(t, j, Record{State: PhaseDone, Phase: event.Verify, Plan: "p"})
		if j.History().Reached(event.Format, "p") {
			t.Error("a run that began anew has reached what the one before had")
		}
	})
	if err := volume.Verify(t.Context(), opened(t, disk, d), d, nil); err != nil {
		t.Error("the records have damaged the stage: ", err)
	}
}

func opened(t *testing.T, disk string, d stage.Document) Device {
	dev, err := OpenStage(disk, d.Stage)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// A record that was torn, at any place, is not there; the one before is.
func TestTorn(t *testing.T) {
	disk, d := newStage(t)
	var at int64
	with(t, disk, d, func(j *Journal) {
		appendAll(t, j, Record{State: Staged}, Record{State: Verified, Message: strings.Repeat("m", 600)})
		at = j.at + slotSize
	})
	dev := opened(t, disk, d)
	whole := make([]byte, slotSize)
	if _, err := dev.ReadAt(whole, at); err != nil {
		t.Fatal(err)
	}
	for _, torn := range [][]byte{
		append(bytes.Clone(whole[:512]), make([]byte, 512)...),
		append(make([]byte, 512), whole[512:]...),
		append(append(bytes.Clone(whole[:100]), 'x'), whole[101:]...),
	} {
		if _, err := dev.WriteAt(torn, at); err != nil {
			t.Fatal(err)
		}
		with(t, disk, d, func(j *Journal) {
			if got := states(j.History()); got != "staged" {
				t.Errorf("got %s", got)
			}
		})
	}
	with(t, disk, d, func(j *Journal) {
		appendAll(t, j, Record{State: Failed, Message: "again"})
		if got := states(j.History()); got != "staged, failed" {
			t.Errorf("got %s", got)
		}
	})
}

// The newest records are there when the journal has gone round.
func TestRound(t *testing.T) {
	disk, d := newStage(t)
	with(t, disk, d, func(j *Journal) {
		for range slots + 10 {
			appendAll(t, j, Record{State: Started})
		}
	})
	with(t, disk, d, func(j *Journal) {
		h := j.History()
		if len(h) != slots || h[0].Number != 11 || h[len(h)-1].Number != slots+10 {
			t.Errorf("%d records, from %d to %d", len(h), h[0].Number, h[len(h)-1].Number)
		}
	})
}

// What the system before reads: why an attempt failed.
func TestRead(t *testing.T) {
	disk, d := newStage(t)
	long := strings.Repeat("\"why\u00e4\x01", 400)
	with(t, disk, d, func(j *Journal) { appendAll(t, j, Record{State: Staged}, Record{State: Failed, Message: long}) })
	b, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	partition := filepath.Join(t.TempDir(), "partition")
	if err := os.WriteFile(partition, b[d.Stage.Offset:], 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := Read(partition)
	if err != nil {
		t.Fatal(err)
	}
	if why := a.Failure(); a.Document.ID != d.ID || len(why) < 100 || !strings.HasPrefix(long, why) {
		t.Errorf("got %s, %q", a.Document.ID, why)
	}
	if _, err := Read(disk); !errors.Is(err, volume.ErrNone) {
		t.Errorf("a disk without a stage: %v", err)
	}
}

// The records of another attempt are none.
func TestOther(t *testing.T) {
	disk, d := newStage(t)
	with(t, disk, d, func(j *Journal) { appendAll(t, j, Record{State: Committed}) })
	d.ID[15]++
	with(t, disk, d, func(j *Journal) {
		if len(j.History()) > 0 {
			t.Error("another attempt's record counts")
		}
	})
}

func FuzzDecode(f *testing.F) {
	id := uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001")
	b, err := encode(Record{Number: 1, State: Committed}, id)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, slot []byte) {
		if len(slot) != slotSize {
			return
		}
		if r, ok := decode(slot, id); ok && r.Number == 0 {
			t.Error("a record without a number")
		}
	})
}
