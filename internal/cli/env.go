package cli

import (
	"errors"
	"flag"
	"strings"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/envscan/command"
)

// newEnv is vic-env inside of vic: the same verbs, with the same flags.
func newEnv(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "env VERB",
		Short:   "Find out what this machine is, as facts that configs can use",
		Long:    "Find out what this machine is, as facts that configs can use: docs/facts.md. The\nprogram vic-env is the same without the rest of vic.",
		Example: "  vic env dump\n  vic env get hw.nic.0.hwaddr\n  vic env match 'hw.disk[size>=100G,rotational=false]'",
		Args:    cobra.ArbitraryArgs, // so that a misspelt verb comes to RunE
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownVerb(cmd, args[0])
		},
	}
	for _, v := range command.Verbs() {
		cmd.AddCommand(newEnvVerb(a, v))
	}
	return cmd
}

func newEnvVerb(a *app, v command.Verb) *cobra.Command {
	flags := flag.NewFlagSet(v.Name, flag.ContinueOnError)
	run := v.New(flags)
	cmd := &cobra.Command{
		Use:     v.Usage(),
		Short:   v.Short,
		Long:    strings.TrimSpace(v.Short + ".\n\n" + inVic(v.Long)),
		Example: "  " + strings.ReplaceAll(inVic(v.Example), "\n", "\n  "),
		Args: func(cmd *cobra.Command, args []string) error {
			if err := v.CheckArgs(args); err != nil {
				return usage("usage: "+cmd.UseLine(), "%s %w", cmd.CommandPath(), err)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return envError(run(cmd.Context(), command.Streams{In: a.stdin, Out: a.stdout, Err: a.stderr, Self: []string{"/proc/self/exe", "env"}}, args))
		},
	}
	cmd.Flags().AddGoFlagSet(flags)
	if v.Name == "get" || v.Name == "match" {
		cmd.ValidArgsFunction = func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
			return envscan.Complete(begun), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
		}
	}
	return cmd
}

// inVic names the verbs as they are here.
func inVic(text string) string { return strings.ReplaceAll(text, "vic-env ", "vic env ") }

// envError keeps the exit code and the hint. One without an error, as of a match
// that found nothing, has no more to say.
func envError(err error) error {
	var e *command.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e):
		return fail(exitUntouched, err, "")
	case e.Err == nil:
		return fail(e.Code, errors.New(""), e.Hint)
	}
	return fail(e.Code, errors.New(inVic(e.Err.Error())), inVic(e.Hint))
}
