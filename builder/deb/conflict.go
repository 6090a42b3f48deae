package deb

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// choose adds c to the set unless something there excludes it.
func (s *solver) choose(c *candidate, why string) error {
	if other := s.chosen[c.name]; other != nil {
		s.blame(other)
		return fmt.Errorf("%s is wanted in version %s (%s), but version %s is chosen already (%s)",
			c.name, c.version, why, other.version, s.reason[other])
	}
	hostile, err := parseEnemies(c)
	if err != nil {
		return err
	}
	provides, err := parseProvides(c)
	if err != nil {
		return err
	}
	if err := s.checkEnemies(c, hostile, provides, why); err != nil {
		return err
	}
	s.chosen[c.name] = c
	s.trail = append(s.trail, c)
	s.reason[c] = why
	for name, p := range provides {
		s.provided[name] = append(s.provided[name], p)
	}
	for _, e := range hostile {
		s.enemies[e.rel.name] = append(s.enemies[e.rel.name], e)
	}
	return nil
}

// undo takes back everything chosen after the mark.
func (s *solver) undo(mark int) {
	for _, c := range slices.Backward(s.trail[mark:]) {
		delete(s.chosen, c.name)
		delete(s.reason, c)
		// Both parsed when c was chosen.
		provides, _ := parseProvides(c)
		for name := range provides {
			s.provided[name] = slices.DeleteFunc(s.provided[name], func(p provision) bool { return p.by == c })
		}
		hostile, _ := parseEnemies(c)
		for _, e := range hostile {
			s.enemies[e.rel.name] = slices.DeleteFunc(s.enemies[e.rel.name], func(e enemy) bool { return e.by == c })
		}
	}
	s.trail = s.trail[:mark]
}

// checkEnemies looks both ways: does c exclude a chosen package, does a chosen
// one exclude c? A package never excludes itself, whatever it provides.
func (s *solver) checkEnemies(c *candidate, hostile []enemy, provides map[string]provision, why string) error {
	for _, e := range hostile {
		if other := s.victim(e); other != nil && other.name != c.name {
			return s.clash(c, why, other, e)
		}
	}
	for _, e := range s.enemies[c.name] {
		if e.by.name != c.name && e.rel.allows(c.version) {
			return s.clash(c, why, e.by, e)
		}
	}
	names := make([]string, 0, len(provides))
	for name := range provides {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, e := range s.enemies[name] {
			if e.by.name != c.name && provides[name].allowedBy(e.rel) {
				return s.clash(c, why, e.by, e)
			}
		}
	}
	return nil
}

// victim is the chosen package that e excludes, if there is one.
func (s *solver) victim(e enemy) *candidate {
	if c := s.chosen[e.rel.name]; c != nil && e.rel.allows(c.version) {
		return c
	}
	for _, p := range s.provided[e.rel.name] {
		if p.by.name != e.by.name && p.allowedBy(e.rel) {
			return p.by
		}
	}
	return nil
}

// clash is the error for two packages that cannot be together.
func (s *solver) clash(c *candidate, why string, other *candidate, e enemy) error {
	s.blame(other)
	victim := c
	if e.by == c {
		victim = other
	}
	return fmt.Errorf("%s %s and %s %s cannot be installed together: %s %s %s, which is %s %s (%s: %s; %s: %s)",
		c.name, c.version, other.name, other.version,
		e.by.name, strings.ToLower(e.field), e.rel, victim.name, victim.version,
		c.name, why, other.name, s.reason[other])
}

// blame remembers the choice to unlearn: the package in the way itself, if it
// was one among several.
func (s *solver) blame(c *candidate) {
	s.clashes++
	if s.culprit == nil && s.optional[c] {
		s.culprit = c
	}
}

func parseEnemies(c *candidate) ([]enemy, error) {
	var all []enemy
	for _, field := range []string{"Conflicts", "Breaks"} {
		deps, err := parseDepends(c.stanza.get(field))
		if err != nil {
			return nil, fmt.Errorf("package %s: %s: %w", c.name, field, err)
		}
		for _, alts := range deps {
			for _, r := range alts {
				all = append(all, enemy{c, r, field})
			}
		}
	}
	return all, nil
}

// parseProvides reads what c provides; the newest version of a name counts.
func parseProvides(c *candidate) (map[string]provision, error) {
	deps, err := parseDepends(c.stanza.get("Provides"))
	if err != nil {
		return nil, fmt.Errorf("package %s: Provides: %w", c.name, err)
	}
	provides := map[string]provision{}
	for _, alts := range deps {
		r := alts[0]
		if old, ok := provides[r.name]; !ok || compareVersions(r.ver, old.ver) > 0 {
			provides[r.name] = provision{c, r.ver}
		}
	}
	return provides, nil
}

// unavailable is the error for a dependency that nothing in the archive
// satisfies: who wants what, and what there is instead.
func (s *solver) unavailable(alts alternatives, by *candidate, why string) error {
	var have []string
	for _, r := range alts {
		have = append(have, s.whatThereIs(r))
	}
	if by == nil {
		return fmt.Errorf("package %s cannot be had: %s", alts, strings.Join(have, "; "))
	}
	return fmt.Errorf("package %s cannot be had: %s (%s)", alts, strings.Join(have, "; "), why)
}

func (s *solver) whatThereIs(r relation) string {
	if !s.nativeArch(r) {
		return fmt.Sprintf("%s is for another architecture than %s", r, s.x.arch)
	}
	var versions []string
	banned := false
	for _, c := range s.x.byName[r.name] {
		versions = append(versions, c.version.String())
		banned = banned || s.banned[c]
	}
	for _, p := range s.x.provides[r.name] {
		word := "provided by " + p.by.name
		if p.versioned() {
			word += " as " + p.ver.String()
		}
		versions = append(versions, word)
	}
	switch {
	case banned:
		return fmt.Sprintf("%s conflicts with another package", r.name)
	case len(versions) > 0:
		return fmt.Sprintf("the archive has %s %s", r.name, strings.Join(versions, ", "))
	}
	msg := fmt.Sprintf("the archive has no %s", r.name)
	if near := s.x.near(r.name); len(near) > 0 {
		msg += "; near names: " + strings.Join(near, ", ")
	}
	return msg
}

// near lists up to three names that someone may have meant, best first.
func (x *index) near(name string) []string {
	limit := max(1, len(name)/4)
	type hit struct {
		name string
		dist int
	}
	var hits []hit
	for other := range x.byName {
		if d := len(other) - len(name); d > limit || -d > limit {
			continue
		}
		if d := editDistance(name, other); d <= limit {
			hits = append(hits, hit{other, d})
		}
	}
	sort.Slice(hits, func(i, j int) bool {
		if hits[i].dist != hits[j].dist {
			return hits[i].dist < hits[j].dist
		}
		return hits[i].name < hits[j].name
	})
	var names []string
	for _, h := range hits[:min(3, len(hits))] {
		names = append(names, h.name)
	}
	return names
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
