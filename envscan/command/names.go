package command

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/envscan/netname"
	"github.com/victorinix/vic/envscan/query"
)

func namesVerb() Verb {
	return Verb{
		Name: "names", Args: []string{"[NIC...]"}, Short: "Print the names that each network card could have",
		Long: `udev names network cards by the naming scheme of its release of systemd
(systemd.net-naming-scheme(7)). Each line is for the schemes from that one on, up
to the next line: the names by the firmware's index (onboard), by slot, by the
path on the bus and by MAC, and the one that systemd's own 99-default.link
chooses; - is one that the scheme cannot give.`,
		Example: "vic-env names\nvic-env names eth0 --scheme v252\nvic-env names --format json",
		New: func(flags *flag.FlagSet) Run {
			var f namesFlags
			f.scan.add(flags)
			flags.StringVar(&f.format, "format", "text", "`FORMAT`: text, json, yaml or flat")
			flags.StringVar(&f.scheme, "scheme", "", "the names by one `SCHEME` alone, such as v257")
			return f.run
		},
	}
}

type namesFlags struct {
	scan           scanFlags
	format, scheme string
}

func (f *namesFlags) run(ctx context.Context, s Streams, args []string) error {
	if err := oneOf("format", f.format, append([]string{"text"}, formats...)...); err != nil {
		return err
	}
	if f.scheme != "" {
		if _, err := netname.Find(f.scheme); err != nil {
			return misuse("man systemd.net-naming-scheme lists them", "--scheme: %w", err)
		}
	}
	facts, err := f.scan.scan(ctx, "hw.nic")
	if err != nil {
		return err
	}
	if facts.HW.NIC, err = f.choose(facts.HW.NIC, args); err != nil {
		return err
	}
	text, err := f.text(facts)
	if err != nil {
		return err
	}
	_, err = s.Out.Write(text)
	return err
}

// choose are the cards that are asked for, each with the names of the scheme that
// is asked for.
func (f *namesFlags) choose(all []envscan.NIC, names []string) ([]envscan.NIC, error) {
	list := []envscan.NIC{}
	var known []string
	for _, n := range all {
		known = append(known, n.Name)
		if f.scheme != "" {
			names := n.NamesAt(f.scheme)
			names.Scheme = f.scheme
			n.Names = []envscan.Names{names}
		}
		if len(names) == 0 || slices.Contains(names, n.Name) {
			list = append(list, n)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, &Error{exitNone, fmt.Errorf("there is no network card %s; there are: %s", name, strings.Join(known, ", ")), ""}
		}
	}
	return list, nil
}

func (f *namesFlags) text(facts envscan.Facts) ([]byte, error) {
	if f.format == "text" {
		return namesTable(facts.HW.NIC)
	}
	doc, err := envscan.Document(facts)
	if err != nil {
		return nil, err
	}
	nics := doc.Member("hw").Member("nic")
	for _, n := range nics.List {
		n.Members = slices.DeleteFunc(n.Members, func(m query.Member) bool {
			return !slices.Contains([]string{"name", "kind", "path", "hwaddr", "names"}, m.Key)
		})
	}
	return document(nics, "hw.nic", f.format)
}

func namesTable(nics []envscan.NIC) ([]byte, error) {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NIC\tSINCE\tONBOARD\tSLOT\tPATH\tMAC\tCHOSEN")
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	for _, n := range nics {
		for _, c := range n.Names {
			chosen := netname.Default(netname.Names{Onboard: c.Onboard, Slot: c.Slot, Path: c.Path, MAC: c.MAC})
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, c.Scheme, dash(c.Onboard), dash(c.Slot), dash(c.Path), dash(c.MAC), dash(chosen))
		}
	}
	err := w.Flush()
	return b.Bytes(), err
}
