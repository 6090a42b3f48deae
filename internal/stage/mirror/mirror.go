// Package mirror keeps files in one file of a stage, the copy of the host's
// registrations: for a system that has lost its own folder of them, and for the
// RAM system, which may not be able to mount the file system with that.
//
// The file was allocated when the stage was made. As the journal's, its place on
// the disk is written to past the file system: nothing has to be mounted, no module
// has to be there, and the FAT, which would not survive every power cut, is not
// written to. It is cut into blocks of 4096 bytes. What it holds lies in whole
// blocks, in one piece each:
//
//	0   "vicmirr1"
//	8   u64 sequence number: of one name the highest counts
//	16  16 bytes: the attempt's ID
//	32  u32 size of the content
//	36  u32 length of the name
//	40  SHA-256 of bytes 0 to 39, the name and the content
//	72  the name, the content, zeros up to a whole block
//
// A version goes where none is that counts, and is on the medium when Write
// returns: one that a power cut has torn has a wrong sum and is free room, and
// the version before it is still there. A file is removed by clearing the first
// sector of all its versions that are left.
package mirror

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/volume"
)

const (
	block    = 4096
	sector   = 512
	headSize = 72
	sumAt    = 40
	magic    = "vicmirr1"
)

// ErrFull is wrapped when there is no room.
var ErrFull = errors.New("there is no room left on the stage")

// ErrGone is wrapped when the stage is not there any more; it is an fs.ErrNotExist.
var ErrGone = fmt.Errorf("the stage is not there any more: %w", fs.ErrNotExist)

// Device is the stage. Writes are on the medium when they return: direct.Device
// with unix.O_DSYNC does that.
type Device interface {
	io.ReaderAt
	io.WriterAt
}

// Mirror is the open file. It is a registration.Copy.
type Mirror struct {
	// Title is what people know the stage by; Note is told of each write. Both may
	// be left out.
	Title string
	Note  func(what string)
	// There says whether the stage is still where it was, before it is written to:
	// its room may be somebody else's by then. nil: the file system alone tells.
	There func() error

	dev    Device
	id     uuid.UUID
	volume uint32
	at     int64     // of the first block
	blocks int       // how many there are
	files  []version // all that are whole, as they lie
}

// version is a file as it was written once.
type version struct {
	name     string
	sequence uint64
	first, n int // blocks
	content  []byte
}

// Open reads the file on the stage of an attempt. Without one, on a stage of an
// older vic, the error wraps fs.ErrNotExist.
func Open(dev Device, d stage.Document) (*Mirror, error) {
	m := &Mirror{dev: dev, id: d.ID, volume: d.VolumeID()}
	if err := m.place(); err != nil {
		return nil, fmt.Errorf("open registrations on the stage: %w", err)
	}
	b := make([]byte, m.blocks*block)
	if _, err := dev.ReadAt(b, m.at); err != nil {
		return nil, fmt.Errorf("read registrations on the stage: %w", err)
	}
	for i := 0; i < m.blocks; {
		v, ok := decode(b[i*block:], m.id)
		if !ok {
			i++
			continue
		}
		v.first = i
		m.files = append(m.files, v)
		i += v.n
	}
	return m, nil
}

// place finds the file's whole blocks, which begin at a multiple of their size.
func (m *Mirror) place() error {
	v, err := volume.Open(m.dev)
	if err != nil {
		return err
	}
	if v.VolumeID() != m.volume {
		return fmt.Errorf("its file system is %08x, expected %08x", v.VolumeID(), m.volume)
	}
	offset, size, err := v.Extent(stage.InVolume(stage.Registrations))
	if err != nil {
		return err
	}
	at := (offset + block - 1) / block * block
	blocks := int((offset + size - at) / block)
	if size > stage.RegistrationsSize || blocks < 1 || m.blocks > 0 && (m.at != at || m.blocks != blocks) {
		return fmt.Errorf("%s has %d bytes at %d", stage.Registrations, size, offset)
	}
	m.at, m.blocks = at, blocks
	return nil
}

var le = binary.LittleEndian

func sum(head []byte, rest []byte) []byte {
	h := sha256.New()
	h.Write(head[:sumAt])
	h.Write(rest)
	return h.Sum(nil)
}

// decode reads the version that begins with b.
func decode(b []byte, id uuid.UUID) (version, bool) {
	size, length := int64(le.Uint32(b[32:])), int64(le.Uint32(b[36:]))
	end := headSize + length + size
	if string(b[:8]) != magic || uuid.UUID(b[16:32]) != id || length > sector-headSize || end > int64(len(b)) {
		return version{}, false
	}
	if !bytes.Equal(sum(b, b[headSize:end]), b[sumAt:headSize]) {
		return version{}, false
	}
	return version{
		name: string(b[headSize : headSize+length]), sequence: le.Uint64(b[8:]),
		n: blocksFor(end), content: bytes.Clone(b[headSize+length : end]),
	}, true
}

