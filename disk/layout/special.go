package layout

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

const refusedBcache = "bcache is disko's, but vic does not make bcache devices"

// refused are keys of disko that mean something that vic cannot do. They are
// errors when they are set to anything.
var refused = map[reflect.Type]map[string]string{
	reflect.TypeFor[Layout](): {"bcache": refusedBcache},
	reflect.TypeFor[Dataset](): {
		"passwordFile":     "vic does not make encrypted datasets with a key from a file: use options.keylocation",
		"generatePassword": "vic does not make up passwords",
	},
	reflect.TypeFor[LUKSSettings](): {
		"fido2":   "vic does not enroll FIDO2 tokens",
		"gpgCard": "vic does not unlock with a GnuPG card",
		"yubikey": "vic does not unlock with a YubiKey's challenge and response",
	},
}

// internal are options of disko that it computes itself, as they stand in an
// evaluated configuration.
var internal = []string{
	"_config", "_create", "_createFilesystem", "_destroy", "_index", "_meta", "_module", "_mount",
	"_mountpoint", "_name", "_packages", "_parent", "_pkgs", "_scripts", "_unmount", "_update",
}

// special handles the keys that disko knows and that are no fields here.
func (d *decoder) special(t reflect.Type, key, path string, value ast.Node) bool {
	if why, ok := refused[t][key]; ok {
		if !empty(value) {
			d.fail(value, path, "%s", why)
		}
		return true
	}
	switch {
	case slices.Contains(internal, key):
		return true
	case key == "device" && (contentTypes[t] || t == reflect.TypeFor[Partition]()),
		key == "mountpoint" && t == reflect.TypeFor[SwapFile]():
		if !empty(value) {
			d.devices[path] = value
		}
		return true
	case key == "type" && (t == reflect.TypeFor[MBRPartition]() || t == reflect.TypeFor[LogicalVolume]()):
		return true // older configurations: "partition", "lvm_lv"
	}
	return false
}

// empty values say nothing: null, false, "", [], {}.
func empty(n ast.Node) bool {
	switch n := n.(type) {
	case nil:
		return true
	case ast.MapNode:
		return !n.MapRange().Next()
	case ast.ArrayNode:
		return !n.ArrayRange().Next()
	}
	s, _ := scalar(n)
	return n.Type() == ast.NullType || s == "" || n.Type() == ast.BoolType && s == "false"
}

// computed compares the values of keys that disko computes, where they were
// written down, with what disko would compute.
func (d *decoder) computed(l Layout) {
	want := map[string]string{}
	l.walk(func(s site) {
		want[s.path+".device"] = s.device
		if s.on == onPartition && s.part != nil {
			want[strings.TrimSuffix(s.path, ".content")+".device"] = s.device
		}
		if b, ok := s.spec().(*Btrfs); ok {
			swapFiles(want, s.path, b)
		}
	})
	for _, path := range sortedKeys(d.devices) {
		n := d.devices[path]
		got, _ := scalar(n)
		key := strings.TrimPrefix(strings.TrimPrefix(path, d.prefix), ".")
		if is, ok := want[key]; ok && is != "" && got != is {
			d.fail(n, path, "is %q by default, and vic finds it itself: leave it out, or write that", is)
		}
	}
}

// swapFiles adds where the swap files of a btrfs are seen.
func swapFiles(want map[string]string, path string, b *Btrfs) {
	add := func(at, mountpoint string, files map[string]SwapFile) {
		for key, f := range files {
			if mountpoint != "" {
				want[at+".swap."+key+".mountpoint"] = mountpoint + "/" + or(f.Path, key)
			}
		}
	}
	add(path, b.Mountpoint, b.Swap)
	for key, v := range b.Subvolumes {
		at := v.Mountpoint
		if at == "" && b.Mountpoint != "" {
			at = b.Mountpoint + "/" + or(v.Name, key)
		}
		add(path+".subvolumes."+key, at, v.Swap)
	}
}

// oldSwapFiles is the older form of swap files in a btrfs.
type oldSwapFiles struct {
	Enable bool         `json:"enable"`
	Files  []oldSwapOne `json:"files"`
}

type oldSwapOne struct {
	Size       string `json:"size"`
	Path       string `json:"path"`
	PathPrefix string `json:"pathPrefix"`
}

// oldSwap reads the older form; not ok when it is not that.
func (d *decoder) oldSwap(n ast.Node, path string, files *map[string]SwapFile) bool {
	m, ok := n.(ast.MapNode)
	if !ok {
		return false
	}
	old := false
	for it := m.MapRange(); it.Next(); {
		key, _ := scalar(it.Key())
		_, list := it.Value().(ast.ArrayNode)
		old = old || key == "enable" && it.Value().Type() == ast.BoolType || key == "files" && list
	}
	if !old {
		return false
	}
	var swap oldSwapFiles
	d.mapping(n, path, reflectOf(&swap))
	if !swap.Enable {
		return true
	}
	*files = map[string]SwapFile{}
	for i, f := range swap.Files {
		name := f.Path
		if name == "" {
			name = or(f.PathPrefix, "swapfile")
			if i > 0 {
				name += strconv.Itoa(i + 1)
			}
		}
		(*files)[name] = SwapFile{Size: f.Size}
	}
	return true
}
