package builder

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder/deb"
)

// closure is the set of files of a tree that some programs need to run: the
// programs, the shared libraries they name, those libraries' libraries, the
// dynamic loader, and every symbolic link on the way.
type closure struct {
	tree *deb.Tree
	keep map[string]bool
	errs []error
}

// programDirs is where programs are looked for, libraryDirs where the dynamic
// loader finds libraries without an ld.so.cache.
var programDirs = []string{"usr/sbin", "usr/bin"}

func libraryDirs(arch string) []string {
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[arch]
	return []string{"usr/lib/" + triplet, "usr/lib"}
}

// programClosure returns the names of all files that the programs, and further
// libraries, need, sorted.
func programClosure(tree *deb.Tree, arch string, programs, libraries []string) ([]string, error) {
	c := closure{tree: tree, keep: map[string]bool{}}
	for _, p := range programs {
		c.add(c.find(p, programDirs), "program "+p, arch)
	}
	for _, lib := range libraries {
		c.add(c.find(lib, libraryDirs(arch)), "library "+lib, arch)
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(c.keep))
	for name := range c.keep {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// find looks a file up in folders; "" if none has it.
func (c *closure) find(name string, dirs []string) string {
	for _, dir := range dirs {
		if _, ok := c.tree.Lookup(path.Join(dir, name)); ok {
			return path.Join(dir, name)
		}
	}
	return ""
}

// add keeps a file and what it needs. what names it in errors.
func (c *closure) add(name, what, arch string) {
	if name == "" {
		c.errs = append(c.errs, fmt.Errorf("%s is in none of the packages", what))
		return
	}
	if c.keep[name] {
		return
	}
	e, ok := c.tree.Lookup(name)
	if !ok {
		c.errs = append(c.errs, fmt.Errorf("%s: %s is in none of the packages", what, name))
		return
	}
	c.keep[name] = true
	if e.Header.Typeflag == tar.TypeSymlink {
		c.add(follow(name, e.Header.Linkname), what, arch)
		return
	}
	c.addLibraries(name, e.Data, arch)
}

// follow is the name that a symbolic link leads to, with the links of a
// /usr-merged root applied.
func follow(name, target string) string {
	if !path.IsAbs(target) {
		target = path.Join("/", path.Dir(name), target)
	}
	return merged(path.Clean(target))
}

// merged turns an absolute path into a name below usr/ where Debian has a link
// (/lib64 -> usr/lib64).
func merged(p string) string {
	name := strings.TrimPrefix(p, "/")
	if top, _, _ := strings.Cut(name, "/"); slices.Contains([]string{"bin", "sbin", "lib", "lib64"}, top) {
		return "usr/" + name
	}
	return name
}

func (c *closure) addLibraries(name string, data []byte, arch string) {
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return // a script: its interpreter is for the caller to name
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("%s: %w", name, err))
		return
	}
	if p := f.Section(".interp"); p != nil {
		loader, err := p.Data()
		if err != nil {
			c.errs = append(c.errs, fmt.Errorf("%s: read interpreter: %w", name, err))
			return
		}
		c.add(merged(string(bytes.TrimRight(loader, "\x00"))), "dynamic loader of "+name, arch)
	}
	libs, err := f.ImportedLibraries()
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("%s: read its libraries: %w", name, err))
		return
	}
	for _, lib := range libs {
		c.add(c.find(lib, libraryDirs(arch)), "library "+lib+" of "+name, arch)
	}
}
