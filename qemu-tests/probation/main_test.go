// Package probation tests that a machine which another system sent into RAM comes
// back by itself when nobody acknowledges it: whatever hangs, dies or crashes
// there, and with its disk as it was. All of it is skipped by go test -short.
package probation

import (
	"testing"

	"github.com/victorinix/vic/qemu-tests/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }
