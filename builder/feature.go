package builder

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/victorinix/vic/internal/nearest"
)

// Feature is something that a disk layout may need beyond partitions, ext4 and
// vfat: "luks", "btrfs", .... The RAM system gets its programs and kernel
// modules, the installed system its packages.
type Feature string

// The features that a layout is asked for by code; features.yaml has them all.
const (
	Btrfs Feature = "btrfs"
	ExFAT Feature = "exfat"
	F2FS  Feature = "f2fs"
	LUKS  Feature = "luks"
	LVM   Feature = "lvm"
	MD    Feature = "md"
	NTFS  Feature = "ntfs"
	Swap  Feature = "swap"
	Thin  Feature = "thin"
	XFS   Feature = "xfs"
)

// allFeatures stands for every feature that a kernel has.
const allFeatures = "all"

//go:embed features.yaml
var featuresYAML []byte

// featureSpec is one entry of features.yaml.
type featureSpec struct {
	About   string    `yaml:"about"`
	Kernels []string  `yaml:"kernels"`
	Needs   []Feature `yaml:"needs"`
	System  struct {
		Packages  []string `yaml:"packages"`
		Programs  []string `yaml:"programs"`
		Libraries []string `yaml:"libraries"`
		Modules   []string `yaml:"modules"`
	} `yaml:"system"`
	Config  map[string]string `yaml:"config"`
	Payload []string          `yaml:"payload"`
}

// features are all of them, by name.
var features = sync.OnceValues(func() (map[Feature]featureSpec, error) {
	return parseFeatures(featuresYAML)
})

func parseFeatures(doc []byte) (map[Feature]featureSpec, error) {
	all := map[Feature]featureSpec{}
	if err := yaml.UnmarshalWithOptions(doc, &all, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read features: %w", err)
	}
	for name, f := range all {
		for _, other := range f.Needs {
			if _, ok := all[other]; !ok {
				return nil, fmt.Errorf("read features: %s needs %q, which is no feature", name, other)
			}
		}
	}
	return all, nil
}

// ParseFeatures turns names into features, sorted, with those that they need;
// "all" is every one that the kernel (Debian's flavour: "generic", "cloud")
// has. A name that is wrong, or that the kernel has not, is an error: whatever
// is installed with one kernel has to be readable with it.
func ParseFeatures(names []string, kernel string) ([]Feature, error) {
	all, err := features()
	if err != nil {
		return nil, err
	}
	chosen := map[Feature]bool{}
	var errs []error
	for _, name := range names {
		if name != allFeatures {
			errs = append(errs, chooseFeature(all, chosen, Feature(name), kernel))
			continue
		}
		for f, spec := range all {
			if spec.on(kernel) {
				chosen[f] = true
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(chosen)), nil
}

// chooseFeature adds a feature and what it needs.
func chooseFeature(all map[Feature]featureSpec, chosen map[Feature]bool, name Feature, kernel string) error {
	spec, ok := all[name]
	if !ok {
		return unknownFeature(all, name)
	}
	if !spec.on(kernel) {
		return fmt.Errorf("feature %s: Debian's %s kernel is built without it; kernel=%s has it", name, kernel, strings.Join(spec.Kernels, " or "))
	}
	if chosen[name] {
		return nil
	}
	chosen[name] = true
	var errs []error
	for _, other := range spec.Needs {
		errs = append(errs, chooseFeature(all, chosen, other, kernel))
	}
	return errors.Join(errs...)
}

func unknownFeature(all map[Feature]featureSpec, name Feature) error {
	known := []string{allFeatures}
	for f := range all {
		known = append(known, string(f))
	}
	if near := nearest.Name(string(name), known); near != "" {
		return fmt.Errorf("feature %q: there is none of that name: did you mean %q?", name, near)
	}
	slices.Sort(known)
	return fmt.Errorf("feature %q: there is none of that name, only %s", name, strings.Join(known, ", "))
}

func (f featureSpec) on(kernel string) bool {
	return len(f.Kernels) == 0 || slices.Contains(f.Kernels, kernel)
}

// withFeatures is the specification with what its features bring.
func (s InstallerSpec) withFeatures() (InstallerSpec, error) {
	all, err := features()
	if err != nil {
		return s, err
	}
	s.Config = maps.Clone(s.Config)
	if s.Config == nil {
		s.Config = map[string]string{}
	}
	for _, name := range s.Features {
		f, ok := all[name]
		if !ok {
			return s, refused(unknownFeature(all, name))
		}
		s.Packages = union(s.Packages, f.System.Packages)
		s.Programs = union(s.Programs, f.System.Programs)
		s.Libraries = union(s.Libraries, f.System.Libraries)
		s.Modules = union(s.Modules, f.System.Modules)
		s.featureModules = union(s.featureModules, f.System.Modules)
		maps.Copy(s.Config, f.Config)
	}
	return s, nil
}

// withFeatures is the specification with the packages of its features.
func (s PayloadSpec) withFeatures() (PayloadSpec, error) {
	packages, err := FeaturePackages(s.Features)
	s.Packages = union(s.Packages, packages)
	return s, refused(err)
}

// FeaturePackages are the packages that an installed system needs for
// features, sorted.
func FeaturePackages(names []Feature) ([]string, error) {
	all, err := features()
	if err != nil {
		return nil, err
	}
	var packages []string
	for _, name := range names {
		f, ok := all[name]
		if !ok {
			return nil, unknownFeature(all, name)
		}
		packages = union(packages, f.Payload)
	}
	return packages, nil
}

// featuresOf are the features that a payload has all packages of, whoever asked
// for them. versions are those of its packages.
func featuresOf(versions map[string]string) ([]Feature, error) {
	all, err := features()
	if err != nil {
		return nil, err
	}
	var found []Feature
	for name, f := range all {
		if !slices.ContainsFunc(f.Payload, func(p string) bool { return versions[p] == "" }) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found, nil
}

// union is all elements of both, sorted.
func union(a, b []string) []string {
	both := slices.Concat(a, b)
	slices.Sort(both)
	return slices.Compact(both)
}
