package cli

import "github.com/spf13/cobra"

// newDisk is the parent of what vic does with disks.
func newDisk(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "disk",
		Short:   "Look at disks and lay them out",
		Example: "  vic disk show\n  vic disk plan raid.yaml --disk a=/dev/sda --disk b=/dev/sdb",
		Args:    cobra.ArbitraryArgs, // so that a misspelt verb comes to RunE
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownVerb(cmd, args[0])
		},
	}
	cmd.AddCommand(append(newDiskVerbs(a), newDiskShow(a))...)
	return cmd
}
