package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/initramfs/programs"
	"github.com/victorinix/vic/internal/remote"
)

type factsFlags struct {
	on        string
	sshConfig string
	format    string
	redact    string
	wake      bool
	timeout   time.Duration
}

func newFacts(a *app) *cobra.Command {
	var f factsFlags
	cmd := &cobra.Command{
		Use:   "facts --on HOST",
		Short: "Find out what another machine is, over SSH",
		Long: `Find out what another machine is: log in with the user's own ssh (configuration,
agent, known hosts, jump hosts), run vic-env there from RAM, and remove it again.
The machine needs a POSIX shell and nothing else. Who is not root, and may not use
sudo without a password, gets what anybody may read; scan.gaps names the rest.`,
		Example: `  vic facts --on root@web1.example.org > web1.json
  vic facts --on anna@[2001:db8::7]:2222 --format yaml
  vic facts --on web1 --redact hash`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), a) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.on, "on", "", "`[USER@]HOST[:PORT]`, or an alias of the SSH configuration")
	flags.StringVar(&f.sshConfig, "ssh-config", "", "`FILE` in place of the user's own SSH configuration")
	flags.StringVar(&f.format, "format", "json", "json, yaml or flat")
	flags.StringVar(&f.redact, "redact", "none", "what identifies the machine is replaced (hash), left out (drop), or stays (none)")
	flags.BoolVar(&f.wake, "wake", false, "ask disks that sleep for their health too, which wakes them")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Second, "for each part of the machine that does not answer")
	return cmd
}

// factsLimit is for a login that nobody answers, the way of the program over a
// slow line, and the scan.
const factsLimit = 10 * time.Minute

func (f *factsFlags) run(ctx context.Context, a *app) (err error) {
	if f.on == "" {
		return usage("vic facts --on root@HOST; of this machine: vic env dump", "vic facts needs --on HOST")
	}
	host, err := remote.Parse(f.on)
	if err != nil {
		return usage("", "--on %w", err)
	}
	for _, known := range []struct {
		flag, value string
		values      []string
	}{{"--format", f.format, []string{"json", "yaml", "flat"}}, {"--redact", f.redact, []string{"none", "hash", "drop"}}} {
		if !slices.Contains(known.values, known.value) {
			return usage("", "%s: expected %s, got %q", known.flag, strings.Join(known.values, ", "), known.value)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, factsLimit, fmt.Errorf("no facts within %v", factsLimit))
	defer cancel()
	session, err := remote.Open(host, f.sshConfig)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	text, err := f.scan(ctx, session)
	if err != nil {
		return fail(exitUntouched, err, f.hint(err))
	}
	_, err = a.stdout.Write(text)
	return err
}

// scan runs vic-env on the host.
func (f *factsFlags) scan(ctx context.Context, s *remote.Session) ([]byte, error) {
	m, err := s.Look(ctx)
	if err != nil {
		return nil, err
	}
	program, err := programs.Env(m.Arch)
	if err != nil {
		return nil, fmt.Errorf("run vic-env on %s, a machine of the architecture %s: %w", f.on, m.Arch, err)
	}
	args := []string{"dump", "--format", f.format, "--redact", f.redact, "--timeout", f.timeout.String()}
	if f.wake {
		args = append(args, "--wake")
	}
	text, err := s.Execute(ctx, program, args...)
	if err != nil {
		return nil, err
	}
	var facts envscan.Facts
	if f.format == "json" {
		if err := json.Unmarshal(text, &facts); err != nil {
			return nil, fmt.Errorf("read the facts of %s: %w", f.on, err)
		}
	}
	return text, nil
}

// hint says what to do where ssh itself has failed.
func (f *factsFlags) hint(err error) string {
	var failed *remote.Error
	if errors.As(err, &failed) && failed.Exit == 255 {
		return "`ssh " + failed.Host.String() + "` has to work first: vic uses the same configuration"
	}
	return ""
}
