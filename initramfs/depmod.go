package initramfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"sort"
	"strings"
)

// Depmod computes the index of a module tree from the modules themselves, as
// depmod(8) does when a kernel package is installed: the text of modules.dep,
// modules.alias, modules.softdep and modules.weakdep, by file name. A kernel
// package that has only been unpacked has none of them. All modules are
// decompressed for it (14 s of processor time for Debian's generic kernel), so
// callers keep the result beside the package and add it to the tree.
func Depmod(modules fs.FS) (map[string][]byte, error) {
	files, err := moduleFilesOf(modules)
	if err != nil {
		return nil, err
	}
	infos, err := readInfos(modules, files)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]int, len(files))
	for i, info := range infos {
		if first, ok := byName[info.Name]; ok {
			return nil, fmt.Errorf("index kernel modules: %s and %s are both %s", files[first], files[i], info.Name)
		}
		byName[info.Name] = i
	}
	var dep, alias, soft, weak bytes.Buffer
	for i, info := range infos {
		order, err := loadOrder(infos, byName, i)
		if err != nil {
			return nil, fmt.Errorf("index kernel modules: %w", err)
		}
		dep.WriteString(files[i] + ":")
		for j := len(order) - 2; j >= 0; j-- { // the last is the module itself
			dep.WriteString(" " + files[order[j]])
		}
		dep.WriteByte('\n')
		for _, a := range info.Aliases {
			fmt.Fprintf(&alias, "alias %s %s\n", a, info.Name)
		}
		writeSoftdep(&soft, info)
		if len(info.Weak) > 0 {
			fmt.Fprintf(&weak, "weakdep %s %s\n", info.Name, strings.Join(info.Weak, " "))
		}
	}
	return map[string][]byte{
		fileDep: dep.Bytes(), fileAlias: alias.Bytes(), fileSoftdep: soft.Bytes(), fileWeakdep: weak.Bytes(),
	}, nil
}

func writeSoftdep(w *bytes.Buffer, info Info) {
	if len(info.Pre)+len(info.Post) == 0 {
		return
	}
	w.WriteString("softdep " + info.Name)
	if len(info.Pre) > 0 {
		w.WriteString(" pre: " + strings.Join(info.Pre, " "))
	}
	if len(info.Post) > 0 {
		w.WriteString(" post: " + strings.Join(info.Post, " "))
	}
	w.WriteByte('\n')
}

// moduleFilesOf lists the files of all modules, in the order of
// modules.order where there is one: of several modules for one alias, the
// first is the one that the kernel's builders prefer.
func moduleFilesOf(modules fs.FS) ([]string, error) {
	var files []string
	err := fs.WalkDir(modules, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && isModule(p) {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list kernel modules: %w", err)
	}
	rank := map[string]int{}
	if order, err := fs.ReadFile(modules, fileOrder); err == nil {
		lines(order, func(line string) { rank[barePath(line)] = len(rank) + 1 })
	}
	last := len(rank) + 1
	position := func(p string) int {
		if r := rank[barePath(p)]; r > 0 {
			return r
		}
		return last
	}
	sort.SliceStable(files, func(i, j int) bool { return position(files[i]) < position(files[j]) })
	return files, nil
}

// loadOrder returns the modules that have to be loaded for start, itself the
// last, each after those it depends on.
func loadOrder(infos []Info, byName map[string]int, start int) ([]int, error) {
	const visiting, done = 1, 2
	state := map[int]int{}
	var order []int
	var visit func(i int) error
	visit = func(i int) error {
		switch state[i] {
		case done:
			return nil
		case visiting:
			return fmt.Errorf("%s depends on itself", infos[i].Name)
		}
		state[i] = visiting
		for _, dep := range infos[i].Depends {
			j, ok := byName[dep]
			if !ok {
				return fmt.Errorf("%s depends on %s, which is not there", infos[i].Name, dep)
			}
			if err := visit(j); err != nil {
				return err
			}
		}
		state[i] = done
		order = append(order, i)
		return nil
	}
	err := visit(start)
	return order, err
}
