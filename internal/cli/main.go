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
	registry *config.Registry
	// secrets were given with -s. They are hidden from events and errors.
	secrets secret.Set
}

// Main runs vic with the arguments after its name, and returns the exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, terminal: isTerminal(stderr)}
	registry, err := config.Open(images.FS())
	if err != nil {
		return a.report(fmt.Errorf("read the items built into vic: %w", err))
	}
	a.registry = registry
	root := newRoot(a)
	root.SetArgs(args)
	return a.report(root.ExecuteContext(ctx))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
