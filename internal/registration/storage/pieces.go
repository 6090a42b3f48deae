// Package storage has the kinds of changes to what is on disks: a partition in
// a table, the size of a file system, a swap area or swap file that is given up.
//
//	undo:  remove the partition   the end of the one before   its file system
//	       ────────────────────>  ──────────────────────────>  grows again
//
// Each looks for itself whether it can be taken back: a partition does not grow
// over another, a file system not over the end of its partition.
package storage

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/registration"
)

// packed are bytes that are compressed in JSON: tables are mostly zeros.
type packed []byte

// MarshalJSON implements json.Marshaler.
func (p packed) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(p)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return json.Marshal(b.Bytes())
}

// maxPacked bounds what is unpacked, in bytes: a table has 1024 entries of 128.
const maxPacked = 1 << 20

// UnmarshalJSON implements json.Unmarshaler.
func (p *packed) UnmarshalJSON(b []byte) error {
	var z []byte
	if err := json.Unmarshal(b, &z); err != nil {
		return err
	}
	r, err := gzip.NewReader(bytes.NewReader(z))
	if err != nil {
		return err
	}
	*p, err = io.ReadAll(io.LimitReader(r, maxPacked+1))
	if len(*p) > maxPacked {
		return fmt.Errorf("more than %d bytes are packed", maxPacked)
	}
	return err
}

// piece is a part of a partition table, before and after, in the order in which
// they are written: after each the table is whole. So it is when they are
// undone in the opposite order. One that does not change tells of others: an
// extended boot record in which the new chain goes on.
type piece struct {
	Offset int64  `json:"offset"` // bytes
	Before packed `json:"before"`
	After  packed `json:"after"`
}

// validate refuses pieces that no Prepare has made.
func validate(pieces []piece) error {
	for i, p := range pieces {
		if p.Offset < 0 || len(p.Before) != len(p.After) {
			return fmt.Errorf("piece %d of the table: %d bytes before, %d after, at %d", i, len(p.Before), len(p.After), p.Offset)
		}
	}
	return nil
}

// chunks calls f with the parts of a piece that lie in one sector: a sector is
// written or not.
func (p piece) chunks(f func(offset int64, before, after []byte)) {
	const sector = 512
	for at := 0; at < len(p.Before); {
		end := min(at+sector-int(p.Offset+int64(at))%sector, len(p.Before))
		f(p.Offset+int64(at), p.Before[at:end], p.After[at:end])
		at = end
	}
}

// overlay keeps what is written, and shows it over what is on the device.
type overlay struct {
	disk.Device
	pieces []piece
}

func (o *overlay) WriteAt(p []byte, off int64) (int, error) {
	before := make([]byte, len(p))
	if _, err := o.Device.ReadAt(before, off); err != nil {
		return 0, err
	}
	o.pieces = append(o.pieces, piece{off, before, slices.Clone(p)})
	return len(p), nil
}

func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.Device.ReadAt(p, off)
	for _, w := range o.pieces {
		from, to := max(off, w.Offset), min(off+int64(n), w.Offset+int64(len(w.After)))
		if from < to {
			copy(p[from-off:to-off], w.After[from-w.Offset:])
		}
	}
	return n, err
}

func (o *overlay) Sync() error { return nil }

// planned are the pieces that writing a table changes.
func planned(ctx context.Context, d disk.Device, t layout.Table) ([]piece, error) {
	protectiveLast, err := protectiveLast(d)
	if err != nil {
		return nil, err
	}
	o := &overlay{Device: d}
	if err := disk.WriteTable(ctx, o, t, protectiveLast); err != nil {
		return nil, err
	}
	pieces := slices.DeleteFunc(o.pieces, func(p piece) bool { return bytes.Equal(p.Before, p.After) })
	if t.Kind != layout.KindMBR {
		return pieces, nil
	}
	chain, err := records(d, pieces)
	return append(chain, pieces...), err
}

// records are the extended boot records of a table that stay as they are.
func records(d disk.Device, pieces []piece) ([]piece, error) {
	r := &reads{Device: d}
	if _, err := disk.ReadMBR(r); err != nil {
		return nil, err
	}
	var list []piece
	for _, at := range r.at {
		b := make([]byte, 512)
		if _, err := d.ReadAt(b, at); err != nil {
			return nil, err
		}
		written := slices.ContainsFunc(pieces, func(p piece) bool { return p.Offset == at })
		if at > 0 && !written { // the MBR has boot code, which is nobody's business here
			list = append(list, piece{at, b, b})
		}
	}
	return list, nil
}

// reads notes what is read.
type reads struct {
	disk.Device
	at []int64
}

func (r *reads) ReadAt(p []byte, off int64) (int, error) {
	r.at = append(r.at, off)
	return r.Device.ReadAt(p, off)
}

// protectiveLast says whether a hybrid MBR has its protective entry behind the
// others.
func protectiveLast(d disk.Device) (bool, error) {
	const entries, size, typ, protective = 446, 16, 4, 0xee
	b := make([]byte, 512)
	if _, err := d.ReadAt(b, 0); err != nil {
		return false, err
	}
	first := b[entries+typ]
	others := slices.ContainsFunc([]int{1, 2, 3}, func(i int) bool { return b[entries+i*size+typ] == protective })
	return first != 0 && first != protective && others, nil
}

// compare looks at the bytes: Changed says that there are some that are neither
// from before nor from after.
func compare(d disk.Device, pieces []piece) (registration.Is, error) {
	before, after := true, true
	var failed error
	foreign := false
	for _, p := range pieces {
		p.chunks(func(offset int64, old, new []byte) {
			now := make([]byte, len(old))
			if _, err := d.ReadAt(now, offset); err != nil {
				failed = err
			}
			isOld, isNew := bytes.Equal(now, old), bytes.Equal(now, new)
			before, after = before && isOld, after && isNew
			foreign = foreign || !isOld && !isNew
		})
	}
	switch {
	case failed != nil:
		return "", failed
	case foreign:
		return registration.Changed, nil
	case before:
		return registration.Before, nil
	case after:
		return registration.Stands, nil
	}
	return registration.Partly, nil
}

// restore writes what was before, the last piece first.
func restore(ctx context.Context, d disk.Device, pieces []piece) error {
	for _, p := range slices.Backward(pieces) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if bytes.Equal(p.Before, p.After) {
			continue
		}
		if _, err := d.WriteAt(p.Before, p.Offset); err != nil {
			return err
		}
		if err := d.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// device is a disk that is written to while partitions of it are in use, or an
// image of one.
type device struct {
	*os.File
	size       int64
	sectorSize int
	note       func(string)
}

func openDevice(path string, env *registration.Env) (*device, error) {
	d, err := disk.Open(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	size, sectorSize := d.Size(), d.SectorSize()
	if err := d.Close(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &device{f, size, sectorSize, env.Note}, nil
}

func (d *device) Size() int64     { return d.size }
func (d *device) SectorSize() int { return d.sectorSize }

func (d *device) WriteAt(p []byte, off int64) (int, error) {
	d.note(fmt.Sprintf("write %d bytes at %d of %s", len(p), off, d.Name()))
	return d.File.WriteAt(p, off)
}
