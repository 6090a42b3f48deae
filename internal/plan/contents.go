package plan

import (
	"fmt"
	"strings"

	"github.com/victorinix/vic/internal/request"
)

// What the executors of a plan write is the same, whether the target is mounted
// or is an image.

// EFINames are the names of one architecture's boot loaders (UEFI 2.10
// §3.5.1.1 for the fallback).
type EFINames struct{ SystemdBoot, Fallback string }

// EFINamesFor are those of an architecture, by its Go name.
func EFINamesFor(arch string) (EFINames, error) {
	switch arch {
	case "amd64":
		return EFINames{"systemd-bootx64.efi", "BOOTX64.EFI"}, nil
	case "arm64":
		return EFINames{"systemd-bootaa64.efi", "BOOTAA64.EFI"}, nil
	}
	return EFINames{}, fmt.Errorf("no EFI boot loader for architecture %q", arch)
}

// Source is where the loader is in the target, without the ".signed" of the one
// that is preferred, as bootctl does: it starts the same without Secure Boot.
func (n EFINames) Source() string { return "/usr/lib/systemd/boot/efi/" + n.SystemdBoot }

// Paths are where it goes on the ESP.
func (n EFINames) Paths() []string {
	return []string{"EFI/systemd/" + n.SystemdBoot, "EFI/BOOT/" + n.Fallback}
}

// Files of systemd-boot on the ESP. With LoaderLayout kernel-install(8) and
// bootctl know the layout before the first entry exists.
const (
	LoaderConf   = "timeout 3\n"
	LoaderLayout = "type1\n"
)

// Sudoers is the file that lets an account without password use sudo: it has
// none to type. sudo skips names with a dot. ok is false when it needs none.
func Sudoers(u request.User) (path, content string, ok bool) {
	if !u.Sudo || u.Name == "root" || u.PasswordSecret != "" {
		return "", "", false
	}
	return "/etc/sudoers.d/90-vic-" + strings.ReplaceAll(u.Name, ".", "_"), u.Name + " ALL=(ALL:ALL) NOPASSWD: ALL\n", true
}

// AuthorizedKeys is the content of ~/.ssh/authorized_keys.
func AuthorizedKeys(u request.User) string { return strings.Join(u.SSHKeys, "\n") + "\n" }
