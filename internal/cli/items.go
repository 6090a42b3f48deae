package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/internal/config"
)

func newItems(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "items",
		Short: "List what vic can build and install",
		Long: `List what vic can build and install.

The path of a YAML file names an item of your own wherever an item is
expected. It extends one of these:

  from: debian
  options:
    hostname: web1
    packages: [nginx]`,
		Example: "  vic items\n  vic items --json",
		Args:    args(),
		RunE: func(*cobra.Command, []string) error {
			r, err := a.registry()
			if err != nil {
				return err
			}
			if asJSON {
				return a.writeJSON(itemList(r))
			}
			w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "ITEM\tTYPES\tDESCRIPTION")
			for _, it := range r.Items() {
				fmt.Fprintf(w, "%s\t%s\t%s\n", it.Name, strings.Join(it.Types, ","), it.Description)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

type itemEntry struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Types       []string `json:"types"`
}

func itemList(r *config.Registry) []itemEntry {
	var list []itemEntry
	for _, it := range r.Items() {
		list = append(list, itemEntry{it.Name, it.Description, it.Types})
	}
	return list
}

// writeJSON writes one indented document on stdout.
func (a *app) writeJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
