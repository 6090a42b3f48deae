package command

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/envscan/query"
)

func matchVerb() Verb {
	return Verb{
		Name: "match", Args: []string{"EXPR", "[EXPR...]"}, Short: "Print the facts that meet comparisons; exit with 1 when none does",
		Long: `EXPR is a path with comparisons in brackets, hw.nic[driver=virtio_net], or one
that ends in a comparison: os.id=debian. Comparisons are =, !=, <, >, <= and >=,
several are separated by commas, and numbers may end in K, M, G or T (powers of
1024). An object stands for its type: hw.firmware=uefi. In a comparison a list
stands for each of its elements. What is absent meets no comparison, what is
null is = null. Of several EXPR each has to match something.`,
		Example: "vic-env match 'hw.nic[driver=virtio_net]'\nvic-env match 'hw.disk[size>=100G,rotational=false,partition.content.type=ext4].name'\nvic-env match -q os.id=debian hw.firmware=uefi",
		New: func(flags *flag.FlagSet) Run {
			var f matchFlags
			f.scan.add(flags)
			flags.StringVar(&f.format, "format", "json", "`FORMAT` of what is no single value: json, yaml or flat")
			flags.BoolVar(&f.quiet, "q", false, "print nothing: the exit code tells")
			return f.run
		},
	}
}

type matchFlags struct {
	scan   scanFlags
	format string
	quiet  bool
}

func (f *matchFlags) run(ctx context.Context, s Streams, args []string) error {
	if err := oneOf("format", f.format, formats...); err != nil {
		return err
	}
	var exprs []query.Expr
	var only []string
	for _, arg := range args {
		e, err := envscan.KnownExpr(arg)
		if err != nil {
			return pathError(err)
		}
		exprs, only = append(exprs, e), append(only, e.Path.String())
	}
	facts, err := f.scan.scan(ctx, only...)
	if err != nil {
		return err
	}
	doc, err := envscan.Document(facts)
	if err != nil {
		return err
	}
	var found []query.Place
	for _, e := range exprs {
		got := query.Match(doc, e)
		if len(got) == 0 {
			return f.none(facts, e)
		}
		found = append(found, got...)
	}
	for _, p := range found {
		text, err := printed(p, f.format)
		if err != nil {
			return err
		}
		if f.quiet {
			continue
		}
		if _, err := s.Out.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// none says nothing, as grep, unless something could not be read that might have
// matched.
func (f *matchFlags) none(facts envscan.Facts, e query.Expr) error {
	gaps := envscan.GapsAt(facts, e.Path.Static())
	if len(gaps) == 0 || f.quiet {
		return &Error{Code: exitNone}
	}
	var why []string
	for _, g := range gaps {
		why = append(why, g.String())
	}
	err := fmt.Errorf("nothing matches %s, but not everything could be read: %s", e.Path, strings.Join(why, "; "))
	return &Error{exitNone, err, rootHint(gaps)}
}
