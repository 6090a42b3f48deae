// Package runs says which tests run in a machine: what the host and the program
// in the machine tell each other.
package runs

import (
	"path"
	"strings"
)

// Dir is where the tests are in the machine.
const Dir = "/tests"

// Port is the virtio-serial port for what they say.
const Port = "org.vic.tests"

// List is what is to be run.
type List struct {
	Modules []string `json:"modules"` // loaded before
	Runs    []Run    `json:"runs"`
	// Secrets are words that the tests give to vic, and that no process of the
	// machine may show in its arguments or its environment.
	Secrets []string `json:"secrets,omitempty"`
}

// Run is one run of a package's tests.
type Run struct {
	Package string   `json:"package"` // its folder in the repository: "disk/luks"
	Args    []string `json:"args"`    // of the test binary
}

// Program is the test binary in the machine. Its name is that which go test
// gives it.
func (r Run) Program() string { return r.Folder() + "/" + path.Base(r.Package) + ".test" }

// Folder is the working directory: a copy of the package's, with its testdata.
func (r Run) Folder() string { return path.Join(Dir, r.Package) }

// Begin is the line that comes before the output.
func (r Run) Begin() string { return "==== begin " + r.Package + " " + strings.Join(r.Args, " ") }

// End is the line that comes after the output.
func (r Run) End(err error) string {
	if err != nil {
		return r.ends() + err.Error()
	}
	return r.ends() + passed
}

const passed = "passed"

func (r Run) ends() string { return "==== end " + r.Package + ": " }

// Output cuts the run's output out of all that the port has said. It has ended
// when the line after it is there; failure is how, unless all is well.
func (r Run) Output(said string) (output, failure string, ended bool) {
	_, rest, began := strings.Cut(said, "\n"+r.Begin()+"\n")
	output, rest, ended = strings.Cut(rest, "\n"+r.ends())
	how, _, whole := strings.Cut(rest, "\n")
	if !began || !ended || !whole {
		return output, "", false
	}
	if how == passed {
		return output, "", true
	}
	return output, how, true
}
