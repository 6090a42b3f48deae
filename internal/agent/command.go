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
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

// Command is `vic` in the RAM system: it installs payloads that were built
// elsewhere. It is ramsys.Config.Vic.
func Command(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	c := command{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	if err := c.run(ctx, args); !errors.Is(err, flag.ErrHelp) {
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

Install the payload that vic build wrote into DIR onto DISK.

example: vic install /mnt/debian --disk /dev/sda --dry-run
`

type command struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	disk   string
	dryRun bool
	json   bool
	yes    bool
	phases string
	secret string
}

func (c *command) run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] != "install" {
		fmt.Fprint(c.stderr, usageText)
		return codeError{exitUsage, errors.New("the RAM system has one verb: install")}
	}
	dir, err := c.parse(args[1:])
	if err != nil {
		return codeError{exitUsage, err}
	}
	p, secrets, err := c.plan(ctx, dir)
	if err != nil {
		return refused(err)
	}
	if c.dryRun {
		return c.show(p)
	}
	if err := c.confirm(p); err != nil {
		return refused(err)
	}
	var phases []string
	if c.phases != "" {
		phases = strings.Split(c.phases, ",")
	}
	return execute(ctx, p, secrets, phases, c.sink())
}

// parse reads the flags, which may stand before and after DIR.
func (c *command) parse(args []string) (dir string, err error) {
	set := flag.NewFlagSet("vic install", flag.ContinueOnError)
	set.SetOutput(c.stderr)
	set.Usage = func() { fmt.Fprint(c.stderr, usageText) }
	set.StringVar(&c.disk, "disk", "", "")
	set.BoolVar(&c.dryRun, "dry-run", false, "")
	set.BoolVar(&c.json, "json", false, "")
	set.BoolVar(&c.yes, "yes", false, "")
	set.StringVar(&c.phases, "phases", "", "")
	set.StringVar(&c.secret, "s", "", "")
	var dirs []string
	for len(args) > 0 {
		if err := set.Parse(args); err != nil {
			return "", err
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

// payloadFile is what the agent reads of the builder's payload.json.
type payloadFile struct {
	Version  int            `json:"version"`
	Item     string         `json:"item"`
	Arch     string         `json:"arch"`
	Format   string         `json:"format"`
	Kernel   string         `json:"kernel"`
	TreeSize int64          `json:"treeSize"`
	System   request.System `json:"system"`
	Files    []struct {
		Name   string `json:"name"`
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
	} `json:"files"`
}

func readPayload(dir string) (payloadFile, error) {
	var p payloadFile
	path := filepath.Join(dir, "payload.json")
	doc, err := os.ReadFile(path)
	if err != nil {
		return p, fmt.Errorf("read payload: %w", err)
	}
	if err := json.Unmarshal(doc, &p); err != nil {
		return p, fmt.Errorf("decode %s: %w", path, err)
	}
	if p.Version != 1 {
		return p, fmt.Errorf("decode %s: version %d, this vic reads version 1", path, p.Version)
	}
	return p, nil
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
	facts, err := envscan.Scan(ctx, envscan.Config{Root: "/"})
	if err != nil {
		return plan.Plan{}, secret.Set{}, err
	}
	p, err := plan.New(req, facts, secrets.Names())
	return p, secrets, err
}

func (c *command) request(dir string) (request.Request, error) {
	p, err := readPayload(dir)
	if err != nil {
		return request.Request{}, err
	}
	doc, err := images.Layout(images.DefaultLayout, p.Arch)
	if err != nil {
		return request.Request{}, err
	}
	l, err := layout.Parse(images.DefaultLayout+".yaml", doc)
	if err != nil {
		return request.Request{}, err
	}
	req := request.Request{
		Version: request.Version, Item: p.Item, Layout: l, System: p.System,
		Disk: request.DiskSelector{Device: c.disk}, Finish: request.FinishStay,
		Payload: request.Payload{Format: p.Format, Arch: p.Arch, Kernel: p.Kernel, TreeSize: p.TreeSize},
	}
	for _, f := range p.Files {
		if f.Name == "payload.erofs" {
			req.Payload.Size, req.Payload.SHA256 = f.Size, f.SHA256
			req.Payload.Source.Path, err = filepath.Abs(filepath.Join(dir, f.Name))
		}
	}
	return req, err
}

// secrets are those that the build left beside the payload, and those given
// here.
func (c *command) secrets(dir string) (secret.Set, error) {
	var all secret.Set
	f, err := os.Open(filepath.Join(dir, "secrets.json"))
	if err == nil {
		defer f.Close()
		all, err = secret.Decode(f)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return all, fmt.Errorf("read secrets: %w", err)
	}
	if c.secret == "" {
		return all, nil
	}
	given, err := secret.Parse([]string{c.secret}, secret.Host{})
	for _, name := range given.Names() {
		v, _ := given.Get(name)
		all = all.With(name, v)
	}
	return all, err
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
	fmt.Fprintf(c.stderr, "Everything on %s will be lost. Type %s to go on: ", p.Disk, p.Disk.Device)
	answer, err := bufio.NewReader(c.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read confirmation: %w", err)
	}
	if strings.TrimSpace(answer) != p.Disk.Device {
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
