package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/victorinix/vic/internal/nearest"
	"github.com/victorinix/vic/internal/service"
)

const usage = `usage: vic-init services [--json]
       vic-init services log NAME

Show the services of this machine: their state, since when (seconds since boot),
what they wait for or why they ended, and their outputs.

  --json    the whole document; its shape is in docs/services.md
  log NAME  what a service printed last, with seconds since boot

example: vic-init services log dnsmasq
`

// Command is `vic-init services`. dir is where the files are; see Config.Dir.
func Command(dir string, args []string, stdout io.Writer) error {
	if len(args) > 0 && slices.Contains([]string{"help", "--help", "-h"}, args[0]) {
		_, err := io.WriteString(stdout, usage)
		return err
	}
	st, err := ReadStatus(dir)
	switch {
	case err != nil:
		return err
	case len(args) == 0:
		return table(stdout, st)
	case len(args) == 1 && args[0] == "--json":
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(st)
	case len(args) == 2 && args[0] == "log":
		return showLog(dir, args[1], st, stdout)
	}
	if near := nearest.Name(args[0], []string{"log", "--json", "--help"}); near != "" && near != args[0] {
		return fmt.Errorf("services: unknown argument %q; did you mean %q?", args[0], near)
	}
	return fmt.Errorf("services: cannot do %q (vic-init services --help explains)", strings.Join(args, " "))
}

// ReadStatus reads where the services of dir stand.
func ReadStatus(dir string) (service.Status, error) {
	var st service.Status
	b, err := os.ReadFile(filepath.Join(dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return st, errors.New("services: none run on this machine")
	}
	if err != nil {
		return st, fmt.Errorf("read state of services: %w", err)
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("read state of services: %w", err)
	}
	return st, nil
}

func table(w io.Writer, st service.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tSTATE\tSINCE\tRUNS\tNEEDS\tOUTPUTS")
	for _, s := range st.Services {
		state := string(s.State)
		if s.Reason != "" {
			state += " (" + s.Reason + ")"
		}
		var outputs []string
		for _, k := range slices.Sorted(maps.Keys(s.Outputs)) {
			outputs = append(outputs, k+"="+oneLine(s.Outputs[k]))
		}
		fmt.Fprintf(t, "%s\t%s\t%.1f\t%d\t%s\t%s\n", s.Name, state, s.Since, s.Runs, strings.Join(s.Needs, " "), strings.Join(outputs, " "))
	}
	return t.Flush()
}

// oneLine keeps a table a table.
func oneLine(value string) string {
	value = printable(strings.ReplaceAll(strings.TrimSpace(value), "\n", ","))
	if runes := []rune(value); len(runes) > 40 {
		return string(runes[:37]) + "..."
	}
	return value
}

func showLog(dir, name string, st service.Status, w io.Writer) error {
	var names []string
	for _, s := range st.Services {
		names = append(names, s.Name)
	}
	if !slices.Contains(names, name) {
		if near := nearest.Name(name, names); near != "" {
			return fmt.Errorf("services: there is no service %q; did you mean %q?", name, near)
		}
		return fmt.Errorf("services: there is no service %q, only %s", name, strings.Join(names, ", "))
	}
	for _, suffix := range []string{oldSuffix, ""} {
		b, err := os.ReadFile(filepath.Join(dir, name, logName+suffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read log of %s: %w", name, err)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
