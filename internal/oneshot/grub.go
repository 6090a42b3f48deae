package oneshot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// customFile is what GRUB's configuration, as grub-mkconfig makes it, reads beside
// itself (41_custom).
const customFile = "custom.cfg"

// modules of GRUB that read a file system; those that are not here have the name of
// their format.
var modules = map[string]string{"vfat": "fat", "ext3": "ext2", "ext4": "ext2"}

// entry is a menu entry. Those who protect their menu with a password have it for
// the others.
func (s Start) entry(id uuid.UUID) string {
	module, ok := modules[s.Format]
	if !ok {
		module = s.Format
	}
	var b strings.Builder
	fmt.Fprintf(&b, "menuentry '%s' --id '%s' --unrestricted {\n", Label, Name(id))
	fmt.Fprintf(&b, "\tinsmod part_%s\n\tinsmod %s\n\tsearch --no-floppy --fs-uuid --set=root %s\n", s.Table, module, s.Filesystem)
	if s.Executable != "" {
		fmt.Fprintf(&b, "\tchainloader %s\n", s.Executable)
	} else {
		fmt.Fprintf(&b, "\tlinux %s %s\n\tinitrd %s\n", s.Kernel, s.Cmdline, s.Initrd)
	}
	return b.String() + "}\n"
}

// withEntry is custom.cfg with an entry at its end.
func withEntry(path, entry string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	return append(text, entry...), nil
}

// GRUBFolder finds the folder that GRUB reads, below root; empty: there is none.
func GRUBFolder(root string) (string, error) {
	for _, folder := range []string{"/boot/grub", "/boot/grub2"} {
		_, err := os.Stat(filepath.Join(root, folder, "grub.cfg"))
		if err == nil {
			return folder, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("look for GRUB: %w", err)
		}
	}
	return "", nil
}

var (
	readsNext = lazyregexp.New(`(?m)^\s*set default="\$\{next_entry\}"`)
	clears    = lazyregexp.New(`(?m)^\s*save_env next_entry`)
	custom    = lazyregexp.New(`(?m)^\s*source\s+\S*custom\.cfg`)
)

// ErrNotOneShot is wrapped by StartsOnce.
var ErrNotOneShot = errors.New("it is not as grub-mkconfig(8) writes it")

// StartsOnce reads the configuration in GRUB's folder, below root: nil when it starts
// what next_entry says once, and has the entries of custom.cfg.
func StartsOnce(root, folder string) error {
	path := filepath.Join(folder, "grub.cfg")
	text, err := os.ReadFile(filepath.Join(root, path))
	switch {
	case err != nil:
		return err
	case !readsNext.Match(text):
		return fmt.Errorf("%s: %w: next_entry is not read", path, ErrNotOneShot)
	case !clears.Match(text):
		return fmt.Errorf("%s: %w: next_entry is not cleared", path, ErrNotOneShot)
	case !custom.Match(text):
		return fmt.Errorf("%s: %w: custom.cfg is not read", path, ErrNotOneShot)
	}
	return nil
}

// IsGRUB says whether the first sector of a disk is GRUB's boot image, which says so
// in its messages.
func IsGRUB(sector []byte) bool {
	return len(sector) >= 440 && bytes.Contains(sector[:440], []byte("GRUB \x00"))
}
