package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/nearest"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/secret"
)

// Command is `vic` in the RAM system: it installs payloads that were built
// elsewhere, and is what a client drives the RAM system with. It is
// ramsys.Config.Vic.
func Command(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	c := command{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	if err := c.run(ctx, args); !errors.Is(err, errHelp) {
		return err
	}
	return nil
}

// ExitCode is the exit code for an error of Command, or of ramsys.Main.
func ExitCode(err error) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return exitInternal
}

const usageText = `usage: vic install DIR --disk DISK [--dry-run] [--json] [--yes] [--phases PHASE,...] [-s password=@FILE]
       vic status | events | deliver | proceed | payload | stay | leave

Install the payload that vic build wrote into DIR onto DISK.

  --disk DISK    the device; everything on it is lost
  --dry-run      show what would be done, and write nothing
  --json         write events (with --dry-run: the plan) as JSON on stdout
  --yes          do not ask before the disk is overwritten
  --phases LIST  stop early: verify,partition,... up to the last one wanted
  -s NAME=@FILE  give a secret that the build did not leave in DIR

example: vic install /mnt/debian --disk /dev/sda --dry-run
` + drivenUsage

// errHelp is what somebody who asks for help gets: no error.
var errHelp = flag.ErrHelp

type command struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	disk   string
	dryRun bool
	json   bool
	yes    bool
	phases []event.Phase
	given  []string // the arguments of -s

	driving
}

func (c *command) run(ctx context.Context, args []string) error {
	if len(args) > 0 && slices.Contains(driven, args[0]) {
		return c.drive(ctx, args[0], args[1:])
	}
	if len(args) == 1 && args[0] == finishVerb {
		return finishReinstall(ctx, c.stdout)
	}
	dir, err := c.parse(args)
	if errors.Is(err, errHelp) {
		fmt.Fprint(c.stdout, usageText)
		return err
	}
	if err != nil {
		err = codeError{exitUsage, fmt.Errorf("%w (vic install --help explains)", err)}
	} else {
		err = c.install(ctx, dir)
	}
	return c.told(err)
}

// told ends a stream of events with the error, unless the run has done so
// itself.
func (c *command) told(err error) error {
	var failed *install.Error
	if err != nil && c.json && !errors.As(err, &failed) {
		c.sink().Emit(event.Event{Phase: event.Scan, State: event.Failed, Message: err.Error(), Exit: ExitCode(err)})
	}
	return err
}

func (c *command) install(ctx context.Context, dir string) error {
	p, secrets, err := c.plan(ctx, dir)
	if err != nil {
		return refused(err)
	}
	if c.dryRun {
		return c.show(p)
	}
	if event.Writes(c.phases) {
		if err := c.confirm(p); err != nil {
			return refused(err)
		}
	}
	return hide(secrets, execute(ctx, onThisMachine(p, secrets, c.phases, hiding(secrets, c.sink()))))
}

// parse reads the verb and the flags, which may stand before and after DIR.
func (c *command) parse(args []string) (dir string, err error) {
	if len(args) == 0 || slices.Contains([]string{"help", "--help", "-h"}, args[0]) {
		return "", errHelp
	}
	if args[0] != "install" {
		return "", unknownVerb(args[0])
	}
	set := c.flags()
	var dirs []string
	for args = args[1:]; len(args) > 0; {
		if err := set.Parse(args); err != nil {
			return "", better(set, err)
		}
		if args = set.Args(); len(args) > 0 {
			dirs, args = append(dirs, args[0]), args[1:]
		}
	}
	if len(dirs) != 1 || c.disk == "" {
		return "", errors.New("install needs one DIR and --disk DISK")
	}
	return dirs[0], nil
}

func (c *command) flags() *flag.FlagSet {
	set := flag.NewFlagSet("vic install", flag.ContinueOnError)
	set.SetOutput(io.Discard) // the error is returned
	set.StringVar(&c.disk, "disk", "", "")
	set.BoolVar(&c.dryRun, "dry-run", false, "")
	set.BoolVar(&c.json, "json", false, "")
	set.BoolVar(&c.yes, "yes", false, "")
	set.Func("phases", "", func(v string) (err error) {
		c.phases, err = event.ParsePhases(strings.Split(v, ","))
		return err
	})
	set.Func("s", "", func(v string) error {
		c.given = append(c.given, v)
		return nil
	})
	return set
}

// better adds the nearest right name to the error about an unknown flag.
func better(set *flag.FlagSet, err error) error {
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: ")
	if !ok {
		return err
	}
	var names []string
	set.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	if near := nearest.Name(strings.TrimLeft(name, "-"), names); near != "" {
		return fmt.Errorf("unknown flag %s; did you mean --%s?", name, near)
	}
	return fmt.Errorf("unknown flag %s", name)
}

func (c *command) plan(ctx context.Context, dir string) (plan.Plan, secret.Set, error) {
	req, err := c.request(dir)
	if err != nil {
		return plan.Plan{}, secret.Set{}, err
	}
	secrets, err := c.secrets(dir)
	if err != nil {
		return plan.Plan{}, secret.Set{}, err
	}
	facts, err := envscan.Scan(ctx, envscan.Config{Root: "/", Wake: true, Timeout: plan.ScanPatience})
	if err != nil {
		return plan.Plan{}, secret.Set{}, err
	}
	p, err := plan.New(req, facts, secrets.Names())
	return p, secrets, err
}

func (c *command) show(p plan.Plan) error {
	if !c.json {
		_, err := io.WriteString(c.stdout, p.Describe())
		return err
	}
	enc := json.NewEncoder(c.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(p)
}

// confirm has a person type the name of the disk.
func (c *command) confirm(p plan.Plan) error {
	if c.yes {
		return nil
	}
	fmt.Fprintf(c.stderr, "%sType %s to go on: ", p.Loss(), p.Devices())
	answer, err := bufio.NewReader(c.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read confirmation: %w", err)
	}
	if strings.TrimSpace(answer) != p.Devices() {
		return errors.New("not confirmed: nothing was written")
	}
	return nil
}

// sink shows the events: JSON lines on stdout, or one line a step on stderr.
func (c *command) sink() event.Sink {
	if c.json {
		return event.NewEncoder(c.stdout)
	}
	return event.SinkFunc(func(e event.Event) {
		if e.State == event.Done && e.Step != "" {
			fmt.Fprintf(c.stderr, "%-9s  %s\n", e.Phase, strings.TrimSpace(e.Step+"  "+e.Message))
		}
	})
}
