// Package remote tests `vic install --on`: from another machine, over networks as
// machines have them, to old systems that vic did not make.
package remote

import (
	"os"
	"testing"

	"github.com/victorinix/vic/qemu-tests/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// matrix reports whether everything is to be tested with everything, which takes
// long; otherwise one of each has to do.
func matrix() bool { return os.Getenv("VIC_TEST_MATRIX") == "1" }
