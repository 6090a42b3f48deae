package hotplug

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Coldplug collects the modaliases of the devices that are already below sys
// (normally /sys), sorted, each once. Like udev it goes by bus and by class,
// which names every device without walking the tree of all kobjects.
func Coldplug(sys string) []string {
	var found []string
	for _, list := range []string{"bus/*/devices", "class/*"} {
		dirs, _ := filepath.Glob(filepath.Join(sys, list)) // the pattern is well-formed
		for _, dir := range dirs {
			found = append(found, modaliases(dir)...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// modaliases reads the modaliases of the devices linked from dir. A device
// that vanishes meanwhile is passed over.
func modaliases(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	var found []string
	for _, name := range names {
		b, err := os.ReadFile(dir + "/" + name + "/modalias")
		if s := strings.TrimSpace(string(b)); err == nil && s != "" {
			found = append(found, s)
		}
	}
	return found
}
