package initramfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// tree is the index of a kernel's modules.
type tree struct {
	fsys fs.FS
	// index has the text of modules.dep, modules.alias, ...
	index map[string][]byte
	// paths leads from a module's name to its file, deps from a file to all
	// the files that have to be loaded before it.
	paths   map[string]string
	deps    map[string][]string
	soft    map[string][]string // name -> names or aliases, before or after
	builtin map[string]bool
	aliases []alias
}

type alias struct{ pattern, module string }

// The text files of a module tree: the first four are computed from the
// modules (by depmod(8) or Depmod), the others come with the kernel.
const (
	fileDep         = "modules.dep"
	fileAlias       = "modules.alias"
	fileSoftdep     = "modules.softdep"
	fileWeakdep     = "modules.weakdep"
	fileOrder       = "modules.order"
	fileBuiltin     = "modules.builtin"
	fileBuiltinInfo = "modules.builtin.modinfo"
)

// openTree reads the index files of fsys. A tree as packaged, before
// depmod(8) has run on it, gets its index from Depmod.
func openTree(fsys fs.FS) (*tree, error) {
	t := &tree{fsys: fsys, index: map[string][]byte{}}
	for _, name := range []string{fileDep, fileAlias, fileSoftdep, fileWeakdep, fileOrder, fileBuiltin, fileBuiltinInfo} {
		b, err := fs.ReadFile(fsys, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read kernel module tree: %w", err)
		}
		if err == nil {
			t.index[name] = b
		}
	}
	if _, ok := t.index[fileDep]; !ok {
		made, err := Depmod(fsys)
		if err != nil {
			return nil, err
		}
		for name, b := range made {
			t.index[name] = b
		}
	}
	var err error
	if t.deps, err = parseDep(t.index[fileDep]); err != nil {
		return nil, err
	}
	if len(t.deps) == 0 {
		return nil, errors.New("read kernel module tree: it has no modules")
	}
	t.paths = make(map[string]string, len(t.deps))
	for p := range t.deps {
		t.paths[moduleName(p)] = p
	}
	t.aliases = parseAliases(t.index[fileAlias])
	t.soft = parseSoft(t.index[fileSoftdep], t.index[fileWeakdep])
	t.builtin = parseBuiltin(t.index[fileBuiltin])
	return t, nil
}

// moduleName is the name of the module in the file p.
func moduleName(p string) string {
	name, _, _ := strings.Cut(path.Base(p), ".ko")
	return normalName(name)
}

// isModule reports whether p is the file of a module, compressed or not.
func isModule(p string) bool {
	for _, ext := range []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"} {
		if strings.HasSuffix(p, ext) {
			return true
		}
	}
	return false
}

// lines calls f for every line that is neither blank nor a comment.
func lines(b []byte, f func(line string)) {
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, len(b)+1)
	for sc.Scan() {
		if line := strings.TrimSpace(sc.Text()); line != "" && line[0] != '#' {
			f(line)
		}
	}
}

// parseDep reads modules.dep: "PATH: DEPENDENCY...", all of them, so that
// loading from the last to the first works (modules.dep(5)).
func parseDep(b []byte) (map[string][]string, error) {
	deps := map[string][]string{}
	var err error
	lines(b, func(line string) {
		file, rest, ok := strings.Cut(line, ":")
		words := append([]string{file}, strings.Fields(rest)...)
		for _, p := range words {
			if !ok || !fs.ValidPath(p) || !isModule(p) {
				err = fmt.Errorf("read modules.dep: %q is not a module's dependencies", line)
				return
			}
		}
		deps[file] = words[1:]
	})
	return deps, err
}

// parseAliases reads modules.alias: "alias PATTERN MODULE".
func parseAliases(b []byte) []alias {
	var out []alias
	lines(b, func(line string) {
		if w := strings.Fields(line); len(w) == 3 && w[0] == "alias" {
			out = append(out, alias{pattern: w[1], module: normalName(w[2])})
		}
	})
	return out
}

// parseSoft reads modules.softdep ("softdep MODULE pre: ... post: ...") and
// modules.weakdep ("weakdep MODULE NAME..."). To be chosen together is the
// same for all of them.
func parseSoft(soft, weak []byte) map[string][]string {
	out := map[string][]string{}
	lines(soft, func(line string) {
		if w := strings.Fields(line); len(w) > 2 && w[0] == "softdep" {
			pre, post := parseSoftdep(w[2:])
			name := normalName(w[1])
			out[name] = append(append(out[name], pre...), post...)
		}
	})
	lines(weak, func(line string) {
		if w := strings.Fields(line); len(w) > 2 && w[0] == "weakdep" {
			out[normalName(w[1])] = append(out[normalName(w[1])], w[2:]...)
		}
	})
	return out
}

// parseBuiltin reads modules.builtin: one path a line.
func parseBuiltin(b []byte) map[string]bool {
	out := map[string]bool{}
	lines(b, func(line string) { out[moduleName(line)] = true })
	return out
}

// resolve returns the files of the modules that name (a module or an alias)
// stands for; none when it is built in or this kernel does not have it.
func (t *tree) resolve(name string) []string {
	if p, ok := t.paths[normalName(name)]; ok {
		return []string{p}
	}
	var out []string
	for _, a := range t.aliases {
		if a.pattern != name && normalName(a.pattern) != normalName(name) {
			continue
		}
		if p, ok := t.paths[a.module]; ok {
			out = append(out, p)
		}
	}
	return out
}

// closure adds to the files of start all that they need: hard dependencies,
// soft ones, and theirs.
func (t *tree) closure(start []string) []string {
	seen := map[string]bool{}
	queue := append([]string(nil), start...)
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if seen[p] {
			continue
		}
		seen[p] = true
		queue = append(queue, t.deps[p]...)
		for _, name := range t.soft[moduleName(p)] {
			queue = append(queue, t.resolve(name)...)
		}
	}
	out := make([]string, 0, len(seen))
	for p := range seen {
		out = append(out, p)
	}
	sort.Strings(out)
	return out
}
