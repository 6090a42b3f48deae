package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/kinds"
	"github.com/victorinix/vic/internal/registration/staged"
	"github.com/victorinix/vic/internal/stage/mirror"
	"github.com/victorinix/vic/internal/tool"
)

// newList is the parent of what vic lists of this host.
func newList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List what vic changed on this host",
		Example: "  vic list registrations\n  vic ls reg --json",
		Args:    cobra.ArbitraryArgs, // so that a misspelt noun comes to RunE
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownVerb(cmd, args[0])
		},
	}
	cmd.AddCommand(newListRegistrations(a))
	return cmd
}

// registrationFlags say where registrations are.
type registrationFlags struct {
	dirs []string
	json bool
}

func (f *registrationFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.dirs, "records", nil, "folder of registrations, or partition with a stage; may be given again for a copy (default: "+registration.DefaultDir+", and what is on this system's stages)")
	cmd.Flags().BoolVar(&f.json, "json", false, "write JSON")
}

// open opens the registrations of this machine.
func (f *registrationFlags) open(a *app, readOnly bool) (*staged.Records, error) {
	c := registrationConfig(nil)
	c.ReadOnly = readOnly
	s, err := f.opened(c, a.warnRecords)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fail(exitRefused, err, "it needs root")
	}
	if errors.Is(err, fs.ErrNotExist) && len(f.dirs) > 0 {
		return nil, fail(exitRefused, err, "--records takes a folder, or the partition of a stage, as `lsblk` lists it")
	}
	if err != nil {
		return nil, fail(exitRefused, err, "")
	}
	s.Warn = a.warnRecords
	return s, nil
}

func (f *registrationFlags) opened(c registration.Config, warn func(error)) (*staged.Records, error) {
	if len(f.dirs) == 0 {
		c.Dirs = []string{registration.DefaultDir}
		return staged.OpenHost(c, warn)
	}
	return staged.OpenNamed(c, f.dirs)
}

// warnRecords tells of a copy that could not be written while another could.
func (a *app) warnRecords(err error) {
	if !errors.Is(err, mirror.ErrGone) { // it goes with its stage
		fmt.Fprintf(a.stderr, "warning: %v\n", err)
	}
}

// registrationConfig is for the machine that vic runs on. Who registers
// something adds Group and Command, which have no secrets in them.
func registrationConfig(dirs []string) registration.Config {
	c := registration.Config{
		Dirs:  dirs,
		Kinds: kinds.All(),
		Env:   registration.Env{Run: tool.Exec{}},
		Who:   cmp.Or(os.Getenv("SUDO_USER"), os.Getenv("USER"), fmt.Sprintf("uid %d", os.Getuid())),
	}
	if list, err := os.ReadDir(efi.EfivarfsPath); err == nil && len(list) > 0 {
		c.Env.Variables = efi.Efivarfs(efi.EfivarfsPath)
	}
	return c
}

func newListRegistrations(a *app) *cobra.Command {
	var f registrationFlags
	var all bool
	cmd := &cobra.Command{
		Use:     "registrations",
		Aliases: []string{"registration", "reg"},
		Short:   "List what vic changed on this host, and whether it still stands",
		Long: `List what vic changed on this host, when and by which command, and whether it still
stands. Each can be taken back with "vic undo".

STANDS says what is found on the host now:
  yes       it is as vic left it
  partly    vic was interrupted while it made it or took it back
  changed   somebody else changed it since: vic leaves it alone
  no        all is as it was before
  unknown   it cannot be told: a disk is missing, or root is needed`,
		Example: "  vic list registrations\n  vic ls reg --all --json",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.open(a, true)
			if err != nil {
				return err
			}
			list := []registration.Registration{}
			over := 0
			found := s.List(cmd.Context())
			if err := s.Close(); err != nil {
				return err
			}
			for _, r := range found {
				if r.Over() && !all {
					over++
					continue
				}
				list = append(list, r)
			}
			if f.json {
				return a.writeJSON(list)
			}
			return a.printRegistrations(list, over)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "those too that were taken back")
	return cmd
}

// stands is how a standing is called for people.
var stands = map[registration.Is]string{
	registration.Before: "no", registration.Stands: "yes", registration.Partly: "partly",
	registration.Changed: "changed", registration.Unknown: "unknown",
}

func (a *app) printRegistrations(list []registration.Registration, over int) error {
	var b bytes.Buffer
	if len(list) == 0 {
		b.WriteString("vic has changed nothing on this host that stands\n")
	}
	for len(list) > 0 {
		group := list[0].Group
		n := 0
		for n < len(list) && list[n].Group == group {
			n++
		}
		printRun(&b, list[:n])
		list = list[n:]
		if len(list) > 0 {
			b.WriteString("\n")
		}
	}
	if over > 0 {
		fmt.Fprintf(&b, "%d more were taken back (--all shows them)\n", over)
	}
	_, err := a.stdout.Write(b.Bytes())
	return err
}

// printRun writes the registrations of one run.
func printRun(b *bytes.Buffer, list []registration.Registration) {
	if r := list[0]; r.Command != "" {
		fmt.Fprintf(b, "%s (by %s, run %s)\n", printable(r.Command), printable(r.Who), printable(r.Group))
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tWHEN\tSTATE\tSTANDS\tWHAT")
	for _, r := range list {
		when := ""
		if !r.Time.IsZero() {
			when = r.Time.UTC().Format("2006-01-02 15:04:05Z")
		}
		what := r.Title
		if r.Standing.Detail != "" {
			what = strings.TrimPrefix(what+"; ", "; ") + r.Standing.Detail
		}
		if r.Error != "" {
			what += "; then: " + r.Error
		}
		state := cmp.Or(string(r.State), "damaged")
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.ID, when, state, cmp.Or(stands[r.Standing.Is], "-"), printable(what))
	}
	w.Flush() // into memory
}
