package cli

import (
	"github.com/spf13/cobra"
)

func newCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Write a completion script for bash, zsh, fish or powershell",
		Example:   "  source <(vic completion bash)\n  vic completion fish > ~/.config/fish/completions/vic.fish",
		Args:      args("SHELL"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return usage("usage: "+cmd.UseLine(), "unknown shell %q%s", args[0], didYouMean("", args[0], shells))
		},
	}
}
