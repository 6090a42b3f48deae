package raspberry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/slot"
)

// ImageFile is the image of a card in a folder.
const ImageFile = "disk.img"

// Area is a part of a card, in bytes.
type Area struct {
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
}

// Card is card.json: what an image is.
type Card struct {
	Version int      `json:"version"`
	Item    string   `json:"item"`
	Arch    string   `json:"arch"`
	Kernel  string   `json:"kernel"` // uname -r
	Boards  []string `json:"boards"`
	// NonFree are the packages in it that are not free software.
	NonFree []string `json:"nonFree"`
	// Disk is the disk signature: partition 1 is PARTUUID=Disk-01.
	Disk      string         `json:"disk"`
	Slot      Area           `json:"slot"`
	StateArea Area           `json:"state"`
	StateUUID string         `json:"stateUUID"`
	Files     []builder.File `json:"files"`
}

// Write makes a card of a bundle: disk.img, lock.json and card.json in dir. What is
// there is replaced when all is made.
func Write(ctx context.Context, env builder.Env, bundle *builder.Bundle, spec Spec, dir string) (*Card, error) {
	if err := spec.Check(); err != nil {
		return nil, &builder.RefusedError{Err: err}
	}
	if bundle.Arch != arch {
		return nil, &builder.RefusedError{Err: fmt.Errorf("a Raspberry Pi needs arm64, the system is for %s", bundle.Arch)}
	}
	var card *Card
	err := tidied(dir, func(tmp string) (err error) {
		if card, err = write(ctx, env, bundle, spec, tmp); err != nil {
			return err
		}
		for _, name := range []string{ImageFile, builder.LockFile, builder.CardFile} { // the description last
			if err := os.Rename(filepath.Join(tmp, name), filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make a card of %s: %w", bundle.Item, err)
	}
	return card, nil
}

func write(ctx context.Context, env builder.Env, bundle *builder.Bundle, spec Spec, dir string) (*Card, error) {
	src, err := resolve(ctx, env, bundle)
	if err != nil {
		return nil, err
	}
	lock, err := src.lock(bundle)
	if err != nil {
		return nil, err
	}
	b := build{env: env, bundle: bundle, spec: spec, target: Target{Number: slot.A, Offset: slotStart, Size: slotSize}}
	defer b.close()
	err = b.run(append(b.gather(ctx, src), []step{
		{ImageFile, func() error {
			state, err := makeState(ctx, env, b.stateUUID(), nil)
			if err != nil {
				return fmt.Errorf("state: %w", err)
			}
			return b.write(ctx, filepath.Join(dir, ImageFile), state)
		}},
		{builder.LockFile, func() error { return create(filepath.Join(dir, builder.LockFile), lock.Write) }},
	}...))
	if err != nil {
		return nil, err
	}
	card := b.card(nonFree(lock))
	return card, b.describe(card, dir)
}

// step is a part of a build, for people.
type step struct {
	name string
	run  func() error
}

// gather are the steps that all slots have in common.
func (b *build) gather(ctx context.Context, src sources) []step {
	return []step{
		{"firmware and device trees", func() error {
			c, err := src.read(ctx, b.env)
			if err == nil {
				b.pieces, err = src.pieces(c, b.spec)
			}
			return err
		}},
		{"files of the card", func() error { return b.prepare(ctx) }},
	}
}

func (b *build) run(steps []step) error {
	for _, s := range steps {
		b.env.Sink.Emit(event.Event{Phase: event.Build, Step: s.name, State: event.Start})
		if err := s.run(); err != nil {
			return err
		}
		b.env.Sink.Emit(event.Event{Phase: event.Build, Step: s.name, State: event.Done})
	}
	return nil
}

// lock is that of the bundle with the packages of the card.
func (s sources) lock(bundle *builder.Bundle) (*deb.Lock, error) {
	f, err := os.Open(bundle.Path(builder.LockFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l, err := deb.ReadLock(f)
	if err != nil {
		return nil, err
	}
	for _, p := range s.archive.Lock(s.resolved).Packages {
		if !slices.ContainsFunc(l.Packages, func(q deb.LockedPackage) bool { return q.Name == p.Name && q.Version == p.Version }) {
			l.Packages = append(l.Packages, p)
		}
	}
	slices.SortFunc(l.Packages, func(a, b deb.LockedPackage) int {
		return strings.Compare(a.Name+" "+a.Version, b.Name+" "+b.Version)
	})
	return l, nil
}

func (b *build) card(nonFree []string) *Card {
	var boards []string
	for _, board := range Boards() {
		boards = append(boards, board.Name)
	}
	return &Card{
		Version: builder.Version, Item: b.bundle.Item, Arch: b.bundle.Arch, Kernel: b.bundle.Kernel, Boards: boards, NonFree: nonFree,
		Disk: fmt.Sprintf("%08x", b.disk()), StateUUID: b.stateUUID().String(),
		Slot: Area{slotStart, slotSize}, StateArea: Area{slotStart + slotSize, StateSize},
	}
}

// describe hashes the files and writes card.json.
func (b *build) describe(c *Card, dir string) error {
	for _, name := range []string{ImageFile, builder.LockFile} {
		f, err := describeFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if name == ImageFile {
			f.Parts = b.imageParts(f.Size)
		}
		c.Files = append(c.Files, f)
	}
	return create(filepath.Join(dir, builder.CardFile), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		return enc.Encode(c)
	})
}

// imageParts are those of the slot's files; the rest of the image is empty.
func (b *build) imageParts(size int64) []builder.Part {
	rest := size
	for _, p := range b.parts {
		rest -= p.Size
	}
	return append(slices.Clone(b.parts), builder.Part{Origin: "vic:free space", Size: rest})
}

func describeFile(path string) (builder.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return builder.File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return builder.File{Name: filepath.Base(path), Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

func create(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	return f.Close()
}

// section is a file that was opened, as long as the bundle says.
func section(f *os.File, size int64) *io.SectionReader { return io.NewSectionReader(f, 0, size) }

// Open reads card.json in dir, with the image's size checked.
func Open(dir string) (*Card, error) {
	raw, err := os.ReadFile(filepath.Join(dir, builder.CardFile))
	if err != nil {
		return nil, fmt.Errorf("open card: %w", err)
	}
	var c Card
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("open card %s: %w", dir, err)
	}
	if c.Version != builder.Version || len(c.Files) == 0 {
		return nil, fmt.Errorf("open card %s: version %d, this vic reads %d", dir, c.Version, builder.Version)
	}
	return &c, nil
}
