// Package images is the items and types that vic knows, as data.
//
//	types/NAME.yaml       options: their types, defaults, descriptions
//	items/NAME.yaml       the types of an item, its defaults, secrets and lists
//	layouts/NAME.yaml     disk layouts in disko's schema
//	appliances/NAME.json  the services of the items of a type
//
// The package only carries the files; internal/config reads items and types
// and gives them meaning, disk/layout reads the layouts.
package images

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
)

//go:embed types items layouts appliances
var files embed.FS

// FS is the tree of data files, in the shape that config.Open takes.
func FS() fs.FS { return files }

// DefaultLayout is the name of the layout for a whole disk of any machine.
const DefaultLayout = "default"

// RaspberryPiLayout is the name of the layout for a card of a Raspberry Pi.
const RaspberryPiLayout = "raspberry-pi"

// rootAMD64 is the type of the root partition in the layouts as written.
const rootAMD64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"

// rootType is the Discoverable Partitions Specification's type of a root
// partition, by Debian's name of the architecture.
func rootType(arch string) (string, error) {
	switch arch {
	case "amd64":
		return rootAMD64, nil
	case "arm64":
		return "B921B045-1DF0-41C3-AF44-4C6F280D3FAE", nil
	}
	return "", fmt.Errorf("find the root partition type of %s: unknown architecture", arch)
}

// Layout returns layouts/NAME.yaml with the root partition type of arch
// (amd64, arm64). The error for an unknown name wraps fs.ErrNotExist.
func Layout(name, arch string) ([]byte, error) {
	root, err := rootType(arch)
	if err != nil {
		return nil, err
	}
	b, err := files.ReadFile("layouts/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("read layout %q: %w", name, err)
	}
	return bytes.ReplaceAll(b, []byte(rootAMD64), []byte(root)), nil
}

// Services returns appliances/NAME.json, the graph of the services of a type (see
// internal/service). The error for a type of no appliance wraps fs.ErrNotExist.
func Services(typ string) ([]byte, error) {
	b, err := files.ReadFile("appliances/" + typ + ".json")
	if err != nil {
		return nil, fmt.Errorf("read services of %q: %w", typ, err)
	}
	return b, nil
}
