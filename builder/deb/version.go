package deb

import (
	"fmt"
	"strings"

	"pault.ag/go/debian/version"
)

// compareVersions orders two Debian versions as dpkg does (Debian Policy
// §5.6.12): negative when a is older than b.
func compareVersions(a, b version.Version) int { return version.Compare(a, b) }

func parseVersion(s string) (version.Version, error) {
	v, err := version.Parse(s)
	if err != nil {
		return v, fmt.Errorf("version %q: %w", s, err)
	}
	return v, nil
}

// relation is one alternative of a dependency: a package name with an optional
// version restriction.
type relation struct {
	name string
	arch string // qualifier after ':', often "any"; empty for none
	op   string // one of << <= = >= >>, or empty
	ver  version.Version
}

func (r relation) String() string {
	s := r.name
	if r.arch != "" {
		s += ":" + r.arch
	}
	if r.op != "" {
		s += " (" + r.op + " " + r.ver.String() + ")"
	}
	return s
}

// allows says whether a package of version v satisfies the restriction.
func (r relation) allows(v version.Version) bool {
	c := 0
	if r.op != "" {
		c = compareVersions(v, r.ver)
	}
	switch r.op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	case ">>":
		return c > 0
	}
	return true
}

// alternatives is one comma-separated part of a dependency field: any of them
// will do, the first is preferred.
type alternatives []relation

func (a alternatives) String() string {
	words := make([]string, len(a))
	for i, r := range a {
		words[i] = r.String()
	}
	return strings.Join(words, " | ")
}

// maxDepends bounds a dependency field; the longest in Debian have 20 KB.
const maxDepends = 1 << 20

// parseDepends reads a dependency field of a binary package (Debian Policy
// §7.1): "a (>= 1), b | c:any". Build profiles and architecture lists belong
// to source packages and are refused.
func parseDepends(field string) ([]alternatives, error) {
	if len(field) > maxDepends {
		return nil, fmt.Errorf("dependency field of %d bytes is too long", len(field))
	}
	var all []alternatives
	for _, part := range strings.Split(field, ",") {
		if strings.TrimSpace(part) == "" {
			continue // a trailing comma is allowed
		}
		var alts alternatives
		for _, alt := range strings.Split(part, "|") {
			r, err := parseRelation(alt)
			if err != nil {
				return nil, fmt.Errorf("dependency %q: %w", strings.TrimSpace(part), err)
			}
			alts = append(alts, r)
		}
		all = append(all, alts)
	}
	return all, nil
}

func parseRelation(s string) (relation, error) {
	s = strings.TrimSpace(s)
	name, rest, versioned := strings.Cut(s, "(")
	name, arch, _ := strings.Cut(strings.TrimSpace(name), ":")
	r := relation{name: name, arch: arch}
	if !validPackageName(name) {
		return r, fmt.Errorf("%q is not a package name", name)
	}
	if strings.Contains(s, ":") && !versioned && arch == "" || arch != "" && !validToken(arch) {
		return r, fmt.Errorf("%q is not an architecture name", arch)
	}
	if !versioned {
		return r, nil
	}
	rest, closed := strings.CutSuffix(strings.TrimSpace(rest), ")")
	if !closed {
		return r, fmt.Errorf("no closing parenthesis in %q", s)
	}
	var err error
	r.op, rest = cutOperator(strings.TrimSpace(rest))
	if r.op == "" {
		return r, fmt.Errorf("no version operator in %q", s)
	}
	r.ver, err = parseVersion(rest)
	return r, err
}

// cutOperator takes the operator off the front. The single < and > are old
// spellings of <= and >= that dpkg still reads.
func cutOperator(s string) (op, rest string) {
	for _, op := range []string{"<<", "<=", ">=", ">>", "="} {
		if rest, ok := strings.CutPrefix(s, op); ok {
			return op, strings.TrimSpace(rest)
		}
	}
	for _, op := range []string{"<", ">"} {
		if rest, ok := strings.CutPrefix(s, op); ok {
			return op + "=", strings.TrimSpace(rest)
		}
	}
	return "", s
}

// validPackageName follows Debian Policy §5.6.1, but lets upper case pass:
// third-party archives use it.
func validPackageName(s string) bool {
	if len(s) < 2 || len(s) > 200 || !isAlnum(s[0]) {
		return false
	}
	for _, c := range []byte(s) {
		if !isAlnum(c) && c != '-' && c != '.' && c != '+' && c != '_' {
			return false
		}
	}
	return true
}
