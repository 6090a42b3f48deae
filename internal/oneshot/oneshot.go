// Package oneshot has a machine start the RAM system once, and the system that it has
// at every start after that: whoever acts on what is set here deletes it before it
// goes on.
//
//	UEFI          Boot#### that is not in BootOrder, and BootNext
//	systemd-boot  an entry on its ESP, and the variable LoaderEntryOneShot
//	GRUB          an entry in custom.cfg, and next_entry in its environment block
//
// Each change is made by a function such as registration.Store.Do, so that it can be
// taken back.
package oneshot

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/boot"
	"github.com/victorinix/vic/internal/registration/file"
	"github.com/victorinix/vic/internal/stage"
)

// Do makes a change that can be taken back: registration.Store.Do.
type Do func(context.Context, registration.Change) (id string, err error)

// Content is called when a file is read, twice.
type Content func() (io.ReadCloser, error)

// Label is what boot menus show.
const Label = stage.EntryLabel

// Name is what an attempt's entries and files are called, in all boot loaders.
func Name(id uuid.UUID) string { return fmt.Sprintf("vic-%x", id[:4]) }

// UKI is the path of the RAM system on an ESP that is not the stage, from its top.
func UKI(id uuid.UUID) string { return "EFI/vic/" + Name(id) + ".efi" }

// FirmwarePath is a path of a partition as a boot entry of the firmware has it.
func FirmwarePath(path string) string {
	return `\` + strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", `\`)
}

// BootNext has the firmware start a file of a partition once.
func BootNext(ctx context.Context, do Do, partition efi.HardDrive, path string) error {
	entry := &boot.Entry{Label: Label, Partition: partition, Path: FirmwarePath(path), Place: boot.None}
	if _, err := do(ctx, entry); err != nil {
		return err
	}
	_, err := do(ctx, boot.BootNext(entry.Number))
	return err
}

// PutUKI puts the RAM system on the ESP that is mounted at a path.
func PutUKI(ctx context.Context, do Do, esp string, id uuid.UUID, uki Content) error {
	_, err := do(ctx, file.FromReader(filepath.Join(esp, UKI(id)), 0o600, uki))
	return err
}

// SystemdBoot has systemd-boot start the RAM system once: it is on the ESP.
func SystemdBoot(ctx context.Context, do Do, esp string, id uuid.UUID) error {
	// Boot Loader Specification, type #1.
	text := fmt.Sprintf("title %s\nefi /%s\n", Label, UKI(id))
	name := Name(id) + ".conf"
	if _, err := do(ctx, file.New(filepath.Join(esp, "loader", "entries", name), 0o600, []byte(text))); err != nil {
		return err
	}
	_, err := do(ctx, boot.LoaderOneShot(name))
	return err
}

// Start is what GRUB starts: a kernel with its initrd, or on UEFI an executable. The
// paths are from the top of the file system.
type Start struct {
	// Filesystem is the UUID of the one that holds the files, Format its type, and
	// Table that of the partition table: gpt or msdos.
	Filesystem, Format, Table string

	Kernel, Initrd, Cmdline string
	Executable              string
}

// GRUB has GRUB start the RAM system once. folder is its own: /boot/grub.
func GRUB(ctx context.Context, do Do, folder string, id uuid.UUID, s Start) error {
	path := filepath.Join(folder, customFile)
	text, err := withEntry(path, s.entry(id))
	if err != nil {
		return err
	}
	if _, err := do(ctx, file.New(path, 0o600, text)); err != nil {
		return err
	}
	_, err = do(ctx, boot.NextEntry(filepath.Join(folder, "grubenv"), Name(id)))
	return err
}
