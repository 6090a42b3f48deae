package command

import (
	"context"
	"flag"
	"fmt"

	"github.com/victorinix/vic/envscan"
)

func dumpVerb() Verb {
	return Verb{
		Name: "dump", Short: "Print all facts of this machine",
		Long: `The document is explained in docs/facts.md: what is absent was not probed
(scan.gaps says why), what is null is not there. It is the same in two runs, apart
from state. Identifying values are in it; --redact takes them out.`,
		Example: "vic-env dump\nvic-env dump --format flat --redact drop | grep hw.nic\nvic-env dump --redact hash --key fleet.key --output machine.json",
		New: func(flags *flag.FlagSet) Run {
			var f dumpFlags
			f.scan.add(flags)
			f.redact.add(flags)
			flags.StringVar(&f.format, "format", "json", "`FORMAT` of the document: json, yaml or flat (a line for each fact)")
			flags.StringVar(&f.output, "output", "", "`FILE` to write to, which only you may read (default: standard output)")
			return f.run
		},
	}
}

type dumpFlags struct {
	scan           scanFlags
	redact         redactFlags
	format, output string
}

func (f *dumpFlags) run(ctx context.Context, s Streams, _ []string) error {
	if err := oneOf("format", f.format, formats...); err != nil {
		return err
	}
	r, err := f.redact.redactor()
	if err != nil {
		return err
	}
	facts, err := f.scan.scan(ctx)
	if err != nil {
		return err
	}
	if r != nil {
		if facts, err = r.Redact(facts); err != nil {
			return fmt.Errorf("redact facts: %w", err)
		}
	}
	doc, err := envscan.Document(facts)
	if err != nil {
		return err
	}
	text, err := document(doc, "", f.format)
	if err != nil {
		return err
	}
	return emit(s.Out, f.output, text)
}
