package slots

import (
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/slot"
)

// chunkSize is what is in memory of the files of a slot.
const chunkSize = 1 << 20

// untouchedError is one before the first write.
type untouchedError struct{ error }

func (e untouchedError) Unwrap() error { return e.error }

// receive writes a slot as the order on r says, and reads it back. Nothing is written
// before the order and the tables are known to be whole, and to fit what is kept; the
// tables are written last.
func receive(ctx context.Context, dev device, o slot.Order, r io.Reader, sink event.Sink) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return untouchedError{fmt.Errorf("read the system: %w", err)}
	}
	w := writer{dev: dev, in: z, progress: newProgress(sink, event.Copy, "slot "+slot.Name(o.Slot), o)}
	if err := w.begin(o); err != nil {
		return untouchedError{err}
	}
	for _, e := range o.Extents {
		if e.Name == "" || e.Keep {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := w.file(e); err != nil {
			return err
		}
	}
	if err := w.end(); err != nil {
		return err
	}
	w.progress.end()
	return verify(ctx, dev, o.Extents, newProgress(sink, event.Copy, "read back", o))
}

// writer writes a slot.
type writer struct {
	dev      device
	in       io.Reader
	tables   tables
	progress *progress
}

// begin reads the tables, and refuses what must not be written.
func (w *writer) begin(o slot.Order) error {
	if o.Size != w.dev.Size() {
		return fmt.Errorf("slot %s has %d bytes, the system was made for %d", slot.Name(o.Slot), w.dev.Size(), o.Size)
	}
	for _, e := range o.Extents {
		if e.Name != "" {
			break
		}
		data := make([]byte, e.Size)
		if _, err := io.ReadFull(w.in, data); err != nil {
			return fmt.Errorf("read the tables: %w", err)
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != e.SHA256 {
			return errors.New("read the tables: they are not what was sent")
		}
		w.tables.extents, w.tables.data = append(w.tables.extents, e), append(w.tables.data, data)
	}
	if o.Slot != slot.A {
		return nil
	}
	if err := w.tables.mayReplace(w.dev); err != nil {
		return err
	}
	return w.checkKept(o)
}

// checkKept refuses an order that does not keep what has to be kept, or thinks that
// it is another.
func (w *writer) checkKept(o slot.Order) error {
	for _, name := range kept {
		i := slices.IndexFunc(o.Extents, func(e slot.Extent) bool { return e.Name == name })
		if i < 0 || !o.Extents[i].Keep {
			return fmt.Errorf("%s of slot A has to be kept, and was to be written", name)
		}
	}
	for _, e := range o.Extents {
		if !e.Keep {
			continue
		}
		if err := compare(w.dev, e, func(int64) {}); err != nil {
			return fmt.Errorf("%s of slot A, which is kept: %w", e.Name, err)
		}
	}
	return nil
}

// file writes an extent while it comes. What is wrong with it is found at its end:
// until all of the slot is right, it is never started.
func (w *writer) file(e slot.Extent) error {
	h := sha256.New()
	b := make([]byte, min(e.Size, chunkSize))
	for done := int64(0); done < e.Size; {
		b := b[:min(int64(len(b)), e.Size-done)]
		if _, err := io.ReadFull(w.in, b); err != nil {
			return fmt.Errorf("receive %s: %w", e.Name, err)
		}
		h.Write(b)
		if _, err := w.dev.WriteAt(b, e.Offset+done); err != nil {
			return fmt.Errorf("write %s: %w", e.Name, err)
		}
		done += int64(len(b))
		w.progress.add(int64(len(b)))
	}
	if hex.EncodeToString(h.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("receive %s: it is not what was sent", e.Name)
	}
	return nil
}

// end checks that the stream is whole, and writes the tables.
func (w *writer) end() error {
	switch n, err := io.Copy(io.Discard, w.in); { // to the checksum of the stream
	case err != nil:
		return fmt.Errorf("receive the system: %w", err)
	case n > 0:
		return fmt.Errorf("receive the system: there are %d bytes after its end", n)
	}
	if err := w.dev.Sync(); err != nil {
		return err
	}
	for i, e := range w.tables.extents {
		if _, err := w.dev.WriteAt(w.tables.data[i], e.Offset); err != nil {
			return fmt.Errorf("write the tables: %w", err)
		}
		w.progress.add(e.Size)
	}
	return w.dev.Sync()
}

// verify reads extents and compares their hashes.
func verify(ctx context.Context, dev device, extents []slot.Extent, p *progress) error {
	for _, e := range extents {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := compare(dev, e, p.add); err != nil {
			return fmt.Errorf("read %s back: %w", cmp.Or(e.Name, "the tables"), err)
		}
	}
	p.end()
	return nil
}

// compare reads an extent.
func compare(dev device, e slot.Extent, progress func(n int64)) error {
	h := sha256.New()
	b := make([]byte, min(e.Size, chunkSize))
	for done := int64(0); done < e.Size; {
		b := b[:min(int64(len(b)), e.Size-done)]
		if _, err := dev.ReadAt(b, e.Offset+done); err != nil {
			return err
		}
		h.Write(b)
		done += int64(len(b))
		progress(int64(len(b)))
	}
	if hex.EncodeToString(h.Sum(nil)) != e.SHA256 {
		return errAltered
	}
	return nil
}

// progress tells how far something is, some times a second.
type progress struct {
	sink event.Sink
	e    event.Event
	last time.Time
}

func newProgress(sink event.Sink, phase event.Phase, step string, o slot.Order) *progress {
	p := &progress{sink: sink, e: event.Event{Phase: phase, Step: step, State: event.Start}}
	for _, e := range o.Extents {
		p.e.Total += e.Size
	}
	sink.Emit(p.e)
	return p
}

func (p *progress) add(n int64) {
	p.e.Done += n
	if now := time.Now(); now.Sub(p.last) >= 200*time.Millisecond {
		p.last, p.e.State = now, event.Progress
		p.sink.Emit(p.e)
	}
}

func (p *progress) end() {
	p.e.State, p.e.Done = event.Done, p.e.Total
	p.sink.Emit(p.e)
}
