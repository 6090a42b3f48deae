package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/internal/config"
)

func newOptions(a *app) *cobra.Command {
	var flags itemFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "options ITEM",
		Short: "Explain the options of an item, and show their values",
		Long: `Explain the options of an item, and show their values.

Values come from these layers, later ones win: the type of the item, the item,
this machine, ~/.config/vic/env.yaml, -n, -o. SET BY says which one it was.`,
		Example: `  vic options debian
  vic options debian -n web.yaml -o hostname=web2    the values that these give
  vic options installer --json`,
		Args: args("ITEM"),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := flags.config(a, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.writeJSON(describeOptions(c))
			}
			return a.printOptions(c)
		},
	}
	flags.add(a, cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// printOptions prints one table of options and one of secrets.
func (a *app) printOptions(c *config.Config) error {
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "OPTION\tTYPE\tVALUE\tSET BY\tDESCRIPTION")
	for _, o := range c.Item().Options {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", o.Name, typeName(o), c.Text(o.Name), c.Source(o.Name), o.Description)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print options: %w", err)
	}
	if len(c.Item().Secrets) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nSECRET\tREQUIRED\tDESCRIPTION")
	for _, s := range c.Item().Secrets {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, yesNo(s.Required), s.Description)
	}
	return w.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// typeName is the type of an option in a few letters.
func typeName(o config.Option) string {
	switch o.Kind {
	case config.Enum:
		return strings.Join(o.Values, "|")
	case config.List:
		if o.Of.Kind != config.String {
			return "list of " + string(o.Of.Kind)
		}
	}
	return string(o.Kind)
}

// optionsDoc is what --json writes.
type optionsDoc struct {
	Item    string          `json:"item"`
	Types   []string        `json:"types"`
	Options []optionValue   `json:"options"`
	Secrets []config.Secret `json:"secrets"`
}

type optionValue struct {
	config.Option
	Value  any    `json:"value"`
	Source string `json:"source"`
}

func describeOptions(c *config.Config) optionsDoc {
	doc := optionsDoc{c.Item().Name, c.Item().Types, nil, append([]config.Secret{}, c.Item().Secrets...)}
	values := c.Values("")
	for _, o := range c.Item().Options {
		doc.Options = append(doc.Options, optionValue{o, values[o.Name], c.Source(o.Name)})
	}
	return doc
}
