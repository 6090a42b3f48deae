package ramsys

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/victorinix/vic/internal/agent/appliance"
)

// Source says where the system erofs is. At most one of PartLabel, URL and Slot is
// set; with none it is in the initramfs.
type Source struct {
	PartLabel string
	URL       string
	Slot      appliance.ID // of the card of an appliance
	SHA256    string       // lower-case hex; for a PartLabel it may come from the manifest
}

// parseSource reads the value of vic.system=: "PARTLABEL=vic-system",
// "SLOT=1234abcd-01" or "http://host/system.erofs#sha256=...".
func parseSource(v string) (Source, error) {
	where, hash, hashed := strings.Cut(v, "#sha256=")
	if hashed && !isSHA256(hash) {
		return Source{}, fmt.Errorf("%q is no SHA-256 in lower-case hex", hash)
	}
	if label, ok := strings.CutPrefix(where, "PARTLABEL="); ok && label != "" {
		return Source{PartLabel: label, SHA256: hash}, nil
	}
	if slot, ok := strings.CutPrefix(v, "SLOT="); ok {
		id, err := appliance.ParseID(slot)
		return Source{Slot: id}, err
	}
	u, err := url.Parse(where)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return Source{}, fmt.Errorf("%q is neither PARTLABEL=... nor SLOT=... nor a URL", where)
	}
	if !hashed {
		return Source{}, fmt.Errorf("%q has no #sha256=: what comes over a network is only trusted by its hash", where)
	}
	return Source{URL: where, SHA256: hash}, nil
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && s == strings.ToLower(s)
}

// manifest is /vic/system.json: what the builder says of the system erofs.
type manifest struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes
	// ChunkSize and Chunks may give the hashes of consecutive chunks (the last
	// one is shorter), so that all processors can verify at once: by itself,
	// the hash would be most of the time that the RAM system takes to start.
	ChunkSize int64    `json:"chunkSize,omitempty"` // bytes
	Chunks    []string `json:"chunks,omitempty"`
}

// check refuses a manifest that does not describe a file.
func (m manifest) check() error {
	if !isSHA256(m.SHA256) || m.Size <= 0 {
		return fmt.Errorf("size %d and sha256 %q do not describe a file", m.Size, m.SHA256)
	}
	if len(m.Chunks) == 0 {
		return nil
	}
	if m.ChunkSize <= 0 || (m.Size-1)/m.ChunkSize+1 != int64(len(m.Chunks)) {
		return fmt.Errorf("%d chunks of %d bytes are not %d bytes", len(m.Chunks), m.ChunkSize, m.Size)
	}
	for i, c := range m.Chunks {
		if !isSHA256(c) {
			return fmt.Errorf("chunk %d has the sha256 %q", i, c)
		}
	}
	return nil
}

// readManifest returns a zero manifest when there is none.
func readManifest(path string) (manifest, error) {
	var m manifest
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("decode %s: %w", path, err)
	}
	if err := m.check(); err != nil {
		return m, fmt.Errorf("decode %s: %w", path, err)
	}
	return m, nil
}
