package tooltest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/victorinix/vic/internal/tool"
)

// Run runs a program that a test needs, and returns its standard output.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := Need(t, name).Run(t.Context(), tool.Cmd{Name: name, Args: args})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Stdout)
	}
	return string(out.Stdout)
}

// Image makes a sparse file of that size, and returns its path.
func Image(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	return path
}
