// Package programs holds the programs that vic puts onto a target, for every
// architecture, compressed: the busybox with vic-init (PID 1 of the RAM
// system) and the rescue commands, vic-env, and vic-appliance.
//
// They are made by `make build` (the generate command beside this package)
// and embedded, so that a vic executable makes images for any architecture
// without a Go toolchain. The package compiles without them and then says so.
//
// # How the kernel reaches vic-init
//
// The busybox chooses the command by the last link that leads to it, so the
// initramfs has
//
//	/init -> bbin/vic-init -> bb
//
// and the kernel's own /init (argv[0] "/init") runs vic-init without rdinit=
// on the kernel command line.
package programs

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/klauspost/compress/zstd"
)

//go:embed files
var files embed.FS

// ErrNotBuilt is returned by a vic that was compiled without the programs.
var ErrNotBuilt = errors.New("built without target programs: run make build")

// Manifest describes the programs of one architecture; the generator writes
// it as programs-ARCH.json.
type Manifest struct {
	// Key is a hash of everything that the programs were made from.
	Key string `json:"key"`
	// Go is the toolchain that compiled them.
	Go       string   `json:"go"`
	Commands []string `json:"commands"`
	Init     Program  `json:"init"`
	Env      Program  `json:"env"`
	// Appliance runs the services of an appliance.
	Appliance Program `json:"appliance"`
}

// Program is one ELF executable.
type Program struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Init returns the static ELF of the busybox for arch (a GOARCH).
func Init(arch string) ([]byte, error) {
	return program(files, arch, "init", func(m Manifest) Program { return m.Init })
}

// Env returns the static ELF of vic-env for arch (a GOARCH).
func Env(arch string) ([]byte, error) {
	return program(files, arch, "env", func(m Manifest) Program { return m.Env })
}

// Appliance returns the static ELF of vic-appliance for arch (a GOARCH).
func Appliance(arch string) ([]byte, error) {
	return program(files, arch, "appliance", func(m Manifest) Program { return m.Appliance })
}

// Commands returns the sorted names of the commands in the busybox.
func Commands(arch string) ([]string, error) {
	m, err := manifest(files, arch)
	return m.Commands, err
}

func manifest(fsys fs.FS, arch string) (Manifest, error) {
	var m Manifest
	b, err := fs.ReadFile(fsys, "files/programs-"+arch+".json")
	if errors.Is(err, fs.ErrNotExist) {
		return m, missing(fsys, arch)
	}
	if err != nil {
		return m, fmt.Errorf("read target programs for %s: %w", arch, err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("decode manifest of target programs for %s: %w", arch, err)
	}
	return m, nil
}

// missing tells a vic without any programs from one without those of arch.
func missing(fsys fs.FS, arch string) error {
	have, err := fs.Glob(fsys, "files/programs-*.json")
	if err != nil || len(have) == 0 {
		return ErrNotBuilt
	}
	return fmt.Errorf("no target programs for architecture %q", arch)
}

func program(fsys fs.FS, arch, name string, pick func(Manifest) Program) ([]byte, error) {
	m, err := manifest(fsys, arch)
	if err != nil {
		return nil, err
	}
	want := pick(m)
	packed, err := fs.ReadFile(fsys, "files/"+name+"-"+arch+".zst")
	if err != nil {
		return nil, fmt.Errorf("read target program %s for %s: %w", name, arch, err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	elf, err := dec.DecodeAll(packed, make([]byte, 0, want.Size))
	if err != nil {
		return nil, fmt.Errorf("decompress target program %s for %s: %w", name, arch, err)
	}
	if sum := sha256.Sum256(elf); hex.EncodeToString(sum[:]) != want.SHA256 {
		return nil, fmt.Errorf("target program %s for %s: sha256 %x, manifest says %s: run make build", name, arch, sum, want.SHA256)
	}
	return elf, nil
}
