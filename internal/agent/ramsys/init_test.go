package ramsys

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTitle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "version")
	if got, want := title(version(path)), "vic (unknown version), RAM system"; got != want {
		t.Errorf("without a version: %q, want %q", got, want)
	}
	if err := os.WriteFile(path, []byte("v1.2.3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := title(version(path)), "vic v1.2.3, RAM system"; got != want {
		t.Errorf("title = %q, want %q", got, want)
	}
}
