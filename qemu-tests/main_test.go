// Package qemutests tests vic from end to end: its own command builds,
// installs and boots, in virtual machines, and programs that are not vic's
// judge what came out. See package lab. All of it is skipped by go test -short.
package qemutests

import (
	"testing"

	"github.com/victorinix/vic/qemu-tests/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }
