package cli

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/plan"
)

// sizeFlags are the flags of `vic size`.
type sizeFlags struct {
	budget  string
	against string
	all     bool
	json    bool
}

// sizeDoc is what --json writes.
type sizeDoc struct {
	*builder.SizeReport
	Changes []builder.Change `json:"changes,omitempty"` // with --against
}

func newSize(a *app) *cobra.Command {
	var f sizeFlags
	cmd := &cobra.Command{
		Use:   "size DIR|FILE",
		Short: "Say which package, module, firmware or command each byte of an artefact comes from",
		Long: `Say which package, module, firmware or command each byte of an artefact comes
from. In a compressed file, each has the share that its own compressed size is
of the sum; the shares add up to the file.

With --budget it fails (exit code 3) when the artefact is larger. M is a
million bytes, Mi is 1024 * 1024. With --against it shows what grew and what
shrank since another build.`,
		Example: `  vic size out/installer
  vic size out/installer --budget 45M
  vic size out/installer --against out/before`,
		Args: args("DIR|FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return f.run(a, args[0]) },
	}
	cmd.Flags().StringVar(&f.budget, "budget", "", "fail when the artefact is larger than `SIZE` (45M, 45Mi)")
	cmd.Flags().StringVar(&f.against, "against", "", "compare with another artefact, a `DIR` or file")
	cmd.Flags().BoolVar(&f.all, "all", false, "show every origin, not only the largest 30")
	cmd.Flags().BoolVar(&f.json, "json", false, "write JSON")
	return cmd
}

func (f *sizeFlags) run(a *app, path string) error {
	limit, err := parseBudget(f.budget)
	if err != nil {
		return err
	}
	report, err := builder.Size(path)
	if err != nil {
		return fail(exitRefused, err, "name a folder that `vic build` wrote")
	}
	var changes []builder.Change
	if f.against != "" {
		old, err := builder.Size(f.against)
		if err != nil {
			return fail(exitRefused, err, "name a folder that `vic build` wrote")
		}
		changes = report.Against(old)
	}
	if f.json {
		err = a.writeJSON(sizeDoc{report, changes})
	} else {
		err = f.print(a.stdout, report, changes)
	}
	if err != nil {
		return err
	}
	if limit > 0 && report.Total > limit {
		return fail(exitRefused, fmt.Errorf("%s has %d bytes, %d over the budget of %s", path, report.Total, report.Total-limit, f.budget),
			"`vic size --against` shows what grew")
	}
	return nil
}

// budgetUnits are those of artefact sizes, where M is 10^6 as on the label of a
// disk. Options such as memory use config.ParseSize, where it is 2^20.
var budgetUnits = []struct {
	suffix string
	bytes  int64
}{{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"", 1}}

func parseBudget(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	for _, u := range budgetUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err == nil && n > 0 && int64(n) <= math.MaxInt64/u.bytes {
			return int64(n) * u.bytes, nil
		}
		break
	}
	return 0, usage("write 45M (million bytes) or 45Mi (45 * 1024 * 1024 bytes)", "--budget %q is not a size", s)
}

// shownParts is how many origins are shown without --all.
const shownParts = 30

func (f *sizeFlags) print(out io.Writer, r *builder.SizeReport, changes []builder.Change) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	for _, file := range r.Files {
		fmt.Fprintf(w, "%d\t%s\t \t  %s\n", file.Size, plan.Bytes(file.Size), file.Name)
	}
	fmt.Fprintf(w, "%d\t%s\t \t  total\n\n", r.Total, plan.Bytes(r.Total))
	line := func(size int64, what string) {
		fmt.Fprintf(w, "%d\t%s\t%.1f %%\t  %s\n", size, plan.Bytes(size), 100*float64(size)/float64(max(r.Total, 1)), what)
	}
	parts := r.Parts()
	shown := len(parts)
	if !f.all {
		shown = min(shown, shownParts)
	}
	for _, p := range parts[:shown] {
		line(p.Size, p.Origin)
	}
	if rest := parts[shown:]; len(rest) > 0 {
		var size int64
		for _, p := range rest {
			size += p.Size
		}
		line(size, fmt.Sprintf("%d more origins (--all)", len(rest)))
	}
	if f.against != "" {
		printChanges(w, f.against, changes)
	}
	return w.Flush()
}

func printChanges(w io.Writer, against string, changes []builder.Change) {
	if len(changes) == 0 {
		fmt.Fprintf(w, "\nagainst %s: nothing differs\n", against)
		return
	}
	fmt.Fprintf(w, "\nagainst %s:\n", against)
	for _, c := range changes {
		fmt.Fprintf(w, "%+d\t%s -> %s\t \t  %s\n", c.After-c.Before, plan.Bytes(c.Before), plan.Bytes(c.After), c.Origin)
	}
}
