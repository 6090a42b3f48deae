// Package order is the contract between a client that has uploaded a RAM system
// and `vic-env enter`, which loads it: what was uploaded, and what the client is
// told before the machine leaves for it.
package order

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Version is the version of Order that this package writes and reads.
const Version = 2

// The documents of an upload. The names of the other files are in the order.
const (
	Path         = "enter.json"
	HandoverPath = "handover.json" // internal/handover
)

// Order says what was uploaded, into one folder.
type Order struct {
	Version int    `json:"version"`
	Kernel  File   `json:"kernel"`
	Initrd  []File `json:"initrd"`  // its parts, one after the other
	Cmdline string `json:"cmdline"` // the whole kernel command line
}

// Files are all files of the order.
func (o Order) Files() []File { return append([]File{o.Kernel}, o.Initrd...) }

// Size is that of all files together, in bytes.
func (o Order) Size() (total int64) {
	for _, f := range o.Files() {
		total += f.Size
	}
	return total
}

// File is a file beside the order.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`   // in bytes
	SHA256 string `json:"sha256"` // in hex
}

// Answer is what the client is told, as one line of JSON, before the system ends.
type Answer struct {
	// Loaded is the system call that did it: kexec_file_load or kexec_load.
	Loaded string `json:"loaded"`
	// HostKeys are the public keys of the RAM system's SSH server, as in
	// known_hosts(5) without the host: "ssh-ed25519 AAAA...".
	HostKeys []string `json:"hostKeys"`
	// NewHostKey: none of the machine's own could be handed over; HostKeys has one
	// that was made for the RAM system.
	NewHostKey bool   `json:"newHostKey,omitempty"`
	MachineID  string `json:"machineId"` // machine-id(5); empty: it has none
	// Warnings are for people: what is not as it should be, but is no reason to stay.
	Warnings []string `json:"warnings,omitempty"`
}

// Decode reads and checks an order; unknown fields and other versions are refused.
func Decode(text []byte) (Order, error) {
	var o Order
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return o, fmt.Errorf("decode %s: %w", Path, err)
	}
	if err := o.Validate(); err != nil {
		return o, fmt.Errorf("decode %s: %w", Path, err)
	}
	return o, nil
}

// Validate reports everything that is wrong, joined.
func (o Order) Validate() error {
	var errs []error
	if o.Version != Version {
		errs = append(errs, fmt.Errorf("version %d must be %d", o.Version, Version))
	}
	errs = append(errs, o.Kernel.validate("kernel"))
	if len(o.Initrd) == 0 {
		errs = append(errs, errors.New("no initrd"))
	}
	names := map[string]bool{o.Kernel.Name: true}
	for _, f := range o.Initrd {
		errs = append(errs, f.validate("initrd"))
		if names[f.Name] {
			errs = append(errs, fmt.Errorf("two files are %q", f.Name))
		}
		names[f.Name] = true
	}
	if strings.TrimSpace(o.Cmdline) == "" {
		errs = append(errs, errors.New("no kernel command line"))
	}
	return errors.Join(errs...)
}

func (f File) validate(what string) error {
	var errs []error
	if f.Name == "" || f.Name != filepath.Base(f.Name) || f.Name == "." || f.Name == ".." {
		errs = append(errs, fmt.Errorf("%s: %q is no name of a file", what, f.Name))
	}
	if f.Size <= 0 {
		errs = append(errs, fmt.Errorf("%s: %d bytes", what, f.Size))
	}
	if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size {
		errs = append(errs, fmt.Errorf("%s: %q is no SHA-256", what, f.SHA256))
	}
	return errors.Join(errs...)
}
