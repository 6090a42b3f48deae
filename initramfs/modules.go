package initramfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
)

// ModuleFiles are the modules that c chooses, with their dependencies, index
// and firmware, as files below usr/lib, for another image than the initramfs;
// missing are the names of firmware that c.Firmware does not have.
func ModuleFiles(c Config) (files []File, missing []string, err error) {
	if c.Modules == nil {
		if len(c.Sets) > 0 {
			return nil, nil, fmt.Errorf("select module sets %v: no kernel modules given", c.Sets)
		}
		return nil, nil, nil
	}
	if c.Release == "" || path.Base(c.Release) != c.Release {
		return nil, nil, fmt.Errorf("select modules: %q is no kernel release", c.Release)
	}
	t, err := openTree(c.Modules)
	if err != nil {
		return nil, nil, err
	}
	chosen, err := t.selectSets(c.Sets)
	if err != nil {
		return nil, nil, err
	}
	elsewhere, err := t.selectSets(c.Elsewhere)
	if err != nil {
		return nil, nil, err
	}
	index := t.restricted(slices.Concat(chosen, elsewhere))
	index[fileDep] = withUnpacked(index[fileDep], elsewhere)
	root := path.Join("usr/lib/modules", c.Release)
	for _, p := range chosen {
		if slices.Contains(elsewhere, p) {
			continue
		}
		f, err := readFile(c.Modules, p, path.Join(root, p), OriginModule)
		if err != nil {
			return nil, nil, fmt.Errorf("read kernel module: %w", err)
		}
		files = append(files, f)
	}
	files = append(files, indexFiles(root, index)...)
	if c.Firmware == nil {
		return files, nil, nil
	}
	firmware, missing, err := c.firmwareFiles(chosen)
	return append(files, firmware...), missing, err
}

// withUnpacked is modules.dep with some of the modules unpacked.
func withUnpacked(dep []byte, unpacked []string) []byte {
	var out bytes.Buffer
	lines(dep, func(line string) {
		words := strings.Split(line, " ")
		for i, w := range words {
			name, colon := strings.CutSuffix(w, ":")
			if !slices.Contains(unpacked, name) {
				continue
			}
			words[i] = compressedModule.ReplaceAllString(name, "$1")
			if colon {
				words[i] += ":"
			}
		}
		out.WriteString(strings.Join(words, " ") + "\n")
	})
	return out.Bytes()
}

func indexFiles(root string, index map[string][]byte) []File {
	var files []File
	for name, b := range index {
		f := Regular(path.Join(root, name), 0o644, b)
		f.Origin = OriginIndex
		files = append(files, f)
	}
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	return files
}

func (c Config) firmwareFiles(modules []string) (files []File, missing []string, err error) {
	found, missing, err := FirmwareFor(c.Modules, modules, c.Firmware)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range found {
		f, err := readFile(c.Firmware, p, path.Join("usr/lib/firmware", p), OriginFirmware)
		if err != nil {
			return nil, nil, fmt.Errorf("read firmware: %w", err)
		}
		files = append(files, f)
	}
	return files, missing, nil
}

// readFile takes a file or a link of fsys into the archive as name.
func readFile(fsys fs.FS, p, name, origin string) (File, error) {
	st, err := fs.Lstat(fsys, p)
	if err != nil {
		return File{}, err
	}
	var f File
	if st.Mode().Type() == fs.ModeSymlink {
		target, err := fs.ReadLink(fsys, p)
		if err != nil {
			return File{}, err
		}
		f = Symlink(name, target)
	} else {
		b, err := fs.ReadFile(fsys, p)
		if err != nil {
			return File{}, err
		}
		f = Regular(name, 0o644, b)
	}
	f.Origin = origin
	return f, nil
}
