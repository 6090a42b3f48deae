package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/internal/registration"
)

type undoFlags struct {
	registrationFlags
	registration.Selection
}

func newUndo(a *app) *cobra.Command {
	var f undoFlags
	cmd := &cobra.Command{
		Use:   "undo ID...|--all|--run RUN",
		Short: "Take back what vic changed on this host",
		Long: `Take back what vic changed on this host, the last change first: a boot entry, a
partition, a file system that was made smaller, a file. "vic list registrations" lists
the IDs.

It may be repeated at any time, also after it was interrupted, or after the change was.
What somebody else changed in the meantime is left alone and named; the others go on.

It ends with 0 when nothing of what was named is left, with 4 when nothing could be
taken back, with 5 when only some was.`,
		Example: `  vic undo --all --dry-run
  vic undo r3 r4
  vic undo r2 --forget    # keep it, and have it listed no more`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			f.IDs = ids
			return f.run(cmd, a)
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.All, "all", false, "everything that stands")
	flags.StringVar(&f.Group, "run", "", "everything of one `RUN`")
	flags.BoolVar(&f.DryRun, "dry-run", false, "only say what would be done")
	flags.BoolVar(&f.Forget, "forget", false, "take nothing back: the changes stay, and count as somebody else's")
	return cmd
}

func (f *undoFlags) check() error {
	hint := "`vic list registrations` lists what there is"
	ways := 0
	for _, way := range []bool{len(f.IDs) > 0, f.All, f.Group != ""} {
		if way {
			ways++
		}
	}
	switch {
	case ways == 0:
		return usage(hint, "vic undo needs IDs, --all or --run")
	case ways > 1:
		return usage(hint, "vic undo takes either IDs, --all or --run")
	case f.All && f.Forget:
		return usage(hint, "vic undo --forget needs IDs or --run")
	}
	return nil
}

func (f *undoFlags) run(cmd *cobra.Command, a *app) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if os.Geteuid() != 0 && !f.DryRun {
		return fail(exitRefused, fmt.Errorf("undo: it needs root"), "sudo vic undo ...")
	}
	s, err := f.open(a, f.DryRun)
	if err != nil {
		return err
	}
	defer func() {
		if closing := s.Close(); err == nil {
			err = closing
		}
	}()
	if err := s.Committed(); err != nil {
		return fail(exitRefused, fmt.Errorf("undo: %w", err), "reboot: the installer goes on; `vic status` says how far it is")
	}
	list, undoErr := s.Undo(cmd.Context(), f.Selection)
	if err := f.print(a, list); err != nil {
		return err
	}
	return f.result(list, undoErr)
}

func (f *undoFlags) print(a *app, list []registration.Outcome) error {
	if f.json {
		if list == nil {
			list = []registration.Outcome{}
		}
		return a.writeJSON(list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.stdout, "there is nothing to take back")
	}
	for _, o := range list {
		reason := ""
		if o.Reason != "" {
			reason = ": " + o.Reason
		}
		if _, err := fmt.Fprintf(a.stdout, "%s %s: %s%s\n", o.ID, o.Did, printable(o.Title), printable(reason)); err != nil {
			return err
		}
	}
	return nil
}

// result is the error that says what is left.
func (f *undoFlags) result(list []registration.Outcome, err error) error {
	var left []string
	undone := false
	for _, o := range list {
		switch o.Did {
		case registration.LeftAlone, registration.Failed, registration.WouldLeave:
			left = append(left, o.ID)
		case registration.TookBack:
			undone = true
		}
	}
	code := exitUntouched
	if undone {
		code = exitResumable
	}
	switch {
	case err != nil && len(list) == 0:
		return fail(exitRefused, err, "`vic list registrations` lists what there is")
	case err != nil:
		return fail(code, err, "")
	case len(left) > 0 && !f.DryRun:
		return fail(code, fmt.Errorf("not taken back: %s", strings.Join(left, ", ")),
			"after what is in the way is settled, run it again; `vic undo --forget ID` keeps a change")
	}
	return nil
}
