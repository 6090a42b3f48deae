package initramfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"

	"github.com/victorinix/vic/internal/nearest"
)

// SelectModules returns the files of the modules in sets with all that they
// depend on, hard or soft, sorted. A set is one of Sets or a single module.
// What is built into the kernel needs no file. The root of modules is what is
// usr/lib/modules/<release> elsewhere.
func SelectModules(modules fs.FS, sets ...string) ([]string, error) {
	t, err := openTree(modules)
	if err != nil {
		return nil, err
	}
	return t.selectSets(sets)
}

func (t *tree) selectSets(names []string) ([]string, error) {
	sets, err := Sets()
	if err != nil {
		return nil, err
	}
	var start []string
	for _, name := range expand(sets, names) {
		if set, ok := sets[name]; ok {
			if missing := set.missing(t); len(missing) > 0 {
				return nil, fmt.Errorf("select module set %s: this kernel has no %s", name, strings.Join(missing, ", "))
			}
			start = append(start, set.chosen(t)...)
			continue
		}
		files := t.resolve(name)
		if len(files) == 0 && !t.builtin[normalName(name)] {
			return nil, t.unknown(sets, name)
		}
		start = append(start, files...)
	}
	return t.closure(start), nil
}

func (t *tree) unknown(sets map[string]Set, name string) error {
	var known []string
	for s := range sets {
		known = append(known, s)
	}
	for m := range t.paths {
		known = append(known, m)
	}
	if near := nearest.Name(name, known); near != "" {
		return fmt.Errorf("select modules: no set or module %q in this kernel: did you mean %q?", name, near)
	}
	return fmt.Errorf("select modules: no set or module %q in this kernel", name)
}

// restricted returns the index files for the modules in files alone, so that
// a look-up on the target never leads to a module that is not there. What is
// built in is kept whole.
func (t *tree) restricted(files []string) map[string][]byte {
	chosen, names := map[string]bool{}, map[string]bool{}
	for _, p := range files {
		chosen[p] = true
		names[moduleName(p)] = true
	}
	first := func(line string) bool { p, _, _ := strings.Cut(line, ":"); return chosen[p] }
	owner := func(field int) func(string) bool {
		return func(line string) bool {
			w := strings.Fields(line)
			return len(w) > field && names[normalName(w[field])]
		}
	}
	out := map[string][]byte{
		fileDep:     keepLines(t.index[fileDep], first),
		fileAlias:   keepLines(t.index[fileAlias], owner(2)),
		fileSoftdep: keepLines(t.index[fileSoftdep], owner(1)),
		fileWeakdep: keepLines(t.index[fileWeakdep], owner(1)),
		fileOrder:   keepLines(t.index[fileOrder], func(line string) bool { return names[moduleName(line)] }),
	}
	for _, name := range []string{fileBuiltin, fileBuiltinInfo} {
		if b, ok := t.index[name]; ok {
			out[name] = b
		}
	}
	return out
}

func keepLines(b []byte, keep func(line string) bool) []byte {
	var out bytes.Buffer
	lines(b, func(line string) {
		if keep(line) {
			out.WriteString(line)
			out.WriteByte('\n')
		}
	})
	return out.Bytes()
}