func blocksFor(size int64) int { return int((size + block - 1) / block) }

func encode(v version, id uuid.UUID) []byte {
	end := headSize + len(v.name) + len(v.content)
	b := make([]byte, blocksFor(int64(end))*block)
	copy(b, magic)
	le.PutUint64(b[8:], v.sequence)
	copy(b[16:], id[:])
	le.PutUint32(b[32:], uint32(len(v.content)))
	le.PutUint32(b[36:], uint32(len(v.name)))
	copy(b[headSize:], v.name)
	copy(b[headSize+len(v.name):], v.content)
	copy(b[sumAt:], sum(b, b[headSize:end]))
	return b
}

// String is what people know it by.
func (m *Mirror) String() string { return cmp.Or(m.Title, "the stage") }

// current are the versions that count, as they lie.
func (m *Mirror) current() []version {
	newest := map[string]uint64{}
	for _, v := range m.files {
		newest[v.name] = max(newest[v.name], v.sequence)
	}
	return slices.DeleteFunc(slices.Clone(m.files), func(v version) bool { return newest[v.name] != v.sequence })
}

// Names are those of the files.
func (m *Mirror) Names() ([]string, error) {
	var names []string
	for _, v := range m.current() {
		names = append(names, v.name)
	}
	return names, nil
}

// Open opens a file; the error wraps fs.ErrNotExist where there is none.
func (m *Mirror) Open(name string) (io.ReadCloser, error) {
	for _, v := range m.current() {
		if v.name == name {
			return io.NopCloser(bytes.NewReader(v.content)), nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name + " on " + m.String(), Err: fs.ErrNotExist}
}

// Write puts a file in place.
func (m *Mirror) Write(name string, r io.Reader) error {
	if name == "" || len(name) > sector-headSize {
		return fmt.Errorf("write %q on %s: that is no name", name, m)
	}
	content, err := io.ReadAll(io.LimitReader(r, stage.RegistrationsSize))
	if err == nil {
		err = m.write(version{name: name, content: content})
	}
	if err != nil {
		return fmt.Errorf("write %s on %s: %w", name, m, err)
	}
	return nil
}

func (m *Mirror) write(v version) error {
	if err := m.there(); err != nil {
		return err
	}
	for _, o := range m.files {
		v.sequence = max(v.sequence, o.sequence)
	}
	v.sequence++
	b := encode(v, m.id)
	v.n = len(b) / block
	var ok bool
	if v.first, ok = m.room(v.n); !ok {
		return fmt.Errorf("%d bytes: %w", len(v.content), ErrFull)
	}
	m.note("write " + v.name)
	// What was there does not count; from here on it may be damaged.
	m.files = slices.DeleteFunc(m.files, func(o version) bool { return o.first < v.first+v.n && v.first < o.first+o.n })
	if _, err := m.dev.WriteAt(b, m.at+int64(v.first)*block); err != nil {
		return err
	}
	m.files = append(m.files, v)
	slices.SortFunc(m.files, func(a, b version) int { return cmp.Compare(a.first, b.first) })
	return nil
}

// room is where n blocks are in which nothing lies that counts.
func (m *Mirror) room(n int) (first int, ok bool) {
	for _, v := range m.current() {
		if first+n <= v.first {
			return first, true
		}
		first = v.first + v.n
	}
	return first, first+n <= m.blocks
}

// Remove removes a file, with all that is left of what it was before.
func (m *Mirror) Remove(name string) error {
	if err := m.there(); err != nil {
		return fmt.Errorf("remove %s from %s: %w", name, m, err)
	}
	for _, v := range slices.Clone(m.files) {
		if v.name != name {
			continue
		}
		m.note("clear " + name)
		if _, err := m.dev.WriteAt(make([]byte, sector), m.at+int64(v.first)*block); err != nil {
			return fmt.Errorf("remove %s from %s: %w", name, m, err)
		}
		m.files = slices.DeleteFunc(m.files, func(o version) bool { return o.first == v.first })
	}
	return nil
}

func (m *Mirror) note(what string) {
	if m.Note != nil {
		m.Note(what + " on " + m.String())
	}
}

// there sees that the room is still the stage's.
func (m *Mirror) there() error {
	if m.There != nil {
		if err := m.There(); err != nil {
			return errors.Join(ErrGone, err)
		}
	}
	if err := m.place(); err != nil {
		return errors.Join(ErrGone, err)
	}
	return nil
}
