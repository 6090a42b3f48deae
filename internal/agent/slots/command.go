package slots

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/nearest"
	"github.com/victorinix/vic/internal/slot"
)

const usage = `usage: vic-init slots [--json]
       vic-init slots check | try [--no-tryboot] | keep

Show the two slots of the card: which one runs, which one starts by itself, and
what is in each. "vic update" of another machine writes them.

  --json  the whole document; its shape is in docs/raspberry-pi.md
  check   compare the slot that does not run with the list of its files
  try     reboot into it, once: the next start after that is from the other again;
          --no-tryboot: reboot into it from now on, until it goes back by itself
  keep    start the slot that runs from now on

example: vic-init slots
`

// exits are the exit codes of the design.
const (
	exitRefused   = 3
	exitUntouched = 4
	exitResumable = 5
)

// Command is `vic-init slots`. Those commands that take long write events; of a
// failure they are the last.
func Command(args []string, stdin io.Reader, stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer stop()
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch {
	case slices.Contains([]string{"help", "--help", "-h"}, verb):
		_, err := io.WriteString(stdout, usage)
		return err
	case verb == "" || verb == "--json":
		s, err := look()
		if err != nil {
			return fmt.Errorf("slots: %w", err)
		}
		return show(stdout, s, verb != "")
	case verb == "first-stage":
		return withCard(func(c card) error {
			b, err := c.firstStage()
			if err == nil {
				_, err = stdout.Write(b)
			}
			return err
		})
	case slices.Contains(verbs, verb):
		return told(stdout, func(sink event.Sink) error { return change(ctx, verb, args[1:], stdin, sink) })
	}
	if near := nearest.Name(verb, append([]string{"--json", "--help"}, verbs...)); near != "" {
		return fmt.Errorf("slots: unknown argument %q; did you mean %q?", verb, near)
	}
	return fmt.Errorf("slots: cannot do %q (vic-init slots --help explains)", strings.Join(args, " "))
}

var verbs = []string{"write", "check", "try", "keep"}

func withCard(f func(card) error) error {
	c, err := openCard()
	if err == nil {
		err = f(c)
	}
	if err != nil {
		return fmt.Errorf("slots: %w", err)
	}
	return nil
}

// told ends the events with the reason of a failure.
func told(stdout io.Writer, f func(event.Sink) error) error {
	enc := event.NewEncoder(stdout)
	err := f(enc)
	if err == nil {
		return enc.Err()
	}
	e := event.Event{Phase: event.Copy, State: event.Failed, Message: err.Error(), Exit: exitRefused}
	var code coded
	if errors.As(err, &code) {
		e.Exit = code.exit
	}
	enc.Emit(e)
	return fmt.Errorf("slots: %w", err)
}

// coded is an error with an exit code; one without is a refusal.
type coded struct {
	error
	exit int
}

func (c coded) Unwrap() error { return c.error }

func change(ctx context.Context, verb string, flags []string, stdin io.Reader, sink event.Sink) error {
	const noTryboot = "--no-tryboot"
	if len(flags) > 0 && (verb != "try" || len(flags) > 1 || flags[0] != noTryboot) {
		return fmt.Errorf("%s: unexpected argument %q", verb, flags[0])
	}
	c, err := openCard()
	if err != nil {
		return err
	}
	switch verb {
	case "write":
		return c.receive(ctx, stdin, sink)
	case "check":
		m, err := c.check(ctx, sink)
		if err == nil {
			sink.Emit(event.Event{Phase: event.Verify, State: event.Done, Message: m.System})
		}
		return err
	case "try":
		err = c.try(len(flags) == 0)
	case "keep":
		err = c.keep()
	}
	if err == nil {
		sink.Emit(event.Event{Phase: event.Boot, Step: verb, State: event.Done})
	}
	return err
}

// receive is write, with the order and the system on stdin.
func (c card) receive(ctx context.Context, stdin io.Reader, sink event.Sink) error {
	in := bufio.NewReaderSize(stdin, 64<<10)
	o, err := slot.ReadOrder(in)
	if err != nil {
		return err
	}
	return c.write(o, func(d device) error {
		err := receive(ctx, d, o, in, sink)
		var untouched untouchedError
		switch {
		case errors.As(err, &untouched):
			return coded{err, exitUntouched}
		case err != nil:
			return coded{err, exitResumable}
		}
		return nil
	})
}

// show writes the status, for people or for programs.
func show(w io.Writer, s slot.Status, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SLOT\tSTATE\tSIZE\tITEM\tKERNEL\tSYSTEM")
	for _, x := range s.Slots {
		m := slot.Manifest{Item: "-", Kernel: "-", System: "-           "}
		if x.System != nil {
			m = *x.System
		}
		fmt.Fprintf(t, "%s\t%s\t%d MiB\t%s\t%s\t%.12s\n", slot.Name(x.Number), s.State(x.Number), x.Size>>20, m.Item, m.Kernel, m.System)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range append(slices.Clone(s.Warnings), s.Refuses) {
		if line != "" {
			fmt.Fprintln(w, line)
		}
	}
	return nil
}

// Main is Command on this process's files.
func Main(args []string) error { return Command(args, os.Stdin, os.Stdout) }
