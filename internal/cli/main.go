// Package cli is the command line of vic: verbs, flags, hints, exit codes and
// the rendering of progress. One file per verb.
//
// It is the only package that prints and exits. stdout is for machines (or the
// one thing that was asked for), stderr for people. The work is done by the
// packages below it; a verb turns flags into their inputs.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/secret"
)

// app is what the verbs share.
type app struct {
	stdin  io.Reader
	stdout io.Writer // machines
	stderr io.Writer // people
	// terminal tells whether a person looks at stderr.
	terminal bool
	// registry gives the items that are built into vic, which are read when they are
	// first asked for: reading them takes half of the time that vic needs to start.
	registry func() (*config.Registry, error)
	// secrets were given with -s. They are hidden from events and errors.
	secrets secret.Set
}

// Main runs vic with the arguments after its name, and returns the exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, terminal: isTerminal(stderr), registry: builtIn()}
	root := newRoot(a)
	root.SetArgs(args)
	return a.report(root.ExecuteContext(ctx))
}

// builtIn reads the items that are built into vic, once.
func builtIn() func() (*config.Registry, error) {
	return sync.OnceValues(func() (*config.Registry, error) {
		r, err := config.Open(images.FS())
		if err != nil {
			return nil, fmt.Errorf("read the items built into vic: %w", err)
		}
		return r, nil
	})
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
