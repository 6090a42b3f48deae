package initramfs

import (
	_ "embed"
	"fmt"
	"path"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed sets.yaml
var setsYAML []byte

// Set is a named choice of kernel modules.
type Set struct {
	// About says in a few words what it is for.
	About string `yaml:"about"`
	// Need are modules that have to be there, as modules or built in.
	Need []string `yaml:"need"`
	// Modules are taken where the kernel has them.
	Modules []string `yaml:"modules"`
	// Paths are globs over the module files' paths, without .ko.*; a final
	// /** matches everything below.
	Paths []string `yaml:"paths"`
	// Except takes module names and globs out of Paths again; what another
	// module depends on comes in all the same.
	Except []string `yaml:"except"`
	// Sets are further sets.
	Sets []string `yaml:"sets"`
}

// Sets returns the module sets by name.
func Sets() (map[string]Set, error) { return parseSets(setsYAML) }

func parseSets(b []byte) (map[string]Set, error) {
	sets := map[string]Set{}
	if err := yaml.UnmarshalWithOptions(b, &sets, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read module sets: %w", err)
	}
	for name, s := range sets {
		for _, other := range s.Sets {
			if _, ok := sets[other]; !ok {
				return nil, fmt.Errorf("read module sets: %s includes %q, which is no set", name, other)
			}
		}
		for _, glob := range append(append([]string(nil), s.Paths...), s.Except...) {
			if _, err := path.Match(strings.TrimSuffix(glob, "/**"), ""); err != nil {
				return nil, fmt.Errorf("read module sets: %s: pattern %q: %w", name, glob, err)
			}
		}
	}
	return sets, nil
}

// expand adds the sets that names include and keeps the order.
func expand(sets map[string]Set, names []string) []string {
	var out []string
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, other := range sets[name].Sets {
			add(other)
		}
		out = append(out, name)
	}
	for _, name := range names {
		add(name)
	}
	return out
}

// chosen returns the files of t that s names, without their dependencies.
func (s Set) chosen(t *tree) []string {
	var out []string
	for _, name := range append(append([]string(nil), s.Need...), s.Modules...) {
		out = append(out, t.resolve(name)...)
	}
	for file := range t.deps {
		bare := barePath(file)
		if anyMatch(s.Paths, bare) && !anyMatch(s.Except, bare) {
			out = append(out, file)
		}
	}
	sort.Strings(out)
	return out
}

// missing returns what s needs and t does not have.
func (s Set) missing(t *tree) []string {
	var out []string
	for _, name := range s.Need {
		if !t.builtin[normalName(name)] && len(t.resolve(name)) == 0 {
			out = append(out, name)
		}
	}
	return out
}

// barePath is a module's path without .ko and what follows.
func barePath(p string) string {
	dir, file := path.Split(p)
	file, _, _ = strings.Cut(file, ".ko")
	return dir + file
}

func anyMatch(patterns []string, bare string) bool {
	for _, p := range patterns {
		if matchPath(p, bare) {
			return true
		}
	}
	return false
}

// matchPath matches a glob, or a module name when the pattern has no slash.
func matchPath(pattern, bare string) bool {
	if !strings.Contains(pattern, "/") {
		return normalName(pattern) == normalName(path.Base(bare))
	}
	if below, ok := strings.CutSuffix(pattern, "/**"); ok {
		return strings.HasPrefix(bare, below+"/")
	}
	ok, err := path.Match(pattern, bare)
	return ok && err == nil
}
