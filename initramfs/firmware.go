package initramfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sync/errgroup"
)

// FirmwareFor returns the files of firmware (its root is usr/lib/firmware
// elsewhere) that the modules in files may ask for, sorted, and the names
// that they ask for in vain. A compressed NAME.xz or NAME.zst serves for NAME
// (CONFIG_FW_LOADER_COMPRESS); a name may be a pattern, as brcmfmac's are.
// Links are followed by listing their targets too.
func FirmwareFor(modules fs.FS, files []string, firmware fs.FS) (found, missing []string, err error) {
	infos, err := readInfos(modules, files)
	if err != nil {
		return nil, nil, err
	}
	have, lost := map[string]bool{}, map[string]bool{}
	for _, info := range infos {
		for _, name := range info.Firmware {
			matches, err := firmwareFiles(firmware, name)
			if err != nil {
				return nil, nil, fmt.Errorf("find firmware %s of %s: %w", name, info.Name, err)
			}
			if len(matches) == 0 {
				lost[name] = true
			}
			for _, m := range matches {
				have[m] = true
			}
		}
	}
	return sortedKeys(have), sortedKeys(lost), nil
}

// AsksForFirmware reports whether any module of sets may ask for firmware.
func AsksForFirmware(modules fs.FS, sets ...string) (bool, error) {
	files, err := SelectModules(modules, sets...)
	if err != nil {
		return false, err
	}
	infos, err := readInfos(modules, files)
	return slices.ContainsFunc(infos, func(i Info) bool { return len(i.Firmware) > 0 }), err
}

func sortedKeys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// firmwareFiles returns the files for one name, links before their targets.
func firmwareFiles(firmware fs.FS, name string) ([]string, error) {
	var out []string
	for _, ext := range []string{"", ".zst", ".xz"} {
		pattern := path.Clean(name) + ext
		if !fs.ValidPath(pattern) {
			return nil, errors.New("not a path inside the firmware folder")
		}
		matches, err := fs.Glob(firmware, pattern)
		if err != nil {
			return nil, err
		}
		for _, m := range matches {
			chain, err := followLinks(firmware, m)
			if err != nil {
				return nil, err
			}
			out = append(out, chain...)
		}
	}
	return out, nil
}

// followLinks returns name, and while it is a link its target, and so on. A
// link out of the tree ends the chain in an error.
func followLinks(fsys fs.FS, name string) ([]string, error) {
	var chain []string
	for range 8 {
		chain = append(chain, name)
		st, err := fs.Lstat(fsys, name)
		if err != nil {
			return nil, err
		}
		if st.Mode().IsRegular() {
			return chain, nil
		}
		if st.Mode().Type() != fs.ModeSymlink {
			return nil, fmt.Errorf("%s is a %s", name, st.Mode().Type())
		}
		target, err := fs.ReadLink(fsys, name)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(target, "/") {
			target = strings.TrimPrefix(target, "/usr")
			target = strings.TrimPrefix(target, "/lib/firmware/")
			name = target
		} else {
			name = path.Join(path.Dir(name), target)
		}
		if !fs.ValidPath(name) {
			return nil, fmt.Errorf("link to %s leaves the firmware folder", target)
		}
	}
	return nil, fmt.Errorf("%s: too many links", chain[0])
}

// readInfos reads .modinfo of every file, on all processors: most of the time
// goes into decompression.
func readInfos(modules fs.FS, files []string) ([]Info, error) {
	infos := make([]Info, len(files))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range files {
		g.Go(func() error {
			b, err := fs.ReadFile(modules, p)
			if err != nil {
				return fmt.Errorf("read kernel module: %w", err)
			}
			if infos[i], err = ModuleInfo(b); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			if infos[i].Name == "" {
				infos[i].Name = moduleName(p)
			}
			return nil
		})
	}
	return infos, g.Wait()
}
