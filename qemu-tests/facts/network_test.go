package facts

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// TestHandover runs those tests of the RAM system's network that need bonds,
// VLANs and bridges that filter, under a kernel that has them.
func TestHandover(t *testing.T) {
	lab.Need(t)
	const pattern = "Bond|BridgeVLAN"
	test := filepath.Join(t.TempDir(), "network.test")
	buildGo(t, test, "test", "-c", "github.com/victorinix/vic/internal/agent/ramsys/network")
	names := strings.Fields(lab.Say(t, test, "-test.list", pattern))
	if len(names) < 4 {
		t.Fatalf("too few tests are called %s: %v", pattern, names)
	}
	out := machineScript{
		modules: []string{"veth", "bridge", "8021q", "bonding max_bonds=0"},
		tools:   []string{"ip", "nsenter", "unshare", "bash", "sleep"},
		static:  map[string]string{"usr/bin/network.test": test},
		script:  "export CI=1\nnetwork.test -test.run '" + pattern + "' -test.v 2>&1\necho \"@ ended $?\"\n",
		config:  vm.Config{MemoryMiB: 512},
	}.run(t)
	if _, ok := out["ended 0"]; !ok || strings.Contains(out[""], "--- SKIP") {
		t.Errorf("the tests have failed or were skipped:\n%v", out)
	}
	for _, name := range names {
		if !strings.Contains(out[""], "--- PASS: "+name+" ") {
			t.Errorf("%s has not passed:\n%s", name, out[""])
		}
	}
}
