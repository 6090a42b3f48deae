package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

// checkFlags are the flags of `vic check`.
type checkFlags struct {
	item  itemFlags
	facts string
	json  bool
}

func newCheck(a *app) *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check ITEM",
		Short: "Find the mistakes in an item, its settings and its templates",
		Long: `Find the mistakes in an item, its settings and its templates: unknown options,
facts and secrets, templates that are no templates, values that the installed
system could not have. All of them at once, with line and column.

With --facts it is compared with a machine too, of which vic-env dump has
written the facts: requirements that it does not meet, and facts that a
template asks for and that it does not have, end with exit code 3.

Without mistakes it says what the item asks of a machine and writes to it.`,
		Example: `  vic check web.yaml
  vic check debian -n web.yaml -o hostname='node-{{ env "hw.nic.0.hwaddr" | replace ":" "" }}'
  vic-env dump > machine.json; vic check web.yaml --facts machine.json`,
		Args: args("ITEM"),
		RunE: func(_ *cobra.Command, args []string) error { return f.run(a, args[0]) },
	}
	f.item.add(a, cmd)
	f.item.addSecrets(cmd)
	cmd.Flags().StringVar(&f.facts, "facts", "", "compare it with the machine whose facts vic-env dump wrote into `FILE`")
	cmd.Flags().BoolVar(&f.json, "json", false, "write JSON")
	return cmd
}

func (f *checkFlags) run(a *app, item string) error {
	secrets, secretsErr := f.item.secrets.read(a)
	facts, factsErr := f.readFacts()
	c, err := f.item.config(a, item)
	if err == nil {
		err = f.mistakes(c, secrets)
	}
	if err := errors.Join(secretsErr, factsErr, err); err != nil {
		return fail(exitUsage, err, itemHint(a, item))
	}
	if facts != nil {
		if err := fits(c, secrets, *facts); err != nil {
			return fail(exitRefused, err, "the item does not fit the machine in "+f.facts)
		}
	}
	doc := describeCheck(c, secrets)
	if f.json {
		return a.writeJSON(doc)
	}
	return a.printCheck(doc)
}

// mistakes are those beyond what reading the item finds.
func (f *checkFlags) mistakes(c *config.Config, secrets secret.Set) error {
	err := unknownSecrets(c.Item(), secrets)
	if c.Is("linux-distro") {
		err = errors.Join(err, system(c, secrets, request.APT{}).Check())
	}
	return err
}

// readFacts reads --facts; nil where there is none.
func (f *checkFlags) readFacts() (*envscan.Facts, error) {
	if f.facts == "" {
		return nil, nil
	}
	doc, err := os.ReadFile(f.facts)
	if err != nil {
		return nil, fmt.Errorf("read --facts: %w", err)
	}
	var facts envscan.Facts
	if err := json.Unmarshal(doc, &facts); err != nil {
		return nil, fmt.Errorf("read --facts %s: %w", f.facts, err)
	}
	return &facts, nil
}

// fits compares an item with a machine.
func fits(c *config.Config, secrets secret.Set, facts envscan.Facts) error {
	unmet := func(r request.Requirement) error { return plan.Unmet([]request.Requirement{r}, facts) }
	if !c.Is("linux-distro") {
		return c.Fits(unmet, plan.Source(request.System{}, facts))
	}
	return c.Fits(unmet, plan.Source(system(c, secrets, request.APT{}), facts))
}

// checkDoc is what --json writes.
type checkDoc struct {
	Item     string        `json:"item"`
	Requires []string      `json:"requires"` // for people
	Facts    []string      `json:"facts"`    // that it asks for
	Late     []string      `json:"late"`     // options that depend on the machine
	Secrets  []checkSecret `json:"secrets"`
	Files    []checkFile   `json:"files"`
	Units    []checkUnit   `json:"units"`
}

type checkSecret struct {
	Name     string `json:"name"`
	Required bool   `json:"required"`
	Given    bool   `json:"given"`
}

type checkFile struct {
	Path  string `json:"path"`
	Mode  string `json:"mode"`
	Owner string `json:"owner"`
	Group string `json:"group"`
}

type checkUnit struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

func describeCheck(c *config.Config, secrets secret.Set) checkDoc {
	doc := checkDoc{Item: c.Item().Name, Requires: []string{}, Facts: append([]string{}, c.Facts()...), Late: []string{}, Secrets: []checkSecret{}, Files: []checkFile{}, Units: []checkUnit{}}
	for _, r := range c.Requires() {
		doc.Requires = append(doc.Requires, r.String())
	}
	for _, o := range c.Item().Options {
		if c.Late(o.Name) {
			doc.Late = append(doc.Late, o.Name)
		}
	}
	for _, s := range c.Item().Secrets {
		_, given := secrets.Get(s.Name)
		doc.Secrets = append(doc.Secrets, checkSecret{s.Name, s.Required, given})
	}
	for _, f := range c.Files() {
		doc.Files = append(doc.Files, checkFile{f.Path, fmt.Sprintf("%04o", f.Mode), f.Owner, f.Group})
	}
	for _, u := range c.Units() {
		doc.Units = append(doc.Units, checkUnit{u.Name, u.Enabled})
	}
	return doc
}

// printCheck prints one line for each thing that the item asks for or writes.
func (a *app) printCheck(doc checkDoc) error {
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "%s: no mistakes\n", doc.Item)
	for _, r := range doc.Requires {
		fmt.Fprintf(w, "requires\t%s\n", r)
	}
	for _, path := range doc.Facts {
		fmt.Fprintf(w, "fact\tenv.%s\n", path)
	}
	for _, name := range doc.Late {
		fmt.Fprintf(w, "option\t%s (depends on the machine)\n", name)
	}
	for _, s := range doc.Secrets {
		notes := []string{"optional"}
		if s.Required {
			notes[0] = "required"
		}
		if s.Given {
			notes = append(notes, "given")
		}
		fmt.Fprintf(w, "secret\t%s (%s)\n", s.Name, strings.Join(notes, ", "))
	}
	for _, f := range doc.Files {
		fmt.Fprintf(w, "file\t%s (%s %s)\n", f.Path, f.Mode, strings.Join(slices.DeleteFunc([]string{f.Owner, f.Group}, func(s string) bool { return s == "" }), ":"))
	}
	for _, u := range doc.Units {
		enabled := ""
		if u.Enabled {
			enabled = " (enabled)"
		}
		fmt.Fprintf(w, "unit\t%s%s\n", u.Name, enabled)
	}
	return w.Flush()
}
