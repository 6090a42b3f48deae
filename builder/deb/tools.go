package deb

import (
	"archive/tar"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"

	"github.com/victorinix/vic/internal/tool"
)

// Tools are foreign programs unpacked from packages into the cache, and run
// through the dynamic loader that came with them:
//
//	CacheDir/tools/KEY/usr/lib64/ld-linux-x86-64.so.2 --library-path ... usr/bin/mkfs.erofs
//
// So a build needs nothing installed and no root, and takes the same programs
// on every host. Tools is a tool.Runner.
type Tools struct {
	dir      string // absolute
	tree     []string
	packages []Package
}

// toolsFormat is part of the key of an unpacked tree: to be raised when the
// way of unpacking changes.
const toolsFormat = "vic tools 1\n"

// manifestName lists what was unpacked; it is written last.
const manifestName = ".vic-tools.json"

// goArch is Go's name of a Debian architecture.
var goArch = map[string]string{"amd64": "amd64", "arm64": "arm64", "armhf": "arm", "i386": "386", "riscv64": "riscv64", "ppc64el": "ppc64le", "s390x": "s390x"}

// OpenTools resolves packages with what they depend on, fetches them and
// unpacks them, unless that has been done before. The archive's architecture
// must be this machine's.
func OpenTools(ctx context.Context, a *Archive, packages ...string) (*Tools, error) {
	t, err := openTools(ctx, a, packages)
	if err != nil {
		return nil, fmt.Errorf("open tools %s: %w", strings.Join(packages, ", "), err)
	}
	return t, nil
}

func openTools(ctx context.Context, a *Archive, packages []string) (*Tools, error) {
	if goArch[a.cfg.Arch] != runtime.GOARCH {
		return nil, fmt.Errorf("programs for %s do not run on this machine (%s)", a.cfg.Arch, runtime.GOARCH)
	}
	pkgs, err := a.Resolve(ctx, Request{Packages: packages})
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Join(a.cfg.CacheDir, "tools", toolsKey(pkgs)))
	if err != nil {
		return nil, err
	}
	t := &Tools{dir: dir, packages: pkgs}
	if t.load() == nil {
		return t, nil
	}
	if err := t.unpack(ctx, a); err != nil {
		return nil, err
	}
	return t, t.load()
}

// Packages lists what the tools are made of, for a lock.
func (t *Tools) Packages() []Package { return slices.Clone(t.packages) }

func toolsKey(pkgs []Package) string {
	key := toolsFormat
	for _, p := range pkgs {
		key += p.SHA256 + "\n"
	}
	return hexSum([]byte(key))[:32]
}

// manifest has the size of each regular file, -1 for links.
type manifest map[string]int64

// load checks that the unpacked tree is all there.
func (t *Tools) load() error {
	b, err := os.ReadFile(filepath.Join(t.dir, manifestName))
	if err != nil {
		return err
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("%s: %w", manifestName, err)
	}
	t.tree = t.tree[:0]
	for name, size := range m {
		st, err := os.Lstat(filepath.Join(t.dir, name))
		if err != nil {
			return err
		}
		if size >= 0 && (!st.Mode().IsRegular() || st.Size() != size) {
			return fmt.Errorf("%s is damaged", name)
		}
		t.tree = append(t.tree, name)
	}
	sort.Strings(t.tree)
	return nil
}

