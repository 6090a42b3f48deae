// Package reinstall tests `vic install` onto the disk that the system runs from:
// inside old systems that vic did not make, without help from outside.
package reinstall

import (
	"os"
	"testing"

	"github.com/victorinix/vic/qemu-tests/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// needMatrix skips what takes long: three boots of a machine, two of them of whole
// systems. What the RAM system does of it is tested in the package ram.
func needMatrix(t *testing.T) {
	t.Helper()
	if os.Getenv("VIC_TEST_MATRIX") != "1" {
		t.Skip("takes many minutes for each old system: VIC_TEST_MATRIX=1 runs it")
	}
}
