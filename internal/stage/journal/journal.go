// Package journal is the record of a reinstall on its stage: what was done, so
// that the RAM system goes on after a power cut, and so that the system before
// can say why an attempt failed.
//
// The file was allocated when the stage was made; records are written into its
// place on the disk, past the file system, which stays mounted read-only. A
// record takes one slot of 1024 bytes, and each goes into the next one:
//
//	0   "vicjrnl1"
//	8   u64 sequence number, from 1; it is written into slot (number - 1) modulo slots
//	16  16 bytes: the attempt's ID
//	32  u16 length of the JSON
//	36  u32 CRC-32 (IEEE) of all of the slot but these four bytes
//	40  JSON of Record, then zeros
//
// A record whose sum is wrong was torn by a power cut and is ignored: what it
// would have told has not been acted upon yet.
package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/stage/volume"
)

// State says what a record tells.
type State string

// The states, in the order in which an attempt has them. One that is Failed
// before Committing has left the system before as it was.
const (
	Staged     State = "staged"     // the stage is whole
	Started    State = "started"    // the RAM system runs, once more
	Verified   State = "verified"   // everything was checked
	Committing State = "committing" // the one write that follows makes the RAM system the default
	Committed  State = "committed"  // it is
	PhaseDone  State = "phase"      // Record.Phase is done, and on the disk
	Bootable   State = "bootable"   // the new system is whole; the write that follows makes it the default
	Installed  State = "installed"  // it is
	Failed     State = "failed"     // Record.Message is why
)

// Record is an entry.
type Record struct {
	Number  uint64      `json:"-"`
	Time    time.Time   `json:"time"`
	State   State       `json:"state"`
	Phase   event.Phase `json:"phase,omitempty"`
	Plan    string      `json:"plan,omitempty"` // of PhaseDone: of which plan
	Message string      `json:"message,omitempty"`
	// Data is what the write after Bootable needs; at most 640 bytes.
	Data []byte `json:"data,omitempty"`
}

const (
	slotSize = 1024
	headSize = 40
	magic    = "vicjrnl1"
	slots    = stage.JournalSize / slotSize
	maxText  = slotSize - headSize
)

// Device is the stage's range of the disk. Writes are on the medium when
// they return: direct.Device with unix.O_DSYNC does that.
type Device interface {
	io.ReaderAt
	io.WriterAt
}

// Journal is an open journal.
type Journal struct {
	dev     Device
	id      uuid.UUID
	at      int64 // of the first slot
	records []Record
}

// Open reads the journal of an attempt from its stage.
func Open(dev Device, id uuid.UUID) (*Journal, error) {
	v, err := volume.Open(dev)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	at, size, err := v.Extent(stage.InVolume(stage.Journal))
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if size != stage.JournalSize {
		return nil, fmt.Errorf("open journal: it has %d bytes, expected %d", size, stage.JournalSize)
	}
	j := &Journal{dev: dev, id: id, at: at}
	return j, j.read()
}

func (j *Journal) read() error {
	b := make([]byte, stage.JournalSize)
	if _, err := j.dev.ReadAt(b, j.at); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	for i := range slots {
		if r, ok := decode(b[i*slotSize:][:slotSize], j.id); ok && (r.Number-1)%slots == uint64(i) {
			j.records = append(j.records, r)
		}
	}
	slices.SortFunc(j.records, func(a, b Record) int {
		if a.Number < b.Number {
			return -1
		}
		return 1
	})
	return nil
}

var le = binary.LittleEndian

func sum(slot []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(slot[:36]), crc32.IEEETable, slot[headSize:])
}

func decode(slot []byte, id uuid.UUID) (Record, bool) {
	var r Record
	n := int(le.Uint16(slot[32:]))
	if string(slot[:8]) != magic || uuid.UUID(slot[16:32]) != id || n > maxText || le.Uint32(slot[36:]) != sum(slot) {
		return r, false
	}
	if err := json.Unmarshal(slot[headSize:][:n], &r); err != nil {
		return r, false
	}
	r.Number = le.Uint64(slot[8:])
	return r, r.Number > 0
}

