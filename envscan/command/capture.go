package command

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/envscan/capture"
)

func captureVerb() Verb {
	return Verb{
		Name: "capture", Args: []string{"DIR|FILE.tar"}, Short: "Copy the files that the facts come from",
		Long: `What the probes look at below /sys, /proc, /dev, /etc and the kernel's modules is
copied, and nothing else; then --root DIR gives the same facts, on any machine, but
for what only a running kernel tells. Contents of disks are not copied, nor the
environment of processes.

The copy can be read by you alone. It is full of identifying values: with
--redact hash they are replaced, in names and contents of files.`,
		Example: "vic-env capture machine\nvic-env dump --root machine\nvic-env capture --redact hash machine.tar",
		New: func(flags *flag.FlagSet) Run {
			var f captureFlags
			f.scan.add(flags)
			f.redact.add(flags)
			return f.run
		},
	}
}

type captureFlags struct {
	scan   scanFlags
	redact redactFlags
}

func (f *captureFlags) run(ctx context.Context, s Streams, args []string) error {
	if f.redact.mode == envscan.RedactDrop {
		return misuse("use --redact hash: without --key nobody can try out values", "--redact drop: names of files cannot be left out")
	}
	r, err := f.redact.redactor()
	if err != nil {
		return err
	}
	root, err := filepath.Abs(f.scan.root)
	if err != nil {
		return err
	}
	entries, err := f.entries(ctx, s, root)
	if err != nil {
		return err
	}
	if r != nil {
		if entries, err = f.redacted(ctx, r, entries); err != nil {
			return err
		}
	}
	return save(args[0], entries)
}

// entries are what a scan by files alone looks at: of the running system too, for
// the copy has nothing but files.
func (f *captureFlags) entries(ctx context.Context, s Streams, root string) ([]capture.Entry, error) {
	if len(s.Self) == 0 {
		return nil, fmt.Errorf("capture: this program does not know how it was started")
	}
	argv := append(append([]string{}, s.Self...), "dump", "--root", filepath.Join(root)+"/.", "--timeout", f.scan.timeout.String())
	paths, err := capture.Watch(ctx, argv)
	if err != nil {
		return nil, &Error{exitFailed, err, "a container or a security module may forbid ptrace(2)"}
	}
	return capture.Collect(root, paths)
}

// redacted replaces what the facts of the machine, live ones too, say is
// identifying.
func (f *captureFlags) redacted(ctx context.Context, r *envscan.Redactor, entries []capture.Entry) ([]capture.Entry, error) {
	facts, err := f.scan.scan(ctx)
	if err != nil {
		return nil, err
	}
	scrub := r.Scrub(facts)
	for i := range entries {
		e := &entries[i]
		e.Path, e.Target, e.Content = scrub.Text(e.Path), scrub.Text(e.Target), scrub.File(e.Content)
	}
	return entries, nil
}

func save(to string, entries []capture.Entry) error {
	if !strings.HasSuffix(to, ".tar") {
		return capture.WriteDir(to, entries)
	}
	var b bytes.Buffer
	if err := capture.WriteTar(&b, entries); err != nil {
		return err
	}
	return writePrivate(to, b.Bytes())
}
