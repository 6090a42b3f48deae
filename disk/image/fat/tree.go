package fat

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// dir is a directory. Its entries are sorted by name, after those that are anchored.
type dir struct {
	parent  *dir // nil for the root
	entries []*entry
	label   bool // the root has an entry for the label
	cluster uint32
	// anchored: the files with these first indexes come first.
	anchored int
}

// entry is a file or a directory in a directory.
type entry struct {
	name    string
	short   [11]byte // name and extension, padded with spaces
	long    []uint16 // UTF-16 of name; nil when short says it all
	file    File
	index   int  // of the file in Config.Files
	sub     *dir // nil for a file
	cluster uint32
}

// maxDirSize is the limit of a directory: 65536 entries.
const maxDirSize = 65536 * entrySize

// size is the directory's size in bytes, at least one entry.
func (d *dir) size() int64 {
	n := 1 // end, for readers that want one
	if d.parent != nil {
		n += 2
	} else if d.label {
		n++
	}
	for _, e := range d.entries {
		n += 1 + e.longEntries()
	}
	return int64(n * entrySize)
}

func (e *entry) longEntries() int { return (len(e.long) + 12) / 13 }

func (d *dir) lookup(name string) *entry {
	for _, e := range d.entries {
		if strings.EqualFold(e.name, name) {
			return e
		}
	}
	return nil
}

func (d *dir) find(path string) *entry {
	first, rest, deeper := strings.Cut(path, "/")
	e := d.lookup(first)
	if e == nil || !deeper {
		return e
	}
	if e.sub == nil {
		return nil
	}
	return e.sub.find(rest)
}

// buildTree makes the directories for the files: the root and all of them.
func buildTree(c Config) (root *dir, all []*dir, err error) {
	root = &dir{label: c.Label != "", anchored: c.Anchored}
	if c.Anchored < 0 || c.Anchored > len(c.Files) {
		return nil, nil, fmt.Errorf("%d of %d files are to be anchored", c.Anchored, len(c.Files))
	}
	for i, f := range c.Files {
		if i < c.Anchored && (strings.Contains(f.Path, "/") || f.Source == nil || f.Source.Size() == 0) {
			return nil, nil, fmt.Errorf("file %q: it is empty or not in the root directory, and cannot be anchored", f.Path)
		}
		if f.Source == nil {
			return nil, nil, fmt.Errorf("file %q: has no source", f.Path)
		}
		if n := f.Source.Size(); n < 0 || n > math.MaxUint32 {
			return nil, nil, fmt.Errorf("file %q: %d bytes, FAT allows less than 4 GiB", f.Path, n)
		}
		if err := root.add(f, i, f.Path); err != nil {
			return nil, nil, fmt.Errorf("file %q: %w", f.Path, err)
		}
	}
	all, err = root.finish(nil)
	return root, all, err
}

func (d *dir) add(f File, index int, path string) error {
	first, rest, deeper := strings.Cut(path, "/")
	if err := checkName(first); err != nil {
		return err
	}
	e := d.lookup(first)
	if !deeper {
		if e != nil {
			return errors.New("is there twice (FAT ignores case)")
		}
		d.entries = append(d.entries, &entry{name: first, file: f, index: index})
		return nil
	}
	if e == nil {
		e = &entry{name: first, sub: &dir{parent: d}}
		d.entries = append(d.entries, e)
	}
	if e.sub == nil {
		return fmt.Errorf("%q is a file as well", e.name)
	}
	return e.sub.add(f, index, rest)
}