func encode(r Record, id uuid.UUID) ([]byte, error) {
	text, err := json.Marshal(r)
	for err == nil && len(text) > maxText && r.Message != "" { // escapes make it longer than it is
		m := []rune(r.Message)
		r.Message = string(m[:len(m)-min(len(m), max(1, (len(text)-maxText)/6+1))])
		text, err = json.Marshal(r)
	}
	if err == nil && len(text) > maxText {
		err = errors.New("it is too long")
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, slotSize)
	copy(b, magic)
	le.PutUint64(b[8:], r.Number)
	copy(b[16:], id[:])
	le.PutUint16(b[32:], uint16(len(text)))
	copy(b[headSize:], text)
	le.PutUint32(b[36:], sum(b))
	return b, nil
}

// Append writes a record; its Number and, if it has none, its Time are set. A
// message that is too long loses its end.
func (j *Journal) Append(r Record) error {
	r.Number = 1
	if n := len(j.records); n > 0 {
		r.Number = j.records[n-1].Number + 1
	}
	if r.Time.IsZero() {
		r.Time = time.Now().UTC().Truncate(time.Second)
	}
	b, err := encode(r, j.id)
	if err == nil {
		_, err = j.dev.WriteAt(b, j.at+int64((r.Number-1)%slots)*slotSize)
	}
	if err != nil {
		return fmt.Errorf("write journal: %s: %w", r.State, err)
	}
	j.records = append(j.records, r)
	return nil
}

// History is what a journal tells, oldest first.
type History []Record

// History is what the journal tells now.
func (j *Journal) History() History { return slices.Clone(j.records) }

// Has says whether there is a record of a state.
func (h History) Has(s State) bool {
	return slices.ContainsFunc(h, func(r Record) bool { return r.State == s })
}

// Last is the newest record of a state.
func (h History) Last(s State) (Record, bool) {
	for _, r := range slices.Backward(h) {
		if r.State == s {
			return r, true
		}
	}
	return Record{}, false
}

// Reached says whether a phase of a plan was done and nothing before it was begun
// again: a run that starts over is told by the record of its first phase.
func (h History) Reached(p event.Phase, plan string) bool {
	for _, r := range slices.Backward(h) {
		if r.State != PhaseDone {
			continue
		}
		if r.Plan != plan || !event.Reaches([]event.Phase{r.Phase}, p) {
			return false
		}
		return true
	}
	return false
}

// Attempt is a stage as the system before finds it.
type Attempt struct {
	Document stage.Document
	History  History
}

// Failure is why the attempt failed before anything was changed; empty when it
// did not.
func (a Attempt) Failure() string {
	if n := len(a.History); n > 0 && a.History[n-1].State == Failed {
		return a.History[n-1].Message
	}
	return ""
}

// Read reads the stage in a partition of the running system, or in an image of
// one: the error wraps volume.ErrNone or fs.ErrNotExist where there is none.
func Read(path string) (Attempt, error) {
	return ReadAt(path, 0, 0)
}

// ReadAt is Read for a stage of size bytes from offset on.
func ReadAt(path string, offset, size int64) (Attempt, error) {
	d, err := direct.Open(path, os.O_RDONLY, offset, size)
	if err != nil {
		return Attempt{}, err
	}
	a, err := read(d)
	if err := errors.Join(err, d.Close()); err != nil {
		return Attempt{}, fmt.Errorf("read stage in %s: %w", path, err)
	}
	return a, nil
}

func read(d *direct.Device) (a Attempt, err error) {
	v, err := volume.Open(d)
	if err != nil {
		return a, err
	}
	if a.Document, err = v.Document(); err != nil {
		return a, err
	}
	j, err := Open(d, a.Document.ID)
	if err != nil {
		return a, err
	}
	a.History = j.History()
	return a, nil
}

// OpenStage opens the stage of a document on its disk for reading, and for
// writes that are on the medium when they return.
func OpenStage(disk string, p stage.Place) (*direct.Device, error) {
	return direct.Open(disk, os.O_RDWR|unix.O_DSYNC, p.Offset, p.Size)
}
