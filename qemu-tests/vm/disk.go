package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Overlay makes a qcow2 image for a test whose unwritten parts are those of
// backing (raw or qcow2), which stays as it is.
func Overlay(t TB, backing string) string {
	t.Helper()
	path, err := makeOverlay(filepath.Join(t.TempDir(), "overlay.qcow2"), backing)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return path
}

func makeOverlay(path, backing string) (string, error) {
	backing, err := filepath.Abs(backing)
	if err != nil {
		return "", fmt.Errorf("make overlay of %s: %w", backing, err)
	}
	format, err := detectFormat(backing)
	if err != nil {
		return "", err
	}
	return path, overlay(context.Background(), host{}, path, image{backing, format})
}

// BlankDisk makes a raw image of size bytes at path, which must not exist. It
// takes no room before it is written to.
func BlankDisk(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("make blank disk: %w", err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return fmt.Errorf("make blank disk: %w", err)
	}
	return nil
}
