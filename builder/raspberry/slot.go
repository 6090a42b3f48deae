package raspberry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk/image/fat"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/slot"
)

// CardType is what cards of this package are, in their manifests.
const CardType = "raspberry-pi"

// Target is a slot of a card.
type Target struct {
	Disk         uint32 // the disk signature; 0: the card is made, and so is that
	Number       int    // slot.A or slot.B
	Offset, Size int64  // bytes, from the beginning of the card
	// FirstStage and Autoboot are what slot A has, and keeps. Nil: it is new.
	FirstStage, Autoboot []byte
}

// choice is the content of autoboot.txt.
func (t Target) choice() []byte {
	if t.Autoboot != nil {
		return t.Autoboot
	}
	return slot.Choice{Default: slot.A}.Encode()
}

// addManifest adds slot.json, which is about all files that are there. It comes last,
// and is small: the places of the others do not depend on it.
func (b *build) addManifest(system string) error {
	m := slot.Manifest{Version: slot.Version, Item: b.bundle.Item, Type: CardType, Arch: b.bundle.Arch, Kernel: b.bundle.Kernel, System: system}
	for _, f := range b.files {
		if f.Path == slot.AutobootFile {
			continue
		}
		sum, err := hashOf(f.Source, 0, f.Source.Size())
		if err != nil {
			return fmt.Errorf("read %s: %w", f.Path, err)
		}
		m.Files = append(m.Files, slot.File{Name: f.Path, Size: f.Source.Size(), SHA256: sum})
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	b.add(slot.ManifestFile, own, append(text, '\n'))
	return nil
}

func hashOf(r io.ReaderAt, offset, size int64) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(r, offset, size))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// Slot is the content of a slot, in a file with holes.
type Slot struct {
	Path     string
	Order    slot.Order
	Manifest slot.Manifest
}

// WriteSlot makes the content of one slot of a card that there is, of the same bundle
// that Write would make a card of, in a new file. What does not fit is a
// RefusedError.
func WriteSlot(ctx context.Context, env builder.Env, bundle *builder.Bundle, spec Spec, target Target, path string) (*Slot, error) {
	if err := spec.Check(); err != nil {
		return nil, &builder.RefusedError{Err: err}
	}
	if bundle.Arch != arch {
		return nil, &builder.RefusedError{Err: fmt.Errorf("a Raspberry Pi needs arm64, the system is for %s", bundle.Arch)}
	}
	src, err := resolve(ctx, env, bundle)
	if err != nil {
		return nil, err
	}
	b := build{env: env, bundle: bundle, spec: spec, target: target}
	defer b.close()
	var made *Slot
	err = b.run(append(b.gather(ctx, src), step{"slot " + slot.Name(target.Number), func() (err error) {
		made, err = b.slot(path)
		return err
	}}))
	if errors.Is(err, fat.ErrTooSmall) {
		err = &builder.RefusedError{Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("make slot %s of %s: %w", slot.Name(target.Number), bundle.Item, err)
	}
	env.Sink.Emit(event.Event{Phase: event.Build, State: event.Done, Message: made.Manifest.System[:12]})
	return made, nil
}

// slot writes the file, and says what is where.
func (b *build) slot(path string) (_ *Slot, err error) {
	volume, err := b.volume()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := errors.Join(f.Truncate(b.target.Size), volume.WriteAt(f, 0)); err != nil {
		return nil, err
	}
	s := &Slot{Path: path, Order: slot.Order{Version: slot.Version, Disk: fmt.Sprintf("%08x", b.disk()), Slot: b.target.Number, Size: b.target.Size}}
	for _, p := range volume.Pieces() {
		e := slot.Extent{Name: p.Path, Offset: p.Offset, Size: p.Size, Keep: b.kept(p.Path)}
		if e.SHA256, err = hashOf(f, p.Offset, p.Size); err != nil {
			return nil, err
		}
		s.Order.Extents = append(s.Order.Extents, e)
	}
	if err := s.Order.Validate(); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.NewSectionReader(b.files[len(b.files)-1].Source, 0, b.files[len(b.files)-1].Source.Size()))
	if err == nil {
		s.Manifest, err = slot.DecodeManifest(text)
	}
	return s, err
}

// kept says whether a file stays as it is on the card: in slot A, those that the
// firmware needs to find slot B.
func (b *build) kept(name string) bool {
	return b.target.Number == slot.A && (name == slot.AutobootFile || name == slot.FirstStageFile)
}