// unpack makes the tree under another name and renames it, so that it is there
// as a whole or not at all.
func (t *Tools) unpack(ctx context.Context, a *Archive) error {
	paths, err := a.Fetch(ctx, t.packages)
	if err != nil {
		return err
	}
	trim, err := TrimSet("docs", "man", "locales")
	if err != nil {
		return err
	}
	tree := NewTree()
	if err := tree.AddDebs(ctx, paths, t.packages, trim); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(t.dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(t.dir), ".unpack-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // after the rename there is nothing to remove
	if err := writeTools(tree, tmp); err != nil {
		return fmt.Errorf("unpack into %s: %w", tmp, err)
	}
	if err := os.RemoveAll(t.dir); err != nil { // a damaged one
		return err
	}
	err = os.Rename(tmp, t.dir)
	if errors.Is(err, fs.ErrExist) { // another process was quicker
		return nil
	}
	return err
}

// writeTools writes files, directories and links; owners, devices and special
// modes mean nothing in a cache.
func writeTools(tree *Tree, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	m := manifest{}
	err = tree.Walk(func(name string, e *Entry) error {
		switch e.Header.Typeflag {
		case tar.TypeDir:
			if name == "." {
				return nil
			}
			return root.Mkdir(name, 0o755)
		case tar.TypeReg:
			m[name] = int64(len(e.Data))
			return root.WriteFile(name, e.Data, fs.FileMode(e.Header.Mode)&0o755|0o600)
		case tar.TypeSymlink:
			m[name] = -1
			return root.Symlink(linkInside(name, e.Header.Linkname), name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return root.WriteFile(manifestName, b, 0o644)
}

// linkInside makes the target of a link relative, so that an absolute one does
// not lead to the host's files.
func linkInside(name, target string) string {
	if !strings.HasPrefix(target, "/") {
		return target
	}
	rel, err := filepath.Rel("/"+path.Dir(name), path.Clean(target))
	if err != nil {
		return target
	}
	return rel
}

// Path is the absolute path of a file of the packages, such as
// "usr/lib/systemd/boot/efi/linuxx64.efi.stub". It need not exist.
func (t *Tools) Path(name string) string {
	return filepath.Join(t.dir, mergedName(path.Clean("/" + name)[1:], tar.TypeReg))
}

// toolDirs are searched for programs.
var toolDirs = []string{"usr/sbin", "usr/bin"}

// LookPath finds a program of the packages.
func (t *Tools) LookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return t.Path(name), nil
	}
	for _, dir := range toolDirs {
		full := t.Path(dir + "/" + name)
		if st, err := os.Stat(full); err == nil && st.Mode().IsRegular() {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, tool.ErrNotFound)
}

// Run implements tool.Runner with the programs of the packages.
func (t *Tools) Run(ctx context.Context, c tool.Cmd) (tool.Output, error) {
	cmd, err := t.command(c)
	if err != nil {
		return tool.Output{}, &tool.Error{Cmd: c, Exit: -1, Err: err}
	}
	out, err := tool.Exec{}.Run(ctx, cmd)
	var te *tool.Error
	if errors.As(err, &te) {
		te.Cmd = c // people know the program by its name, not by its loader
	}
	return out, err
}

// command puts the loader before the program.
func (t *Tools) command(c tool.Cmd) (tool.Cmd, error) {
	if c.Root != "" {
		return c, errors.New("a tool from the cache cannot run in another root")
	}
	full, err := t.LookPath(c.Name)
	if err != nil {
		return c, err
	}
	prog, err := readProgram(full)
	if err != nil {
		return c, err
	}
	run := c
	run.Env = append(t.environment(), c.Env...)
	if prog.interp == "" {
		run.Name = full
		return run, nil
	}
	loader, err := filepath.EvalSymlinks(t.Path(prog.interp))
	if err != nil {
		return c, fmt.Errorf("its loader %s is not among the packages: %w", prog.interp, err)
	}
	run.Name = loader
	run.Args = append([]string{"--library-path", t.libraryPath(prog), "--argv0", c.Name, full}, c.Args...)
	return run, nil
}

// environment makes glibc read the converters that fit it.
func (t *Tools) environment() []string {
	gconv, err := filepath.Glob(filepath.Join(t.dir, "usr/lib/*/gconv"))
	if err != nil || len(gconv) == 0 {
		return nil
	}
	return []string{"GCONV_PATH=" + gconv[0]}
}

// libraryPath is where the loader looks: what the program asks for, and the
// directories of shared libraries.
func (t *Tools) libraryPath(p program) string {
	var dirs []string
	add := func(dir string) {
		if st, err := os.Stat(dir); err == nil && st.IsDir() && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range p.runpath {
		if !strings.HasPrefix(dir, "$") { // the loader knows $ORIGIN
			add(t.Path(dir))
		}
	}
	triples, _ := filepath.Glob(filepath.Join(t.dir, "usr/lib/*-linux-gnu*")) // the pattern is sound
	for _, dir := range triples {
		add(dir)
	}
	add(filepath.Join(t.dir, "usr/lib64"))
	add(filepath.Join(t.dir, "usr/lib"))
	return strings.Join(dirs, ":")
}

// program is what an ELF executable says about how to start it.
type program struct {
	interp  string // empty for a static one
	runpath []string
}

func readProgram(full string) (program, error) {
	file, err := os.Open(full)
	if err != nil {
		return program{}, err
	}
	defer file.Close()
	f, err := elf.NewFile(file)
	if err != nil {
		return program{}, fmt.Errorf("%s is not an ELF program (scripts from packages are not run): %w", full, err)
	}
	var p program
	for _, seg := range f.Progs {
		if seg.Type != elf.PT_INTERP || seg.Filesz > maxPath {
			continue
		}
		b := make([]byte, seg.Filesz)
		if _, err := seg.ReadAt(b, 0); err != nil {
			return p, fmt.Errorf("%s: read PT_INTERP: %w", full, err)
		}
		p.interp = strings.TrimRight(string(b), "\x00")
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, err := f.DynString(tag)
		if err != nil {
			continue // a static program has none
		}
		for _, list := range paths {
			p.runpath = append(p.runpath, strings.Split(list, ":")...)
		}
	}
	return p, nil
}