// finish sorts the directory and those below it, gives everything its short
// name, and appends the directories to all.
func (d *dir) finish(all []*dir) ([]*dir, error) {
	all = append(all, d)
	slices.SortFunc(d.entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(d.rank(a), d.rank(b)), strings.Compare(a.name, b.name))
	})
	taken := map[[11]byte]bool{}
	for _, e := range d.entries {
		if s, ok := exactShort(e.name); ok {
			e.short, taken[s] = s, true
		}
	}
	var err error
	for _, e := range d.entries {
		if _, ok := exactShort(e.name); !ok {
			if e.short, err = alias(e.name, taken); err != nil {
				return nil, err
			}
			taken[e.short] = true
			e.long = utf16.Encode([]rune(e.name))
		}
	}
	if d.size() > maxDirSize {
		return nil, fmt.Errorf("a directory with %d files is too large for FAT", len(d.entries))
	}
	for _, e := range d.entries {
		if e.sub != nil {
			if all, err = e.sub.finish(all); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// rank has what is anchored sorted before all else.
func (d *dir) rank(e *entry) int {
	if e.sub == nil && e.index < d.anchored {
		return e.index
	}
	return d.anchored
}

func checkName(s string) error {
	if s == "" || s == "." || s == ".." {
		return errors.New("path has an empty, . or .. component")
	}
	if !utf8.ValidString(s) || len(utf16.Encode([]rune(s))) > 255 {
		return fmt.Errorf("name %.40q is longer than 255 characters or not UTF-8", s)
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f || strings.ContainsRune(`"*/:<>?\|`, r) {
			return fmt.Errorf("name %q has %q, which FAT forbids", s, r)
		}
	}
	if strings.HasSuffix(s, ".") || strings.HasSuffix(s, " ") {
		return fmt.Errorf("name %q ends in a dot or a space, which FAT drops", s)
	}
	return nil
}

func checkLabel(s string) error {
	if len(s) > 11 {
		return fmt.Errorf("label %q is longer than 11 characters", s)
	}
	for _, r := range s {
		if r != ' ' && !shortRune(r) {
			return fmt.Errorf("label %q has %q: want upper-case letters, digits, - and _", s, r)
		}
	}
	if strings.TrimSpace(s) != s {
		return fmt.Errorf("label %q starts or ends with a space", s)
	}
	return nil
}

// shortRune says whether a short name can have r.
func shortRune(r rune) bool {
	return r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r < 0x80 && strings.ContainsRune("!#$%&'()-@^_`{}~", r)
}

// exactShort returns name in the 8.3 form if that loses nothing.
func exactShort(name string) (s [11]byte, ok bool) {
	base, ext, dot := strings.Cut(name, ".")
	if base == "" || len(base) > 8 || len(ext) > 3 || dot && ext == "" {
		return s, false
	}
	for _, r := range base + ext {
		if !shortRune(r) {
			return s, false
		}
	}
	return pad(base, ext), true
}

func pad(base, ext string) (s [11]byte) {
	copy(s[:], "           ")
	copy(s[:8], base)
	copy(s[8:], ext)
	return s
}

// alias makes a free short name for a long one: the same in upper case where that is
// one, as boot ROMs know no other (bootcode.bin is BOOTCODE.BIN), or BASE~1.EXT.
func alias(name string, taken map[[11]byte]bool) ([11]byte, error) {
	if s, ok := exactShort(strings.ToUpper(name)); ok && !taken[s] {
		return s, nil
	}
	base, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		base, ext = name[:i], name[i+1:]
	}
	base, ext = squeeze(base, 8), squeeze(ext, 3)
	if base == "" {
		base = "_"
	}
	for n := 1; n < 1_000_000; n++ {
		tail := fmt.Sprintf("~%d", n)
		s := pad(base[:min(len(base), 8-len(tail))]+tail, ext)
		if !taken[s] {
			return s, nil
		}
	}
	return [11]byte{}, fmt.Errorf("name %q: all short names are taken", name)
}

// squeeze keeps what a short name can have of s, up to n characters.
func squeeze(s string, n int) string {
	var b strings.Builder
	for _, r := range strings.ToUpper(s) {
		if b.Len() == n {
			break
		}
		switch {
		case r == ' ' || r == '.':
		case shortRune(r):
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}
