package deb

import (
	"context"
	"crypto/sha256"
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

// writeRelease describes a local repository. mmdebstrap chooses the essential
// packages by suite or code name, which apt knows from a Release file alone.
// The file is unsigned: what it lists was verified on the way in.
func (a *Archive) writeRelease(dir string, index []byte) error {
	text := fmt.Sprintf("Suite: %[1]s\nCodename: %[1]s\nDate: %[2]s\nArchitectures: %[3]s\nSHA256:\n %[4]x %[5]d Packages\n",
		a.cfg.Suite, a.release.date, a.cfg.Arch, sha256.Sum256(index), len(index))
	if err := writeAtomic(filepath.Join(dir, "Release"), []byte(text)); err != nil {
		return fmt.Errorf("make local repository: %w", err)
	}
	return nil
}
