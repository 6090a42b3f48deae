package builder

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// SizeReport says where the bytes of an artefact come from.
type SizeReport struct {
	Path  string `json:"path"`
	Total int64  `json:"total"` // bytes
	Files []File `json:"files"`
}

// Size reports on a folder with a bundle.json, payload.json or card.json, or on one file
// of such a folder. Its metadata is not counted.
func Size(path string) (*SizeReport, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("size: %w", err)
	}
	dir, name := path, ""
	if !st.IsDir() {
		dir, name = filepath.Split(filepath.Clean(path))
		dir = cmp.Or(dir, ".")
	}
	files, err := manifestFiles(dir)
	if err != nil {
		return nil, err
	}
	r := &SizeReport{Path: path}
	for _, f := range files {
		if name == "" && f.Name != LockFile || f.Name == name {
			r.Files = append(r.Files, f)
			r.Total += f.Size
		}
	}
	if len(r.Files) == 0 {
		return nil, fmt.Errorf("size: %s is not listed by the artefact in %s", name, dir)
	}
	return r, nil
}

func manifestFiles(dir string) ([]File, error) {
	for _, name := range []string{BundleFile, PayloadFile, CardFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			var doc struct {
				Version int    `json:"version"`
				Files   []File `json:"files"`
			}
			err := openManifest(dir, name, &doc, &doc.Version, &doc.Files)
			return doc.Files, err
		}
	}
	return nil, fmt.Errorf("size %s: %w: it has no %s, %s or %s", dir, ErrNotArtefact, BundleFile, PayloadFile, CardFile)
}

// Parts is what every origin contributes to the whole artefact, largest first.
func (r *SizeReport) Parts() []Part {
	var all []Part
	for _, f := range r.Files {
		parts := f.Parts
		if len(parts) == 0 {
			parts = []Part{{Origin: "vic:" + f.Name, Size: f.Size, Raw: f.Size, Files: 1}}
		}
		all = append(all, parts...)
	}
	return scale(all, r.Total)
}

// Change is how an origin's contribution differs between two artefacts.
type Change struct {
	Origin string `json:"origin"`
	Before int64  `json:"before"` // bytes; 0: it is new
	After  int64  `json:"after"`  // bytes; 0: it is gone
}

// Against lists what differs from another artefact, the greatest growth first.
// Versions are left out of the comparison, so that an updated package is one
// line.
func (r *SizeReport) Against(old *SizeReport) []Change {
	byName := map[string]*Change{}
	count := func(r *SizeReport, add func(*Change, int64)) {
		for _, p := range r.Parts() {
			name, _, _ := strings.Cut(p.Origin, "=")
			if byName[name] == nil {
				byName[name] = &Change{Origin: name}
			}
			add(byName[name], p.Size)
		}
	}
	count(old, func(c *Change, n int64) { c.Before += n })
	count(r, func(c *Change, n int64) { c.After += n })
	var out []Change
	for _, c := range byName {
		if c.Before != c.After {
			out = append(out, *c)
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.After-b.Before, a.After-a.Before), strings.Compare(a.Origin, b.Origin))
	})
	return out
}
