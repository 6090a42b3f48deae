// Package ram tests what the RAM system does of a reinstall, and what the new system
// does after it: from a disk that the test has put a stage on, without a system
// before.
package ram

import (
	"testing"

	"github.com/victorinix/vic/qemu-tests/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }
