package deb

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
)

// writeRelease describes a local repository. mmdebstrap chooses the essential
// packages by suite or code name, which apt knows from a Release file alone.
// The file is unsigned: what it lists was verified on the way in.
func (a *Archive) writeRelease(dir string, index []byte) error {
	text := fmt.Sprintf("Suite: %[1]s\nCodename: %[1]s\nDate: %[2]s\nArchitectures: %[3]s\nSHA256:\n %[4]x %[5]d Packages\n",
		a.cfg.Suite, a.release.date, a.cfg.Arch, sha256.Sum256(index), len(index))
	if err := writeAtomic(filepath.Join(dir, "Release"), []byte(text)); err != nil {
		return fmt.Errorf("make local repository: %w", err)
	}
	return nil
}
