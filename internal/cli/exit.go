package cli

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/initramfs/programs"
	"github.com/victorinix/vic/internal/tool"
)

// The exit codes.
const (
	exitDone      = 0
	exitInternal  = 1
	exitUsage     = 2
	exitRefused   = 3 // before anything was touched
	exitUntouched = 4 // failed, and nothing was written to the target disk
	exitResumable = 5 // failed after the first write; running it again resumes
	exitNoAnswer  = 6 // installed, but the installed system did not answer in time
)

// exitError is an error that knows its exit code, and may have a hint: what
// to do about it.
type exitError struct {
	Code int
	Err  error
	Hint string
}

func (e *exitError) Error() string { return e.Err.Error() }
func (e *exitError) Unwrap() error { return e.Err }

// fail gives an error an exit code and a hint (which may be empty). A nil
// error stays nil.
func fail(code int, err error, hint string) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err, hint}
}

// usage is a mistake in the command line.
func usage(hint, format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...), hint}
}

// hinter is an error of another package that knows what to do about it.
type hinter interface{ Hint() string }

// exitCode is the exit code for an error. One without a code is an internal
// error.
func exitCode(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return exit.Code
	}
	return exitInternal
}

// causes of failures that people can do something about: what was refused, and
// what broke.
var causes = []struct {
	err  error
	code int
	hint string
}{
	{deb.ErrSignature, exitRefused, "--keyring FILE names other keys; nothing was taken from this mirror"},
	{deb.ErrExpired, exitRefused, "the mirror is out of date (or the clock of this machine): --mirror URL names another"},
	{deb.ErrHash, exitRefused, "the mirror is altered, or in the middle of an update: --mirror URL names another"},
	{deb.ErrOffline, exitRefused, "leave out --offline once, to fill the cache"},
	{builder.ErrNotArtefact, exitRefused, "name a folder that `vic build` wrote"},
	{programs.ErrNotBuilt, exitRefused, ""},
	{tool.ErrNotFound, exitRefused, "`make setup` installs what vic needs"},
	{syscall.ENOSPC, exitUntouched, "make room, or name another disk with --cache DIR, --out DIR or $TMPDIR"},
}

// untouched gives errors their exit code where nothing was written to a target
// disk yet: bad input was refused, everything else broke.
func untouched(err error) error {
	var exit *exitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return fail(c.code, err, c.hint)
		}
	}
	var refused *builder.RefusedError
	if errors.As(err, &refused) {
		return fail(exitRefused, err, "")
	}
	return fail(exitUntouched, err, "")
}

// report prints the error, once, and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitDone
	}
	hint := ""
	var exit *exitError
	var h hinter
	if errors.As(err, &exit) {
		hint = exit.Hint
	}
	if hint == "" && errors.As(err, &h) {
		hint = h.Hint()
	}
	for line := range strings.Lines(a.secrets.Redact(err.Error())) {
		fmt.Fprintf(a.stderr, "vic: %s\n", strings.TrimSuffix(line, "\n"))
	}
	if hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", a.secrets.Redact(hint))
	}
	return exitCode(err)
}
