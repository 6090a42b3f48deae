package deb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

// LockVersion is the version of lock.json that this package writes and reads.
const LockVersion = 1

// Lock is lock.json: exactly which packages a build took. It names no mirror,
// and it is enough to resolve and fetch the same packages again, even when the
// archive has moved on (from a mirror that still has the files, or the cache).
type Lock struct {
	LockVersion int      `json:"lockVersion"`
	Suite       string   `json:"suite"`
	Arch        string   `json:"arch"`
	Components  []string `json:"components"`
	// Date and InRelease (SHA-256) tell which state of the archive it was.
	Date      string          `json:"date"`
	InRelease string          `json:"inRelease"`
	Packages  []LockedPackage `json:"packages"` // sorted by name
}

// LockedPackage is a package in a Lock.
type LockedPackage struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Arch     string `json:"arch"`
	Filename string `json:"filename"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	// Control are the lines of the package's paragraph in the index, without
	// what the fields above say: its dependencies, priority and so on.
	Control []string `json:"control"`
}

// inLock are fields that LockedPackage has itself, or that are not needed.
var inLock = map[string]bool{
	"package": true, "version": true, "architecture": true, "filename": true, "size": true, "sha256": true,
	"md5sum": true, "sha1": true, "sha512": true,
}

// Lock records pkgs, once each.
func (a *Archive) Lock(pkgs []Package) *Lock {
	l := &Lock{
		LockVersion: LockVersion, Suite: a.cfg.Suite, Arch: a.cfg.Arch, Components: a.cfg.Components,
		Date: a.release.date, InRelease: a.release.sha256, Packages: []LockedPackage{},
	}
	seen := map[string]bool{}
	for i := range pkgs {
		if key := pkgs[i].String(); !seen[key] {
			seen[key] = true
			l.Packages = append(l.Packages, pkgs[i].locked())
		}
	}
	sort.Slice(l.Packages, func(i, j int) bool {
		a, b := &l.Packages[i], &l.Packages[j]
		if a.Name != b.Name {
			return a.Name < b.Name
		}
		return a.Version < b.Version
	})
	return l
}

func (p *Package) locked() LockedPackage {
	l := LockedPackage{Name: p.Name, Version: p.Version, Arch: p.Arch, Filename: p.Filename, Size: p.Size, SHA256: p.SHA256}
	rest := string(p.stanza)
	for rest != "" {
		var field string
		field, rest = cutField(rest)
		name, _, _ := strings.Cut(field, ":")
		if !inLock[strings.ToLower(name)] {
			l.Control = append(l.Control, strings.Split(strings.TrimRight(field, "\n"), "\n")...)
		}
	}
	return l
}

// paragraph is the package's paragraph for an index, with its own file name.
func (l *LockedPackage) paragraph(filename string) stanza {
	lines := append([]string{"Package: " + l.Name, "Version: " + l.Version, "Architecture: " + l.Arch}, l.Control...)
	lines = append(lines, "Filename: "+filename, fmt.Sprintf("Size: %d", l.Size), "SHA256: "+l.SHA256)
	return stanza(strings.Join(lines, "\n"))
}

// Write encodes the lock; the same lock gives the same bytes.
func (l *Lock) Write(w io.Writer) error {
	if err := l.Validate(); err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(l); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	return nil
}

// maxLock bounds lock.json.
const maxLock = 64 << 20

// ReadLock reads and validates a lock.
func ReadLock(r io.Reader) (*Lock, error) {
	limited := &io.LimitedReader{R: r, N: maxLock}
	dec := json.NewDecoder(limited)
	dec.DisallowUnknownFields()
	var l Lock
	if err := dec.Decode(&l); err != nil {
		return nil, fmt.Errorf("read lock: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("read lock: more after the end of the object")
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	return &l, nil
}

// Validate checks everything that can be checked without the packages.
func (l *Lock) Validate() error {
	switch {
	case l.LockVersion != LockVersion:
		return fmt.Errorf("validate lock: version %d, this vic reads %d", l.LockVersion, LockVersion)
	case !validToken(l.Suite):
		return fmt.Errorf("validate lock: %q is not a suite name", l.Suite)
	case !validToken(l.Arch):
		return fmt.Errorf("validate lock: %q is not an architecture name", l.Arch)
	case l.InRelease != "" && !validHash(l.InRelease):
		return fmt.Errorf("validate lock: inRelease %q is not a SHA-256", l.InRelease)
	}
	seen := map[string]bool{}
	for i := range l.Packages {
		p := &l.Packages[i]
		if err := p.validate(l.Arch); err != nil {
			return fmt.Errorf("validate lock: %w", err)
		}
		if key := p.Name + "=" + p.Version; seen[key] {
			return fmt.Errorf("validate lock: package %s is listed twice", key)
		} else {
			seen[key] = true
		}
	}
	return nil
}

func (l *LockedPackage) validate(arch string) error {
	for _, line := range l.Control {
		if strings.TrimSpace(line) == "" || strings.ContainsAny(line, "\n\r\x00") {
			return fmt.Errorf("package %s: control line %.60q is not one line", l.Name, line)
		}
	}
	if l.Arch != arch && l.Arch != "all" {
		return fmt.Errorf("package %s is for architecture %q", l.Name, l.Arch)
	}
	s := l.paragraph(l.Filename)
	if err := s.check(); err != nil {
		return fmt.Errorf("package %s: %w", l.Name, err)
	}
	x := newIndex(arch)
	if err := x.addStanza(s); err != nil {
		return err
	}
	p, err := x.byName[l.Name][0].toPackage()
	if err == nil && (p.Version != l.Version || p.SHA256 != l.SHA256 || p.Filename != l.Filename) {
		err = fmt.Errorf("package %s: its fields do not stay as they are in a paragraph", l.Name)
	}
	return err
}

func (l *Lock) release() release { return release{date: l.Date, sha256: l.InRelease} }

// index makes the locked packages the whole archive.
func (l *Lock) index() (*index, error) {
	x := newIndex(l.Arch)
	for i := range l.Packages {
		if err := x.addStanza(l.Packages[i].paragraph(l.Packages[i].Filename)); err != nil {
			return nil, err
		}
	}
	x.finish()
	return x, nil
}
