package deb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// LocalRepository makes dir an apt repository of exactly pkgs, for the line
//
//	deb [trusted=yes] copy:DIR ./
//
// The .debs are fetched and verified first, then linked or copied. dir is
// readable for everyone, as apt's unprivileged user needs it, but the
// directories above it are the caller's.
func (a *Archive) LocalRepository(ctx context.Context, dir string, pkgs []Package) error {
	paths, err := a.Fetch(ctx, pkgs)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make local repository: %w", err)
	}
	var index strings.Builder
	for i := range pkgs {
		locked := pkgs[i].locked()
		name := debName(&pkgs[i])
		if err := linkOrCopy(paths[i], filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("make local repository: %w", err)
		}
		index.WriteString(string(locked.paragraph("./"+name)) + "\n\n")
	}
	if err := writeAtomic(filepath.Join(dir, "Packages"), []byte(index.String())); err != nil {
		return fmt.Errorf("make local repository: %w", err)
	}
	return a.writeRelease(dir, []byte(index.String()))
}

// debName is NAME_VERSION_ARCH.deb, with the epoch's colon escaped as apt does.
func debName(p *Package) string {
	return fmt.Sprintf("%s_%s_%s.deb", p.Name, strings.ReplaceAll(p.Version, ":", "%3a"), p.Arch)
}

// linkOrCopy prefers a hard link: unlike a symbolic one, it can be read by
// whoever may not enter the cache.
func linkOrCopy(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
