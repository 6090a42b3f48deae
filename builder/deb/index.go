package deb

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"pault.ag/go/debian/version"
)

// Package is one binary package of the archive.
type Package struct {
	Name     string
	Version  string
	Arch     string // the package's own: the archive's architecture or "all"
	Filename string // path below the mirror
	SHA256   string // of the .deb, lower-case hex
	Size     int64  // of the .deb, bytes
	// InstalledSize is the claimed size when unpacked, in bytes.
	InstalledSize int64
	Source        string // name of the source package
	Section       string
	Priority      string
	Essential     bool

	stanza  stanza
	version version.Version
}

// String is name=version, as apt-get takes it.
func (p *Package) String() string { return p.Name + "=" + p.Version }

// Field is the value of a field of the package's paragraph in the archive's
// index, such as "Depends"; empty when it has none.
func (p *Package) Field(name string) string { return p.stanza.get(name) }

// candidate is a package in the index; the rest of the stanza is read when the
// resolver gets to it.
type candidate struct {
	name     string
	version  version.Version
	stanza   stanza
	required bool // Essential: yes or Priority: required
}

// provision says that a candidate provides a virtual package.
type provision struct {
	by  *candidate
	ver version.Version // empty when the provision has no version
}

// index finds candidates by name and by what they provide. Lists of a name are
// sorted, newest version first.
type index struct {
	arch     string
	byName   map[string][]*candidate
	provides map[string][]provision
}

func newIndex(arch string) *index {
	return &index{arch: arch, byName: map[string][]*candidate{}, provides: map[string][]provision{}}
}

// add reads the text of a Packages file.
func (x *index) add(text []byte) error {
	if !isText(text) {
		return fmt.Errorf("parse Packages: binary data")
	}
	for s := range stanzas(text) {
		if err := x.addStanza(s); err != nil {
			return fmt.Errorf("parse Packages: %w", err)
		}
	}
	return nil
}

func (x *index) addStanza(s stanza) error {
	c := candidate{stanza: s}
	var ver, arch, provides string
	for name, value := range s.fields() {
		switch name {
		case "Package":
			c.name = value
		case "Version":
			ver = value
		case "Architecture":
			arch = value
		case "Provides":
			provides = value
		case "Essential":
			c.required = c.required || value == "yes"
		case "Priority":
			c.required = c.required || value == "required"
		}
	}
	if !validPackageName(c.name) {
		return fmt.Errorf("%q is not a package name", c.name)
	}
	if arch != x.arch && arch != "all" {
		return nil
	}
	var err error
	if c.version, err = parseVersion(ver); err != nil {
		return fmt.Errorf("package %s: %w", c.name, err)
	}
	x.byName[c.name] = append(x.byName[c.name], &c)
	return x.addProvides(&c, provides)
}

func (x *index) addProvides(c *candidate, field string) error {
	alts, err := parseDepends(field)
	if err != nil {
		return fmt.Errorf("package %s: Provides: %w", c.name, err)
	}
	for _, a := range alts {
		x.provides[a[0].name] = append(x.provides[a[0].name], provision{c, a[0].ver})
	}
	return nil
}

// finish sorts; to be called once after the last add.
func (x *index) finish() {
	for _, list := range x.byName {
		slices.SortStableFunc(list, func(a, b *candidate) int { return compareVersions(b.version, a.version) })
	}
	for _, list := range x.provides {
		slices.SortStableFunc(list, comparePreference)
	}
}

// comparePreference orders providers of a virtual package as apt prefers them:
// by priority, then (apt takes the order of its cache) by name.
func comparePreference(a, b provision) int {
	if d := priorityRank(a.by) - priorityRank(b.by); d != 0 {
		return d
	}
	if d := strings.Compare(a.by.name, b.by.name); d != 0 {
		return d
	}
	return compareVersions(b.by.version, a.by.version)
}

func priorityRank(c *candidate) int {
	order := []string{"required", "important", "standard", "optional", "extra"}
	if i := slices.Index(order, c.stanza.get("Priority")); i >= 0 {
		return i
	}
	return len(order)
}

// required lists the names of all required packages, sorted.
func (x *index) required() []string {
	var names []string
	for name, list := range x.byName {
		if list[0].required {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// toPackage reads the rest of a candidate's stanza.
func (c *candidate) toPackage() (Package, error) {
	s := c.stanza
	p := Package{
		Name: c.name, Version: s.get("Version"), Arch: s.get("Architecture"),
		Filename: s.get("Filename"), SHA256: strings.ToLower(s.get("SHA256")),
		Section: s.get("Section"), Priority: s.get("Priority"),
		Essential: s.get("Essential") == "yes",
		stanza:    s, version: c.version,
	}
	p.Source, _, _ = strings.Cut(s.get("Source"), " ")
	if p.Source == "" {
		p.Source = p.Name
	}
	var err error
	if p.Size, err = strconv.ParseInt(s.get("Size"), 10, 64); err != nil {
		return p, fmt.Errorf("package %s: Size: %w", c.name, err)
	}
	if kib := s.get("Installed-Size"); kib != "" {
		n, err := strconv.ParseUint(kib, 10, 40)
		if err != nil {
			return p, fmt.Errorf("package %s: Installed-Size: %w", c.name, err)
		}
		p.InstalledSize = int64(n) << 10
	}
	return p, p.check()
}

// maxDeb bounds the size of one .deb.
const maxDeb = 8 << 30

func (p *Package) check() error {
	switch {
	case p.Size <= 0 || p.Size > maxDeb:
		return fmt.Errorf("package %s: size of %d bytes is out of range", p.Name, p.Size)
	case !validHash(p.SHA256):
		return fmt.Errorf("package %s: %q is not a SHA-256", p.Name, p.SHA256)
	case p.Filename == "" || path.Clean("/" + p.Filename)[1:] != strings.TrimPrefix(p.Filename, "./"):
		return fmt.Errorf("package %s: file name %q is not a clean relative path", p.Name, p.Filename)
	}
	return nil
}

func validHash(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// versioned says whether the provision has a version; a version is never
// empty.
func (p provision) versioned() bool { return p.ver != version.Version{} }
