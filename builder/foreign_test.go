package builder

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestCheckForeign(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	dir := t.TempDir()
	if err := checkForeign(runtime.GOARCH, dir); err != nil {
		t.Errorf("own architecture: %v", err)
	}
	if err := checkForeign(other, dir); err == nil || !strings.Contains(err.Error(), "qemu-user-static") {
		t.Errorf("without binfmt: got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "qemu-"+foreignName[other]), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := checkForeign(other, dir); err != nil {
		t.Errorf("with binfmt: %v", err)
	}
}
