package command

import (
	"context"
	"flag"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/envscan/query"
)

func getVerb() Verb {
	return Verb{
		Name: "get", Args: []string{"PATH"}, Short: "Print one fact",
		Long: `A single value is printed bare, for shells, and everything else as a document.
Only what PATH needs is probed. The exit code is 1, and the reason is told, when
the fact is not there: it could not be read, or the list has no such element. A
fact that is null is printed as null.`,
		Example: "vic-env get hw.nic.0.hwaddr\nvic-env get 'hw.disk[name=sda].serial'\nvic-env get os --format yaml",
		New: func(flags *flag.FlagSet) Run {
			var f getFlags
			f.scan.add(flags)
			flags.StringVar(&f.format, "format", "json", "`FORMAT` of a fact that is no single value: json, yaml or flat")
			return f.run
		},
	}
}

type getFlags struct {
	scan   scanFlags
	format string
}

func (f *getFlags) run(ctx context.Context, s Streams, args []string) error {
	if err := oneOf("format", f.format, formats...); err != nil {
		return err
	}
	path := args[0]
	if err := envscan.KnownPath(path); err != nil {
		return pathError(err)
	}
	facts, err := f.scan.scan(ctx, path)
	if err != nil {
		return err
	}
	found, err := envscan.Find(facts, path)
	if err != nil {
		return pathError(err)
	}
	for _, p := range found {
		text, err := printed(p, f.format)
		if err != nil {
			return err
		}
		if _, err := s.Out.Write(text); err != nil {
			return err
		}
	}
	return nil
}

func printed(p query.Place, format string) ([]byte, error) {
	if format == "flat" {
		return document(p.Node, p.String(), format)
	}
	return render(p.Node, format)
}
