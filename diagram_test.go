// Package vic holds no code: this test keeps the import diagram of the design.
package vic

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/victorinix/vic/"

// leaves may be imported by everybody: contracts and seams without effects of
// their own.
var leaves = []string{"internal/event", "internal/nearest", "internal/lazyregexp", "internal/keyring", "internal/tool", "internal/request", "internal/template", "internal/netconf", "internal/handover", "internal/enter/order", "internal/stage", "disk/layout", "images", "internal/service", "internal/accesspoint", "internal/slot"}

// allowed says which packages of the module a package may reach, directly or
// not. A folder stands for everything below it. What is not listed may import
// nothing but the leaves.
var allowed = map[string][]string{
	"cmd/vic":           {"internal/registration", "internal/oneshot", "internal/enter", "internal/kmod", "internal/agefile", "internal/remote", "internal/visit", "internal/agent/control", "internal/cli", "internal/config", "internal/plan", "internal/secret", "internal/agent/install", "internal/agent/download", "internal/agent/writeback", "internal/agent/storage", "internal/agent/within", "internal/agent/copytree", "internal/flash", "builder", "initramfs", "disk", "efi", "kexec", "envscan", "qemu-tests/vm"},
	"cmd/vic-init":      {"internal/registration", "internal/kmod", "internal/agent", "internal/enter", "internal/plan", "internal/secret", "disk", "efi", "kexec", "envscan"},
	"cmd/vic-appliance": {"internal/kmod", "internal/agent", "internal/plan", "internal/secret", "disk", "efi", "kexec", "envscan"},
	"cmd/vic-env":       {"envscan", "internal/enter", "internal/kmod", "kexec", "disk/sysfs", "disk/probe"},

	"internal/cli": {"internal/registration", "internal/oneshot", "internal/enter", "internal/cli/like", "internal/kmod", "internal/agefile", "internal/remote", "internal/visit", "internal/agent/control", "internal/config", "internal/plan", "internal/secret", "internal/agent/install", "internal/agent/download", "internal/agent/writeback", "internal/agent/storage", "internal/agent/within", "internal/agent/copytree", "internal/flash", "builder", "initramfs", "disk", "efi", "kexec", "envscan", "qemu-tests/vm"},
	// An agent runs plans: it must not be able to build anything.
	"internal/agent": {"internal/registration", "internal/agent", "internal/kmod", "internal/plan", "internal/secret", "disk", "efi", "kexec", "envscan"},
	"internal/plan":  {"internal/plan", "internal/kmod", "envscan", "disk/sysfs", "disk/probe"},

	// What vic changed on a host: the core and the kinds of changes below it.
	"internal/registration": {"internal/registration", "disk", "efi"},

	"internal/agefile": {"internal/secret"},
	// A client speaks the same protocol as the RAM system.
	"internal/visit": {"internal/agent/control", "internal/agent/writeback", "internal/secret"},
	// What runs on the system that is left goes over the network first: it is small.
	"internal/enter": {"kexec"},

	// The stage's file system; the contract itself is a leaf.
	// What is set for the next boot is registered.
	"internal/oneshot": {"internal/registration", "disk", "efi"},

	"internal/stage/volume":  {"internal/stage", "disk/image/fat"},
	"internal/stage/journal": {"internal/stage", "disk/image/fat"},
	"internal/stage/mirror":  {"internal/stage", "disk/image/fat"},

	"builder": {"internal/kmod", "builder", "initramfs", "disk", "efi", "internal/config"},
	// A disk image is what a plan makes of a disk: the same steps as on a target,
	// executed on files. Plans are pure.
	"builder/diskimage": {"builder", "disk", "efi", "envscan", "initramfs", "internal/config", "internal/kmod", "internal/plan"},
	"builder/deb":       {},
	"initramfs":         {"internal/kmod", "initramfs"}, // for modules.alias
	"disk":              {"disk"},
	"efi":               {"efi"},
	"envscan":           {"envscan", "internal/kmod", "disk/sysfs", "disk/probe"},
	"qemu-tests":        {"internal/registration", "internal/oneshot", "internal/enter", "kexec", "internal/kmod", "internal/agefile", "internal/remote", "internal/visit", "internal/agent/control", "qemu-tests", "internal/agent", "internal/cli", "internal/flash", "internal/config", "internal/plan", "internal/secret", "builder", "initramfs", "disk", "efi", "envscan"},
	"qemu-tests/vm":     {},
	// What is written onto cards has been built elsewhere.
	"internal/flash": {"disk"},
}

func TestImportDiagram(t *testing.T) {
	noteSources(t)
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Deps}} {{.}}{{end}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg, ok := strings.CutPrefix(fields[0], module)
		if !ok {
			continue // this package
		}
		packages++
		for _, dep := range fields[1:] {
			if dep, ok := strings.CutPrefix(dep, module); ok && !mayReach(pkg, dep) {
				t.Errorf("%s must not import %s (directly or through others)", pkg, dep)
			}
		}
	}
	if packages < 10 {
		t.Errorf("go list found %d packages: the test checks nothing", packages)
	}
}

// noteSources reads every folder of sources: go test reuses the result of a test
// whose files are as they were, and does not see those that go list has read.
func noteSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && (name == "bin" || name == "out" || strings.HasPrefix(d.Name(), ".") && name != ".") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func mayReach(pkg, dep string) bool {
	return slices.ContainsFunc(append(slices.Clone(leaves), rule(pkg)...), func(dir string) bool { return below(dep, dir) })
}

// rule is the entry of the longest folder that pkg is in.
func rule(pkg string) []string {
	best := ""
	for dir := range allowed {
		if below(pkg, dir) && len(dir) > len(best) {
			best = dir
		}
	}
	return allowed[best]
}

func below(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

// The rules themselves: a typing error in a folder would allow everything, or
// nothing.
func TestRules(t *testing.T) {
	for _, tt := range []struct {
		pkg, dep string
		want     bool
	}{
		{"builder", "internal/agent/install", false},
		{"internal/agent/install", "builder", false},
		{"internal/agent/install", "builder/deb", false},
		{"disk", "efi", false},
		{"envscan", "disk", false},
		{"internal/plan", "disk", false},
		{"internal/plan", "disk/layout", true},
		{"builder", "builder/deb", true},
		{"efi", "internal/cli", false},
		{"internal/agent/ramsys", "internal/cli", false},
		{"internal/tool", "internal/event", true},
		{"internal/agent", "internal/agefile", false},
	} {
		if got := mayReach(tt.pkg, tt.dep); got != tt.want {
			t.Errorf("%s -> %s: got %v, want %v", tt.pkg, tt.dep, got, tt.want)
		}
	}
}
