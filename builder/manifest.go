package builder

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/request"
)

// Version is the version of bundle.json and payload.json.
const Version = 1

// The names of the files of a bundle and of a payload.
const (
	KernelFile    = "vmlinuz"
	InitramfsFile = "initramfs.cpio.zst"
	SystemFile    = "system.erofs"
	BundleFile    = "bundle.json"
	ImageFile     = "payload.erofs"
	PayloadFile   = "payload.json"
	CardFile      = "card.json" // of package raspberry
	LockFile      = "lock.json"
	SecretsFile   = "secrets.json"
)

// File is one file of an artefact.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
	// Parts say where the file's bytes come from. Their Size adds up to the
	// file's: in a compressed file each part has the share that its own
	// compressed size is of the sum.
	Parts []Part `json:"parts,omitempty"`
}

// Part is what one origin contributes to a file.
type Part struct {
	// Origin is "package:NAME=VERSION", "module:NAME", "firmware:FILE",
	// "command:NAME", "kernel:RELEASE" or "vic:WHAT".
	Origin string `json:"origin"`
	Size   int64  `json:"size"`           // bytes of the artefact
	Raw    int64  `json:"raw"`            // bytes before compression
	Files  int    `json:"files,omitzero"` // how many files
}

// Bundle is bundle.json: what boots in RAM.
type Bundle struct {
	Version int    `json:"version"`
	Item    string `json:"item"`
	Arch    string `json:"arch"`
	Kernel  string `json:"kernel"` // uname -r
	// Cmdline is what the kernel must be given for this bundle.
	Cmdline string `json:"cmdline"`
	// Features are what it can install onto beyond ext4 and vfat.
	Features []Feature `json:"features,omitempty"`
	// Drivers are the modules that the hardware asked for, when it is for one
	// machine; empty: it is for any.
	Drivers []string `json:"drivers,omitempty"`
	Files   []File   `json:"files"`
	dir     string
}

// Payload is payload.json: what gets installed.
type Payload struct {
	Version  int    `json:"version"`
	Item     string `json:"item"`
	Suite    string `json:"suite"`
	Arch     string `json:"arch"`
	Format   string `json:"format"`
	Kernel   string `json:"kernel"`           // release of the newest kernel in it
	RootFS   string `json:"rootFS,omitempty"` // what its initramfs is for, see request.Payload
	TreeSize int64  `json:"treeSize"`         // bytes it takes on a target, see request.Payload
	// Features are those that the installed system has all packages for: what
	// it can boot from beyond ext4 and vfat.
	Features []Feature `json:"features,omitempty"`
	// System has the settings the payload was built with; they are applied on
	// the target.
	System request.System `json:"system"`
	Files  []File         `json:"files"`
	dir    string
}

// ErrNotArtefact is wrapped when a folder holds no bundle or payload.
var ErrNotArtefact = errors.New("not an artefact of vic build")

// OpenBundle reads bundle.json in dir and verifies every file it lists.
func OpenBundle(dir string) (*Bundle, error) {
	b := &Bundle{dir: dir}
	if err := openManifest(dir, BundleFile, b, &b.Version, &b.Files); err != nil {
		return nil, err
	}
	return b, nil
}

// OpenPayload reads payload.json in dir and verifies every file it lists.
func OpenPayload(dir string) (*Payload, error) {
	p := &Payload{dir: dir}
	if err := openManifest(dir, PayloadFile, p, &p.Version, &p.Files); err != nil {
		return nil, err
	}
	return p, nil
}

func openManifest(dir, name string, doc any, version *int, files *[]File) error {
	if err := readManifest(dir, name, doc, version); err != nil {
		return err
	}
	var errs []error
	for _, f := range *files {
		errs = append(errs, f.verify(dir))
	}
	return errors.Join(errs...)
}

func readManifest(dir, name string, doc any, version *int) error {
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("open %s: %w: it has no %s", dir, ErrNotArtefact, name)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	if err := json.Unmarshal(raw, doc); err != nil {
		return fmt.Errorf("decode %s: %w", filepath.Join(dir, name), err)
	}
	if *version != Version {
		return fmt.Errorf("decode %s: version %d, this vic reads %d", filepath.Join(dir, name), *version, Version)
	}
	return nil
}

// verify compares the file with its size and hash.
func (f File) verify(dir string) error {
	if f.Name != filepath.Base(f.Name) {
		return fmt.Errorf("verify %q: the name leads out of %s", f.Name, dir)
	}
	path := filepath.Join(dir, f.Name)
	got, err := hashFile(path)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if got.Size != f.Size {
		return fmt.Errorf("verify %s: it has %d bytes, %d were built: build it again", path, got.Size, f.Size)
	}
	if got.SHA256 != f.SHA256 {
		return fmt.Errorf("verify %s: SHA-256 is %s, %s was built: build it again", path, got.SHA256, f.SHA256)
	}
	return nil
}

func hashFile(path string) (File, error) {
	in, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.Copy(h, in)
	if err != nil {
		return File{}, fmt.Errorf("read %s: %w", path, err)
	}
	return File{Name: filepath.Base(path), Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// Path is the path of one of the bundle's files.
func (b *Bundle) Path(name string) string { return filepath.Join(b.dir, name) }

// Path is the path of one of the payload's files.
func (p *Payload) Path(name string) string { return filepath.Join(p.dir, name) }

// Image is the entry of the payload's image.
func (p *Payload) Image() (File, error) {
	i := slices.IndexFunc(p.Files, func(f File) bool { return f.Name == ImageFile })
	if i < 0 {
		return File{}, fmt.Errorf("payload in %s lists no %s", p.dir, ImageFile)
	}
	return p.Files[i], nil
}

// writeManifest writes a document as indented JSON.
func (o output) writeManifest(name string, doc any) error {
	return o.write(name, func(f *os.File) error {
		enc := json.NewEncoder(f)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		return enc.Encode(doc)
	})
}

// file describes a finished file of the folder. weights are its parts with
// Size as a relative weight; they are scaled to the size of the file.
func (o output) file(name string, weights []Part) (File, error) {
	f, err := hashFile(o.path(name))
	if err != nil {
		return File{}, err
	}
	f.Parts = scale(weights, f.Size)
	return f, nil
}

// scale merges parts of the same origin and scales their sizes so that they
// add up to total; the largest takes what rounding leaves.
func scale(weights []Part, total int64) []Part {
	byOrigin := map[string]*Part{}
	var sum int64
	for _, w := range weights {
		p := byOrigin[w.Origin]
		if p == nil {
			p = &Part{Origin: w.Origin}
			byOrigin[w.Origin] = p
		}
		p.Size, p.Raw, p.Files = p.Size+w.Size, p.Raw+w.Raw, p.Files+w.Files
		sum += w.Size
	}
	parts := make([]Part, 0, len(byOrigin))
	rest := total
	for _, p := range byOrigin {
		if sum > 0 {
			p.Size = share(total, p.Size, sum)
		}
		rest -= p.Size
		parts = append(parts, *p)
	}
	slices.SortFunc(parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), strings.Compare(a.Origin, b.Origin))
	})
	if len(parts) > 0 {
		parts[0].Size += rest
	}
	return parts
}

// share is total*part/sum, rounded down; the product may need 128 bits.
func share(total, part, sum int64) int64 {
	hi, lo := bits.Mul64(uint64(total), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(sum))
	return int64(q)
}
