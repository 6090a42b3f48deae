package envscan

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

// TestLspci compares with lspci on this machine; a virtual one is in
// qemu-tests/facts.
func TestLspci(t *testing.T) {
	tooltest.Need(t, "lspci")
	out, err := exec.Command("lspci", "-Dn").Output()
	if err != nil {
		t.Skipf("lspci does not work here: %v", err)
	}
	var ours []string
	s := newScanner(Config{})
	for _, p := range s.pci() {
		ours = append(ours, fmt.Sprintf("%s %s: %s:%s", p.Address, p.Class[:4], p.Vendor, p.Device))
	}
	theirs := regexp.MustCompile(`(?m)^[0-9a-f]{4,}:\S+ [0-9a-f]{4}: [0-9a-f]{4}:[0-9a-f]{4}`).FindAllString(string(out), -1)
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) || len(s.gaps) > 0 {
		t.Errorf("lspci: %q, ours: %q %v", theirs, ours, s.gaps)
	}
}
