package cli

import (
	"errors"
	"fmt"
	"strings"
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

// report prints the error, once, and returns the exit code. An error without
// one is an internal error.
func (a *app) report(err error) int {
	if err == nil {
		return exitDone
	}
	code, hint := exitInternal, ""
	var exit *exitError
	var h hinter
	if errors.As(err, &exit) {
		code, hint = exit.Code, exit.Hint
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
	return code
}
