package registration

import (
	"io"
	"path/filepath"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/tool"
)

// Env is the machine that changes are made on.
type Env struct {
	// Root is where its files are; empty: /.
	Root string
	// Run runs foreign programs.
	Run tool.Runner
	// Variables are the firmware's; nil: it has none.
	Variables efi.Variables
	// Writing is told of each write before it is made: "rename /boot/vic.efi".
	// It may be nil.
	Writing func(what string)
	// attic is where the registration at hand keeps bytes.
	attic attic
}

// attic keeps bytes beside a record.
type attic interface {
	keep(name string, r io.Reader) (sum string, err error)
	kept(name, sum string) (io.ReadCloser, error)
}

// Note tells Writing of a write.
func (e *Env) Note(what string) {
	if e.Writing != nil {
		e.Writing(what)
	}
}

// Path is a path of the machine, as this process sees it.
func (e *Env) Path(path string) string { return filepath.Join("/", e.Root, path) }

// Keep puts bytes beside the record, on the medium, and returns their SHA-256.
// Names are of lower-case letters. It is for Prepare.
func (e *Env) Keep(name string, r io.Reader) (sum string, err error) { return e.attic.keep(name, r) }

// Kept opens what was kept. Bytes that have another sum are an error.
func (e *Env) Kept(name, sum string) (io.ReadCloser, error) { return e.attic.kept(name, sum) }
