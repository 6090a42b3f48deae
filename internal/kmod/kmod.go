// Package kmod finds and loads kernel modules from the text files that
// depmod(8) writes beside them.
//
//	modalias --modules.alias--> names --modules.dep, .softdep--> plan --finit_module--> kernel
//
// modules.alias of a generic kernel has 27000 lines, and a machine asks for
// perhaps a hundred modaliases, all at once: so it is read as a stream, once
// for each batch of questions, and not kept in memory. modules.dep is kept as
// one string with an index by name.
//
// It does not read modprobe.d: options and the blacklist come from the kernel
// command line.
package kmod

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
)

// Tree is the index of one directory of modules. It is safe for concurrent use.
type Tree struct {
	dir     string
	dep     map[string]string // name -> its line of modules.dep
	soft    map[string]softdep
	builtin map[string]bool

	softAliases func() map[string][]string // softdeps that are no module names
}

// softdep is modprobe.d(5)'s softdep: modules to load before and after another,
// whose absence does not matter.
type softdep struct{ pre, post []string }

// Open reads the index of dir, such as /usr/lib/modules/6.12.1-amd64. Only
// modules.dep has to be there.
func Open(dir string) (*Tree, error) {
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	t := &Tree{dir: dir, soft: map[string]softdep{}, builtin: map[string]bool{}}
	if t.dep, err = parseDep(string(dep)); err != nil {
		return nil, fmt.Errorf("parse %s/modules.dep: %w", dir, err)
	}
	if err := eachLine(filepath.Join(dir, "modules.softdep"), t.addSoftdep); err != nil {
		return nil, err
	}
	err = eachLine(filepath.Join(dir, "modules.builtin"), func(line string) {
		t.builtin[Name(line)] = true
	})
	if err != nil {
		return nil, err
	}
	t.softAliases = sync.OnceValue(t.resolveSoftdeps)
	return t, nil
}

// Len is the number of modules in the tree.
func (t *Tree) Len() int { return len(t.dep) }

// Has reports whether the kernel has the module, built in or in the tree.
func (t *Tree) Has(name string) bool {
	name = normal(name)
	return t.builtin[name] || t.dep[name] != ""
}

// Name is the name under which the kernel knows the module in file: without
// folder and extensions, and with underscores.
func Name(file string) string {
	base := path.Base(file)
	if i := strings.Index(base, ".ko"); i >= 0 {
		base = base[:i]
	}
	return normal(base)
}

func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }

// parseDep splits modules.dep, lines of "kernel/fs/a.ko.xz: kernel/lib/b.ko.xz ...".
func parseDep(s string) (map[string]string, error) {
	dep := make(map[string]string, strings.Count(s, "\n"))
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		file, _, found := strings.Cut(line, ":")
		if !found || Name(file) == "" {
			return nil, fmt.Errorf("line %.80q has no module", line)
		}
		dep[Name(file)] = line
	}
	return dep, nil
}

// files returns the path of the module name relative to the tree, and those of
// the modules that it needs, in the order to load them.
func (t *Tree) files(name string) (file string, needs []string, ok bool) {
	file, rest, ok := strings.Cut(t.dep[name], ":")
	if !ok {
		return "", nil, false
	}
	needs = strings.Fields(rest)
	for i, j := 0, len(needs)-1; i < j; i, j = i+1, j-1 {
		needs[i], needs[j] = needs[j], needs[i]
	}
	return file, needs, true
}

// present reports whether all files are in the tree.
func (t *Tree) present(files []string) bool {
	for _, f := range files {
		if _, err := os.Stat(filepath.Join(t.dir, f)); err != nil {
			return false
		}
	}
	return true
}

// addSoftdep reads a line "softdep NAME pre: A B post: C"; several lines for
// one module add up, as depmod writes one for each MODULE_SOFTDEP.
func (t *Tree) addSoftdep(line string) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "softdep" {
		return
	}
	s, list := t.soft[normal(f[1])], (*[]string)(nil)
	for _, word := range f[2:] {
		switch {
		case word == "pre:":
			list = &s.pre
		case word == "post:":
			list = &s.post
		case list != nil:
			*list = append(*list, word)
		}
	}
	t.soft[normal(f[1])] = s
}

// resolveSoftdeps finds the modules behind softdeps such as "crypto-crc32c".
// A failing read leaves them unresolved: they are soft.
func (t *Tree) resolveSoftdeps() map[string][]string {
	var words []string
	for _, s := range t.soft {
		for _, list := range [][]string{s.pre, s.post} {
			for _, w := range list {
				if !t.Has(w) {
					words = append(words, w)
				}
			}
		}
	}
	found, err := t.Match(words)
	if err != nil {
		return nil
	}
	return found
}

// eachLine calls f with the lines of a file that may be absent.
func eachLine(file string, f func(string)) error {
	r, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return lines(r, f)
}

func lines(r io.Reader, f func(string)) error {
	s := bufio.NewScanner(r)
	for s.Scan() {
		if line := s.Text(); line != "" && line[0] != '#' {
			f(line)
		}
	}
	return s.Err()
}
