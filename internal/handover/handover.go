// Package handover is the contract from a running system to the RAM system that
// takes its place by kexec: who may go on talking to the machine, by which
// addresses, and for how long it waits before it gives the machine back.
//
// The document is Path in the initramfs. Beside it, in KeyDir, are the SSH host
// keys of the system before: they never leave the machine. With a handover and
// without a request, the RAM system is on probation: it serves SSH and waits for
// a request; when the client does not acknowledge in time what was verified, it
// reboots into the system before, whose disks are as they were.
package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/netconf"
)

// Version is the version that this package writes and reads.
const Version = 1

// Where things are in the RAM system.
const (
	Path   = "/vic/handover.json"
	KeyDir = "/vic/ssh" // ssh_host_*_key, in OpenSSH's format, mode 0600
)

// Handover is the document. No secrets are in it.
type Handover struct {
	Version  int            `json:"version"`
	Hostname string         `json:"hostname"` // of the system before, for people
	Network  netconf.Config `json:"network"`
	// MachineID is machine-id(5) of the system before; empty: it has none.
	MachineID string `json:"machineId,omitempty"`
	// AuthorizedKeys may log in as root, in the format of authorized_keys(5), one
	// each: those of the user who logged in before, and that of the client.
	AuthorizedKeys []string `json:"authorizedKeys"`
	// Probation is how long the RAM system waits for a client's acknowledgement,
	// in seconds.
	Probation int64 `json:"probation"`
	// Port is that of the SSH server.
	Port int `json:"port"`
}

// maxSize bounds what Decode reads.
const maxSize = 1 << 20

// Encode writes the document, after checking it.
func (h Handover) Encode(w io.Writer) error {
	if err := h.Validate(); err != nil {
		return err
	}
	var doc bytes.Buffer
	enc := json.NewEncoder(&doc)
	enc.SetIndent("", "  ")
	if err := enc.Encode(h); err != nil {
		return fmt.Errorf("write handover: %w", err)
	}
	if _, err := w.Write(doc.Bytes()); err != nil {
		return fmt.Errorf("write handover: %w", err)
	}
	return nil
}

// Decode reads and checks one; unknown fields and other versions are refused.
func Decode(r io.Reader) (Handover, error) {
	doc, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return Handover{}, fmt.Errorf("read handover: %w", err)
	}
	if len(doc) > maxSize {
		return Handover{}, fmt.Errorf("read handover: larger than %d bytes", maxSize)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(doc, &head); err != nil {
		return Handover{}, fmt.Errorf("decode handover: %w", err)
	}
	if head.Version != Version {
		return Handover{}, fmt.Errorf("decode handover: version %d, this vic reads version %d", head.Version, Version)
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	var h Handover
	if err := dec.Decode(&h); err != nil {
		return Handover{}, fmt.Errorf("decode handover: %w", err)
	}
	return h, h.Validate()
}

var key = lazyregexp.New(`^[^\n\r\x00]+$`)

// Validate reports everything that is wrong, joined.
func (h Handover) Validate() error {
	var errs []error
	if h.Version != Version {
		errs = append(errs, fmt.Errorf("version %d must be %d", h.Version, Version))
	}
	if len(h.AuthorizedKeys) == 0 {
		errs = append(errs, errors.New("no authorized key: nobody could log in"))
	}
	for _, k := range h.AuthorizedKeys {
		if !key.MatchString(k) || strings.TrimSpace(k) == "" {
			errs = append(errs, fmt.Errorf("authorized key %.40q must be one line", k))
		}
	}
	if h.Probation <= 0 {
		errs = append(errs, fmt.Errorf("probation of %d seconds must be longer", h.Probation))
	}
	if h.Port <= 0 || h.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d must be from 1 to 65535", h.Port))
	}
	errs = append(errs, h.Network.Validate())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	return nil
}
