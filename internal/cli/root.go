package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/victorinix/vic/internal/nearest"
)

// newRoot is the tree of commands.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "vic",
		Short: "Turn a machine with a disk into a machine running exactly the system you described",
		Example: `  vic install debian --vm --disk out/x.img,size=8G   try it before you do it
  vic items                                  what vic can build and install
  vic options debian                         what can be said about Debian`,
		Args:          cobra.ArbitraryArgs, // so that a misspelt verb comes to RunE
		SilenceErrors: true,                // report prints them
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownVerb(cmd, args[0])
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelp())
	root.AddCommand(
		newBuild(a),
		newInstall(a),
		newFlash(a),
		newUpdate(a),
		newRun(a),
		newDisk(a),
		newSize(a),
		newEnv(a),
		newFacts(a),
		newRescue(a),
		newStatus(a),
		newList(a),
		newUndo(a),
		newItems(a),
		newOptions(a),
		newCheck(a),
		newVersion(a),
		newKexec(a),
		newCompletion(),
		newDocs(a),
	)
	return root
}

// newHelp is `vic help VERB`; unlike cobra's own it refuses unknown verbs.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [VERB]",
		Short:   "Explain a verb",
		Example: "  vic help options",
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownVerb(cmd.Root(), args[0])
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
	}
}

func unknownVerb(cmd *cobra.Command, name string) error {
	var verbs []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			verbs = append(verbs, c.Name())
		}
	}
	return usage("`"+cmd.CommandPath()+" --help` lists the verbs", "unknown verb %q%s", name, didYouMean("", name, verbs))
}

// flagError makes a usage error of a flag that cobra could not parse, with the
// nearest right name.
func flagError(cmd *cobra.Command, err error) error {
	suggestion := ""
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		suggestion = didYouMean("--", unknown.GetSpecifiedName(), names)
	}
	return usage("`"+cmd.CommandPath()+" --help` lists the flags", "%w%s", err, suggestion)
}

// didYouMean is empty when no name is near.
func didYouMean(prefix, name string, names []string) string {
	if near := nearest.Name(name, names); near != "" {
		return `; did you mean "` + prefix + near + `"?`
	}
	return ""
}

// args checks the number of arguments. names are for people: "ITEM"; one in
// brackets may be left out.
func args(names ...string) cobra.PositionalArgs {
	least := len(names)
	for least > 0 && strings.HasPrefix(names[least-1], "[") {
		least--
	}
	return func(cmd *cobra.Command, given []string) error {
		hint := "usage: " + cmd.UseLine()
		switch {
		case len(given) < least:
			if names[len(given)] == "ITEM" {
				hint += "; `vic items` lists the items"
			}
			return usage(hint, "%s needs %s", cmd.CommandPath(), strings.Join(names[len(given):least], " and "))
		case len(given) > len(names):
			return usage(hint, "%s: unexpected argument %q", cmd.CommandPath(), given[len(names)])
		}
		return nil
	}
}
