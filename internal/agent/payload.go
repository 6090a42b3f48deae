package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

// payloadFile is what the agent reads of the builder's payload.json.
type payloadFile struct {
	Version  int    `json:"version"`
	Item     string `json:"item"`
	Arch     string `json:"arch"`
	Format   string `json:"format"`
	Kernel   string `json:"kernel"`
	TreeSize int64  `json:"treeSize"`
	// Its fields are all to be understood: one that a newer vic knows would be
	// missing from the installed system.
	System strictSystem `json:"system"`
	Files  []struct {
		Name   string `json:"name"`
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
	} `json:"files"`
}

// strictSystem refuses fields that this vic does not know.
type strictSystem struct{ request.System }

func (s *strictSystem) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s.System); err != nil {
		return fmt.Errorf("%w: the payload was built by another vic", err)
	}
	return nil
}

func readPayload(dir string) (payloadFile, error) {
	var p payloadFile
	path := filepath.Join(dir, "payload.json")
	doc, err := os.ReadFile(path)
	if err != nil {
		return p, fmt.Errorf("read payload: %w", err)
	}
	if err := json.Unmarshal(doc, &p); err != nil {
		return p, fmt.Errorf("decode %s: %w", path, err)
	}
	if p.Version != 1 {
		return p, fmt.Errorf("decode %s: version %d, this vic reads version 1", path, p.Version)
	}
	return p, nil
}

func (c *command) request(dir string) (request.Request, error) {
	p, err := readPayload(dir)
	if err != nil {
		return request.Request{}, err
	}
	doc, err := images.Layout(images.DefaultLayout, p.Arch)
	if err != nil {
		return request.Request{}, err
	}
	l, err := layout.Parse(images.DefaultLayout+".yaml", doc)
	if err != nil {
		return request.Request{}, err
	}
	req := request.Request{
		Version: request.Version, Item: p.Item, Layout: l, System: p.System.System,
		Disks: map[string]request.DiskSelector{"main": {Device: c.disk}}, Finish: request.FinishStay,
		Payload: request.Payload{Format: p.Format, Arch: p.Arch, Kernel: p.Kernel, TreeSize: p.TreeSize},
	}
	for _, f := range p.Files {
		if f.Name == "payload.erofs" {
			req.Payload.Size, req.Payload.SHA256 = f.Size, f.SHA256
			req.Payload.Source.Path, err = filepath.Abs(filepath.Join(dir, f.Name))
		}
	}
	return req, err
}

// secrets are those that the build left beside the payload, and those given
// here.
func (c *command) secrets(dir string) (secret.Set, error) {
	var all secret.Set
	f, err := os.Open(filepath.Join(dir, "secrets.json"))
	if err == nil {
		defer f.Close()
		all, err = secret.Decode(f)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return all, fmt.Errorf("read secrets: %w", err)
	}
	given, err := secret.Parse(c.given, secret.Host{})
	for _, name := range given.Names() {
		v, _ := given.Get(name)
		all = all.With(name, v)
	}
	return all, err
}
