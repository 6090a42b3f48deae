package facts

import (
	"testing"

	"github.com/victorinix/vic/qemu-tests/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }
