// Package tooltest lets tests ask for the real programs that they check
// against.
package tooltest

import (
	"os"
	"testing"

	"github.com/victorinix/vic/internal/tool"
)

// Need returns a Runner when all the programs are installed. Where they are
// not, it skips the test and says why; where CI runs ($CI is set) it fails it,
// because a check that is skipped everywhere checks nothing.
func Need(t testing.TB, programs ...string) tool.Runner {
	t.Helper()
	for _, p := range programs {
		if _, err := (tool.Exec{}).LookPath(p); err != nil {
			Missing(t, "program "+p+" is not installed")
		}
	}
	return tool.Exec{}
}

// Missing ends a test that cannot run here: a skip, and a failure under CI.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("cannot run in CI: %s", why)
	}
	t.Skip(why)
}

// Root skips (fails under CI) unless the test runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		Missing(t, "needs root")
	}
}
