package lab

import (
	"context"
	"os"
	"testing"

	"github.com/victorinix/vic/builder/deb"
)

// Archive opens a suite of the archive, for amd64, with the user's cache: of the
// mirror that $VIC_MIRROR names, or this machine's own.
func Archive(ctx context.Context, t *testing.T, suite string) *deb.Archive {
	t.Helper()
	mirror := os.Getenv("VIC_MIRROR")
	if mirror == "" {
		var err error
		if mirror, err = deb.HostMirror("/"); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := deb.Open(ctx, deb.Config{Mirror: mirror, Suite: suite, Arch: "amd64", CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	return archive
}
