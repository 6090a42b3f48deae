package deb

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Request says what is wanted.
type Request struct {
	// Packages are "name", "name=version", "name:arch", "name (>= 1)", or
	// alternatives "a | b". Virtual packages are resolved to a provider.
	Packages []string
	// Required adds all packages that are Essential or of priority required.
	Required bool
	// Recommends adds recommended packages where that is possible.
	Recommends bool
}

// Resolve chooses packages such that everything requested and everything that
// they depend on is there and nothing conflicts. It chooses as apt does: the
// first alternative that can be had, the newest version, nothing for a
// dependency that another chosen package satisfies already. The result is
// sorted by name and is the same for the same archive and request.
func (a *Archive) Resolve(ctx context.Context, req Request) ([]Package, error) {
	goals, err := parseRequest(req, a.index)
	if err != nil {
		return nil, fmt.Errorf("resolve packages: %w", err)
	}
	chosen, err := a.index.resolve(ctx, goals, req.Recommends)
	if err != nil {
		return nil, fmt.Errorf("resolve packages: %w", err)
	}
	pkgs := make([]Package, 0, len(chosen))
	for _, c := range chosen {
		p, err := c.toPackage()
		if err != nil {
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
	sort.Slice(pkgs, func(i, j int) bool { return pkgs[i].Name < pkgs[j].Name })
	return pkgs, nil
}

func parseRequest(req Request, x *index) ([]alternatives, error) {
	var goals []alternatives
	if req.Required {
		for _, name := range x.required() {
			goals = append(goals, alternatives{{name: name}})
		}
	}
	for _, want := range req.Packages {
		var alts alternatives
		for _, alt := range strings.Split(want, "|") {
			if name, ver, ok := strings.Cut(alt, "="); ok && !strings.Contains(alt, "(") {
				alt = name + " (= " + ver + ")"
			}
			r, err := parseRelation(alt)
			if err != nil {
				return nil, fmt.Errorf("request %q: %w", want, err)
			}
			alts = append(alts, r)
		}
		goals = append(goals, alts)
	}
	return goals, nil
}

// maxRestarts bounds how often a choice among alternatives is unlearnt.
const maxRestarts = 64

// resolve starts afresh with one more candidate banned whenever a conflict was
// brought about by a choice that could have been another.
func (x *index) resolve(ctx context.Context, goals []alternatives, recommends bool) ([]*candidate, error) {
	banned := map[*candidate]bool{}
	var first error
	steps := 0
	for range maxRestarts {
		s := newSolver(ctx, x, banned, recommends)
		s.steps = steps
		err := s.solve(goals)
		steps = s.steps
		if err == nil {
			return s.trail, nil
		}
		if first == nil {
			first = err
		}
		if s.culprit == nil || banned[s.culprit] || ctx.Err() != nil {
			break
		}
		banned[s.culprit] = true
	}
	return nil, first
}

// solver builds one set of packages.
type solver struct {
	ctx        context.Context
	x          *index
	banned     map[*candidate]bool
	recommends bool

	chosen map[string]*candidate
	trail  []*candidate // chosen, in order
	reason map[*candidate]string
	// optional are candidates that were picked among several.
	optional map[*candidate]bool
	culprit  *candidate // an optional one that a failure is due to
	provided map[string][]provision
	enemies  map[string][]enemy
	// impossible are candidates that depend on what the archive does not have,
	// whatever else is chosen.
	impossible map[*candidate]error
	clashes    int // how often a choice made earlier was in the way
	steps      int
}

// enemy is a Conflicts or Breaks of a chosen package.
type enemy struct {
	by    *candidate
	rel   relation
	field string
}

func newSolver(ctx context.Context, x *index, banned map[*candidate]bool, recommends bool) *solver {
	return &solver{
		ctx: ctx, x: x, banned: banned, recommends: recommends,
		chosen: map[string]*candidate{}, reason: map[*candidate]string{}, optional: map[*candidate]bool{},
		provided: map[string][]provision{}, enemies: map[string][]enemy{}, impossible: map[*candidate]error{},
	}
}

// solve first marks everything that was asked for by name, so that a default
// alternative does not get in before it, then follows the dependencies.
func (s *solver) solve(goals []alternatives) error {
	var marked []*candidate
	for _, g := range goals {
		if len(g) > 1 || s.satisfied(g) {
			continue
		}
		if list := s.candidates(g[0]); len(list) > 0 && list[0].name == g[0].name {
			if err := s.choose(list[0], "you asked for it"); err != nil {
				return err
			}
			marked = append(marked, list[0])
		}
	}
	for _, c := range marked {
		if err := s.follow(c); err != nil {
			return err
		}
	}
	for _, g := range goals {
		if err := s.satisfy(g, nil, "you asked for it"); err != nil {
			return err
		}
	}
	return nil
}

// maxSteps bounds the search in an archive made to defeat it; a desktop takes
// some ten thousand.
const maxSteps = 500_000

// satisfy makes sure that one of alts is there. by is the package that wants
// it, nil for the request itself.
func (s *solver) satisfy(alts alternatives, by *candidate, why string) error {
	if s.steps++; s.steps > maxSteps {
		return fmt.Errorf("gave up after %d steps", maxSteps)
	}
	if s.satisfied(alts) {
		return nil
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	var options []*candidate
	for _, r := range alts {
		options = append(options, s.candidates(r)...)
	}
	if len(options) == 0 {
		return s.unavailable(alts, by, why)
	}
	var firstErr error
	for _, c := range options {
		err := s.install(c, why, len(options) > 1)
		if err == nil {
			return nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return firstErr
}

// install chooses c with all that it depends on, or leaves everything as it
// was.
func (s *solver) install(c *candidate, why string, optional bool) error {
	if err := s.impossible[c]; err != nil {
		return err
	}
	mark, clashes := len(s.trail), s.clashes
	if optional {
		s.optional[c] = true
	}
	err := s.choose(c, why)
	if err == nil {
		err = s.follow(c)
	}
	if err != nil {
		s.undo(mark)
		if s.clashes == clashes && s.ctx.Err() == nil {
			s.impossible[c] = err
		}
	}
	return err
}

// follow satisfies the dependencies of a chosen package.
func (s *solver) follow(c *candidate) error {
	for _, field := range []string{"Pre-Depends", "Depends"} {
		deps, err := parseDepends(c.stanza.get(field))
		if err != nil {
			return fmt.Errorf("package %s: %s: %w", c.name, field, err)
		}
		for _, alts := range deps {
			if err := s.satisfy(alts, c, s.because(c, field)); err != nil {
				return err
			}
		}
	}
	if !s.recommends {
		return nil
	}
	recommended, err := parseDepends(c.stanza.get("Recommends"))
	if err != nil {
		return fmt.Errorf("package %s: Recommends: %w", c.name, err)
	}
	for _, alts := range recommended {
		// What cannot be had is left out: it is only recommended.
		if err := s.satisfy(alts, c, s.because(c, "Recommends")); err != nil && s.ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// because is the chain of reasons for what c wants.
func (s *solver) because(c *candidate, field string) string {
	verb := map[string]string{"Pre-Depends": "pre-depends on", "Depends": "depends on", "Recommends": "recommends"}[field]
	return c.name + " " + verb + " it; " + c.name + ": " + s.reason[c]
}

// satisfied says whether a chosen package does for one of alts.
func (s *solver) satisfied(alts alternatives) bool {
	for _, r := range alts {
		if !s.nativeArch(r) {
			continue
		}
		if c := s.chosen[r.name]; c != nil && r.allows(c.version) {
			return true
		}
		for _, p := range s.provided[r.name] {
			if p.allowedBy(r) {
				return true
			}
		}
	}
	return false
}

// allowedBy: an unversioned provision satisfies no versioned relation (Debian
// Policy §7.5).
func (p provision) allowedBy(r relation) bool {
	if r.op == "" {
		return true
	}
	return p.versioned() && r.allows(p.ver)
}

func (s *solver) nativeArch(r relation) bool {
	switch r.arch {
	case "", "any", "native", "all", s.x.arch:
		return true
	}
	return false
}

// candidates lists what could satisfy r, best first: the package itself, then
// those that provide it.
func (s *solver) candidates(r relation) []*candidate {
	if !s.nativeArch(r) {
		return nil
	}
	var list []*candidate
	for _, c := range s.x.byName[r.name] {
		if r.allows(c.version) {
			list = append(list, c)
		}
	}
	for _, p := range s.x.provides[r.name] {
		if p.by.name != r.name && p.allowedBy(r) {
			list = append(list, p.by)
		}
	}
	return slices.DeleteFunc(list, func(c *candidate) bool {
		if s.banned[c] {
			s.clashes++
		}
		return s.banned[c]
	})
}
