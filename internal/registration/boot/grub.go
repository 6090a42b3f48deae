package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// GrubVariable is a variable in GRUB's environment block.
type GrubVariable struct {
	// File is the block: /boot/grub/grubenv, or grub2.
	File  locate.Place `json:"file"`
	Name  string       `json:"name"`
	Value string       `json:"value"`
	// OneShot: GRUB empties it when it acts on it, as 00_header does with
	// next_entry.
	OneShot bool `json:"oneShot,omitempty"`
	// Block is the whole block as it was, and After as it is then; an empty Block:
	// there was no file.
	Block string `json:"block"`
	After string `json:"after"`
}

// NextEntry has GRUB start a menu entry once, as grub-reboot(8) does.
func NextEntry(file, entry string) *GrubVariable {
	return &GrubVariable{File: locate.Place{Host: file}, Name: "next_entry", Value: entry, OneShot: true}
}

// Kind implements registration.Change.
func (g *GrubVariable) Kind() string { return GrubKind }

func (g *GrubVariable) String() string {
	return fmt.Sprintf("GRUB variable %s set to %q in %s", g.Name, g.Value, g.File.Host)
}

// Validate refuses a record that no Prepare has made.
func (g *GrubVariable) Validate() error {
	_, err := parseBlock(g.After)
	if err == nil && g.Block != "" {
		_, err = parseBlock(g.Block)
	}
	return err
}

// Prepare implements registration.Change.
func (g *GrubVariable) Prepare(_ context.Context, env *registration.Env) (err error) {
	if g.Name == "" || strings.ContainsAny(g.Name, "=#\n\\") {
		return fmt.Errorf("%q is no name of a GRUB variable", g.Name)
	}
	if g.File, err = locate.OfPath(env.Root, g.File.Host); err != nil {
		return err
	}
	if g.Block, err = g.read(env); err != nil {
		return err
	}
	var b block
	if g.Block != "" {
		if b, err = parseBlock(g.Block); err != nil {
			return fmt.Errorf("read %s: %w", g.File.Host, err)
		}
	}
	g.After, err = b.set(g.Name, &g.Value).encode()
	return err
}

// read returns the file; empty when there is none.
func (g *GrubVariable) read(env *registration.Env) (text string, err error) {
	err = g.File.With(env.Root, false, func(path string) error {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && len(b) != BlockSize {
			return fmt.Errorf("read %s: %d bytes are no GRUB environment block", path, len(b))
		}
		text = string(b)
		return err
	})
	return text, err
}

// Apply implements registration.Change.
func (g *GrubVariable) Apply(_ context.Context, env *registration.Env) error {
	return g.write(env, g.After)
}

// write writes in place, to the sectors that GRUB knows.
func (g *GrubVariable) write(env *registration.Env, text string) error {
	return g.File.With(env.Root, true, func(path string) error {
		env.Note("write " + path)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte(text), 0)
		if err == nil {
			err = f.Sync()
		}
		if err := errors.Join(err, f.Close()); err != nil || g.Block != "" {
			return err
		}
		return syncDir(filepath.Dir(path))
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Check implements registration.Change.
func (g *GrubVariable) Check(_ context.Context, env *registration.Env) (registration.Standing, error) {
	text, err := g.read(env)
	if err != nil {
		return registration.Standing{}, err
	}
	switch {
	case text == g.Block:
		return registration.Standing{Is: registration.Before}, nil
	case text == g.After:
		return registration.Standing{Is: registration.Stands}, nil
	case text == "":
		return registration.Standingf(registration.Changed, "somebody removed %s", g.File.Host), nil
	case g.torn(text):
		return registration.Standingf(registration.Partly, "%s was written in part", g.File.Host), nil
	}
	now, err := parseBlock(text)
	if err != nil {
		return registration.Standingf(registration.Changed, "%v", err), nil
	}
	return g.compare(now), nil
}

// compare looks at the variable alone: others have changed other ones.
func (g *GrubVariable) compare(now block) registration.Standing {
	value, before := now.get(g.Name), g.before()
	switch {
	case equal(value, before):
		return registration.Standing{Is: registration.Before}
	case equal(value, &g.Value):
		return registration.Standing{Is: registration.Stands}
	case g.OneShot && (value == nil || *value == ""):
		if before == nil && value != nil {
			return registration.Standingf(registration.Partly, "it has done its work, and is left empty")
		}
		return registration.Standingf(registration.Before, "it has done its work")
	case value == nil:
		return registration.Standingf(registration.Changed, "somebody removed it")
	}
	return registration.Standingf(registration.Changed, "somebody set it to %q", *value)
}

// before is the value that the variable had; nil: it was not set.
func (g *GrubVariable) before() *string {
	if g.Block == "" {
		return nil
	}
	b, err := parseBlock(g.Block)
	if err != nil {
		return nil // Prepare refused it
	}
	return b.get(g.Name)
}

func equal(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// torn says whether a power cut left sectors of both blocks.
func (g *GrubVariable) torn(text string) bool {
	if len(g.Block) != BlockSize || len(text) != BlockSize {
		return false
	}
	for at := 0; at < BlockSize; at += 512 {
		if s := text[at : at+512]; s != g.Block[at:at+512] && s != g.After[at:at+512] {
			return false
		}
	}
	return true
}

// Revert implements registration.Change.
func (g *GrubVariable) Revert(_ context.Context, env *registration.Env) error {
	text, err := g.read(env)
	if err != nil {
		return err
	}
	if text != g.After && !g.torn(text) {
		now, err := parseBlock(text)
		if err != nil {
			return fmt.Errorf("read %s: %w", g.File.Host, err)
		}
		after := now.set(g.Name, g.before())
		if len(after) > 0 || g.Block != "" {
			if text, err = after.encode(); err != nil {
				return err
			}
			return g.write(env, text)
		}
	}
	if g.Block != "" {
		return g.write(env, g.Block)
	}
	return g.File.With(env.Root, true, func(path string) error {
		env.Note("remove " + path)
		if err := os.Remove(path); err != nil {
			return err
		}
		return syncDir(filepath.Dir(path))
	})
}
