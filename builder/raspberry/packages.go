package raspberry

import (
	"archive/tar"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/nearest"
)

// Suite is the Debian release that cards are made of.
const Suite = "trixie"

const (
	firmwarePackage = "raspi-firmware"
	arch            = "arm64"
)

// sources are the packages of a card, beside those of its system.
type sources struct {
	archive  *deb.Archive
	resolved []deb.Package // for the lock
	firmware deb.Package
	kernel   deb.Package
}

// resolve finds the packages.
func resolve(ctx context.Context, env builder.Env, b *builder.Bundle) (s sources, err error) {
	if s.archive, err = env.Archive(ctx, Suite, b.Arch); err != nil {
		return s, err
	}
	kernel := "linux-image-" + b.Kernel
	if s.resolved, err = s.archive.Resolve(ctx, deb.Request{Packages: []string{kernel, firmwarePackage}}); err != nil {
		return s, &builder.RefusedError{Err: err}
	}
	for name, p := range map[string]*deb.Package{firmwarePackage: &s.firmware, kernel: &s.kernel} {
		i := slices.IndexFunc(s.resolved, func(p deb.Package) bool { return p.Name == name })
		if i < 0 {
			return s, fmt.Errorf("the archive has no package %s", name)
		}
		*p = s.resolved[i]
	}
	return s, nil
}

// nonFree are the packages of a lock whose terms are not those of free software.
func nonFree(l *deb.Lock) []string {
	list := []string{}
	for _, p := range l.Packages {
		if strings.HasPrefix(p.Filename, "pool/non-free") {
			list = append(list, p.Name+"="+p.Version)
		}
	}
	return list
}

// Announce names, of the packages of a card of a release, those that are not free,
// before anything is fetched.
func Announce(ctx context.Context, env builder.Env, suite string, packages []string) error {
	a, err := env.Archive(ctx, suite, arch)
	if err != nil {
		return err
	}
	resolved, err := a.Resolve(ctx, deb.Request{Packages: append(slices.Clone(packages), firmwarePackage)})
	if err != nil {
		return &builder.RefusedError{Err: err}
	}
	env.Sink.Emit(event.Event{Phase: event.Build, Step: "firmware that is not free", State: event.Done, Message: strings.Join(nonFree(a.Lock(resolved)), " ")})
	return nil
}

// content are the files of the packages: firmware, overlays, device trees.
type content struct {
	firmware map[string][]byte // by name
	overlays map[string][]byte // by name without .dtbo
	trees    map[string][]byte
}

func (s sources) read(ctx context.Context, env builder.Env) (content, error) {
	c := content{firmware: map[string][]byte{}, overlays: map[string][]byte{}}
	err := s.each(ctx, s.firmware, func(name string, data []byte) {
		switch rel, ok := strings.CutPrefix(name, "usr/lib/raspi-firmware/"); {
		case !ok:
		case path.Dir(rel) == ".":
			c.firmware[rel] = data
		case strings.HasSuffix(rel, ".dtbo"):
			c.overlays[strings.TrimSuffix(path.Base(rel), ".dtbo")] = data
		}
	})
	if err != nil {
		return c, err
	}
	c.trees, err = kept(env, "trees-"+s.kernel.SHA256, func() (map[string][]byte, error) {
		trees := map[string][]byte{}
		return trees, s.each(ctx, s.kernel, func(name string, data []byte) {
			if path.Base(path.Dir(name)) == "broadcom" && strings.HasSuffix(name, ".dtb") {
				trees[path.Base(name)] = data
			}
		})
	})
	return c, err
}

// each calls f with the files of a package.
func (s sources) each(ctx context.Context, p deb.Package, f func(name string, data []byte)) error {
	paths, err := s.archive.Fetch(ctx, []deb.Package{p})
	if err != nil {
		return err
	}
	tree := deb.NewTree()
	if err := tree.AddDebs(ctx, paths, []deb.Package{p}, nil); err != nil {
		return fmt.Errorf("unpack %s: %w", p.Name, err)
	}
	return tree.Walk(func(name string, e *deb.Entry) error {
		if e.Header.Typeflag == tar.TypeReg {
			f(name, e.Data)
		}
		return nil
	})
}

// piece is a file of a slot.
type piece struct {
	name, origin string
	data         []byte
}

// pieces are what a slot has of the packages; all that is missing is an error.
func (s sources) pieces(c content, spec Spec) ([]piece, error) {
	var list []piece
	firmware, kernel := "package:"+s.firmware.String(), "package:"+s.kernel.String()
	for _, name := range firmwareFiles(spec.Config) {
		data, ok := c.firmware[name]
		if !ok {
			return nil, fmt.Errorf("%s has no %s", s.firmware.String(), name)
		}
		list = append(list, piece{name, firmware, data})
	}
	for _, b := range Boards() {
		data, ok := c.trees[b.DeviceTree]
		if !ok {
			return nil, fmt.Errorf("%s has no %s, for %s", s.kernel.String(), b.DeviceTree, b.Name)
		}
		list = append(list, piece{b.DeviceTree, kernel, data})
	}
	for _, o := range spec.Overlays {
		name, _, _ := strings.Cut(o, ",")
		data, ok := c.overlays[name]
		if !ok {
			return nil, &builder.RefusedError{Err: c.noOverlay(name)}
		}
		list = append(list, piece{"overlays/" + name + ".dtbo", firmware, data})
	}
	return list, nil
}

func (c content) noOverlay(name string) error {
	var known []string
	for k := range c.overlays {
		known = append(known, k)
	}
	slices.Sort(known)
	if near := nearest.Name(name, known); near != "" {
		return fmt.Errorf("overlay %s is not among Debian's: did you mean %s?", name, near)
	}
	return fmt.Errorf("overlay %s is not among Debian's, which are %s", name, strings.Join(known, ", "))
}
