package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/victorinix/vic/envscan"
)

// scanFlags say what is scanned, and how.
type scanFlags struct {
	root    string
	timeout time.Duration
	wake    bool
}

func (f *scanFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&f.root, "root", "/", "read the /sys, /proc, /dev and /etc below `DIR` instead")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "`TIME` that each probe has, for devices that do not answer")
	flags.BoolVar(&f.wake, "wake", false, "ask sleeping disks for their health too, which starts them")
}

// scan finds the facts below some paths; without, all.
func (f *scanFlags) scan(ctx context.Context, only ...string) (envscan.Facts, error) {
	if f.timeout <= 0 {
		return envscan.Facts{}, misuse("write a time such as 10s", "--timeout %v is no time to wait", f.timeout)
	}
	facts, err := envscan.Scan(ctx, envscan.Config{Root: f.root, Timeout: f.timeout, Wake: f.wake, Only: only})
	if err != nil && f.root != "/" {
		err = &Error{exitFailed, err, "--root DIR is a folder that `vic-env capture` made, or another with sys and proc in it"}
	}
	return facts, err
}

// redactFlags say what is done to identifying values.
type redactFlags struct{ mode, key string }

func (f *redactFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&f.mode, "redact", "none", "what becomes of identifying values: `HOW` is none, hash (equal ones stay equal) or drop")
	flags.StringVar(&f.key, "key", "", "`FILE` with the key for --redact hash, at least 16 bytes (default: a new key each time)")
}

// redactor is what the flags say; nil: nothing is redacted.
func (f *redactFlags) redactor() (*envscan.Redactor, error) {
	switch f.mode {
	case "none", envscan.RedactHash, envscan.RedactDrop:
	default:
		return nil, misuse("write --redact none, hash or drop", "--redact %q is none of none, hash, drop", f.mode)
	}
	if f.key != "" && f.mode != envscan.RedactHash {
		return nil, misuse("add --redact hash", "--key is for --redact hash only")
	}
	if f.mode == "none" {
		return nil, nil
	}
	var key []byte
	if f.key != "" {
		var err error
		if key, err = os.ReadFile(f.key); err != nil {
			return nil, misuse("", "read --key: %w", err)
		}
	}
	r, err := envscan.NewRedactor(f.mode, key)
	if err != nil {
		return nil, misuse("head -c 32 /dev/urandom > FILE makes a key", "read --key %s: %w", f.key, err)
	}
	return r, nil
}

// pathError gives an error of a path its exit code and hint.
func pathError(err error) error {
	var p *envscan.PathError
	if !errors.As(err, &p) {
		return err
	}
	if errors.Is(err, envscan.ErrUnknown) {
		return &Error{exitUsage, err, "`vic-env schema` and docs/facts.md list every fact"}
	}
	return &Error{exitNone, err, rootHint(p.Gaps)}
}

func rootHint(gaps []envscan.Gap) string {
	if slices.ContainsFunc(gaps, func(g envscan.Gap) bool { return g.Need == "root" }) {
		return "run it as root"
	}
	return ""
}

// writePrivate writes a file that only its owner may read, whole or not at all.
func writePrivate(path string, content []byte) (err error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return os.WriteFile(path, content, 0o600) // a pipe, /dev/stdout
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
		}
	}()
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// emit writes to stdout, or to a file.
func emit(out io.Writer, file string, content []byte) error {
	if file != "" {
		return writePrivate(file, content)
	}
	_, err := out.Write(content)
	return err
}

func oneOf(flag, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	list := strings.Join(values, ", ")
	return misuse("write one of "+list, "--%s %q is none of %s", flag, value, list)
}
