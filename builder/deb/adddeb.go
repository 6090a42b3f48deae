package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// unpacked is the content of one .deb, in the order of its data.tar.
type unpacked struct {
	control stanza
	entries []Entry // hard links are still tar.TypeLink
}

// AddDeb unpacks the .deb at path into the tree, as dpkg --unpack would into an
// empty root: names below /bin, /lib*, /sbin land in usr, links that earlier
// packages made are followed inside the tree, and a file that another package
// has too is an error unless one of them Replaces the other.
func (t *Tree) AddDeb(path string, pkg string, rules *Trim) error {
	u, err := unpackDeb(path)
	if err == nil {
		err = t.merge(u, pkg, rules)
	}
	if err != nil {
		return fmt.Errorf("unpack package %s (%s): %w", pkg, path, err)
	}
	return nil
}

// AddDebs is AddDeb for each of pkgs, whose .debs are at paths. Decompression,
// which takes most of the time, uses all processors; the result is that of
// adding one after the other.
func (t *Tree) AddDebs(ctx context.Context, paths []string, pkgs []Package, rules *Trim) error {
	if len(paths) != len(pkgs) {
		return fmt.Errorf("unpack packages: %d paths for %d packages", len(paths), len(pkgs))
	}
	results := make([]chan unpacked, len(pkgs))
	for i := range results {
		results[i] = make(chan unpacked, 1)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU() + 1) // one merges, and mostly waits
	g.Go(func() error {
		for i, pkg := range pkgs {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case u := <-results[i]:
				if err := t.merge(u, pkg.Name, rules); err != nil {
					return fmt.Errorf("unpack package %s (%s): %w", pkg.Name, paths[i], err)
				}
			}
		}
		return nil
	})
	for i, pkg := range pkgs {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			u, err := unpackDeb(paths[i])
			if err != nil {
				return fmt.Errorf("unpack package %s (%s): %w", pkg.Name, paths[i], err)
			}
			results[i] <- u
			return nil
		})
	}
	return g.Wait()
}

func unpackDeb(path string) (unpacked, error) {
	f, err := os.Open(path)
	if err != nil {
		return unpacked{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return unpacked{}, err
	}
	return unpackReader(f, st.Size())
}

func unpackReader(r io.ReaderAt, size int64) (unpacked, error) {
	var u unpacked
	m, err := readMembers(r, size)
	if err != nil {
		return u, err
	}
	if u.control, err = readControl(m.control); err != nil {
		return u, fmt.Errorf("control member: %w", err)
	}
	err = Extract(r, size, func(h *tar.Header, r io.Reader) error {
		e := Entry{Header: *h}
		if h.Typeflag == tar.TypeReg {
			var b bytes.Buffer
			// The size is only a claim: do not give it all the memory at once.
			b.Grow(int(min(h.Size, 16<<20)))
			if _, err := io.Copy(&b, r); err != nil {
				return err
			}
			e.Data = b.Bytes()
		}
		u.entries = append(u.entries, e)
		return nil
	})
	return u, err
}

// merge adds what one .deb unpacked to.
func (t *Tree) merge(u unpacked, pkg string, rules *Trim) error {
	replaces, err := parseDepends(u.control.get("Replaces"))
	if err != nil {
		return fmt.Errorf("parse Replaces: %w", err)
	}
	t.replaces[pkg] = replaces
	t.joinLinks(u.entries)
	for i := range u.entries {
		e := &u.entries[i]
		name, kind := e.Header.Name, e.Header.Typeflag
		e.Origin = pkg
		if rules.Excludes(name, kind) {
			continue
		}
		if err := t.mergeEntry(mergedName(name, kind), e); err != nil {
			return fmt.Errorf("entry %q: %w", name, err)
		}
	}
	return nil
}

// joinLinks turns hard links into further names of the same inode, so that it
// does not matter which of the names rules leave out.
func (t *Tree) joinLinks(entries []Entry) {
	byName := map[string]*Entry{}
	for i := range entries {
		e := &entries[i]
		name := e.Header.Name
		byName[name] = e
		if e.Header.Typeflag != tar.TypeLink {
			continue
		}
		target := byName[e.Header.Linkname] // Extract has seen to it
		if target.Inode == 0 {
			t.inodes++
			target.Inode = t.inodes
		}
		e.Header, e.Data, e.Inode = target.Header, target.Data, target.Inode
		e.Header.Name = name
	}
}

// mergeEntry applies dpkg's rules for what is there already.
func (t *Tree) mergeEntry(name string, e *Entry) error {
	real, err := t.realParent(name, e)
	if err != nil {
		return err
	}
	old, there := t.entries[real]
	switch {
	case !there:
	case e.IsDir() && (old.IsDir() || old.Header.Typeflag == tar.TypeSymlink):
		return nil // the first one stays; a link to a directory may stand for it
	case old.IsDir() && e.Header.Typeflag == tar.TypeSymlink:
		return nil
	case old.IsDir() != e.IsDir():
		return fmt.Errorf("a directory and a file of the same name (from %s and %s)", old.Origin, e.Origin)
	case sameEntry(old, e) || t.replacesPackage(old.Origin, e.Origin):
		return nil
	case !t.replacesPackage(e.Origin, old.Origin):
		return fmt.Errorf("package %s has it too", old.Origin)
	}
	t.put(real, *e)
	return nil
}

// replacesPackage: versions are not looked at, as only one of the two is at
// hand and both are from one archive.
func (t *Tree) replacesPackage(winner, loser string) bool {
	return slices.ContainsFunc(t.replaces[winner], func(a alternatives) bool { return a[0].name == loser })
}

func sameEntry(a, b *Entry) bool {
	return a.Header.Typeflag == b.Header.Typeflag && a.Header.Linkname == b.Header.Linkname &&
		a.Header.Mode == b.Header.Mode && bytes.Equal(a.Data, b.Data)
}
