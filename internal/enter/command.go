package enter

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/kexec"
)

// The exit codes; they are vic's.
const (
	exitUsage   = 2
	exitRefused = 3
	exitFailed  = 4
)

// Main is the verb enter of vic-env. The help does not list it: it is the other end
// of `vic install --on`, and nothing for people.
//
//	vic-env enter DIR [--load-only]
//
// The answer is one line on stdout. An exit code of 0 says that this system ends.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	code, err := run(ctx, args, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "vic-env enter:", err)
	}
	return code
}

func run(ctx context.Context, args []string, stdout io.Writer) (int, error) {
	flags := flag.NewFlagSet("enter", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	load := flags.Bool("load-only", false, "stay")
	leave := flags.Bool("leave", false, "")
	var dirs []string
	for len(args) > 0 { // flags before and after DIR
		if err := flags.Parse(args); err != nil {
			return exitUsage, err
		}
		if args = flags.Args(); len(args) > 0 {
			dirs, args = append(dirs, args[0]), args[1:]
		}
	}
	if *leave && len(dirs) == 0 {
		return leaveNow(ctx)
	}
	if *leave || len(dirs) != 1 {
		return exitUsage, errors.New("usage: vic-env enter DIR [--load-only]")
	}
	return enterFrom(ctx, dirs[0], *load, stdout)
}

func enterFrom(ctx context.Context, dir string, stay bool, stdout io.Writer) (int, error) {
	answer, err := Running().Enter(ctx, dir)
	if errors.Is(err, ErrRefused) {
		return exitRefused, err
	} else if err != nil {
		return exitFailed, err
	}
	if !stay {
		self, err := os.Executable()
		if err != nil {
			return exitFailed, errors.Join(err, kexec.Unload())
		}
		warning, err := Starter{Tools: tool.Exec{}, Self: self, Detached: detached}.Start(ctx)
		if err != nil {
			return exitFailed, errors.Join(err, kexec.Unload())
		}
		if warning != "" {
			answer.Warnings = append(answer.Warnings, warning)
		}
	}
	if err := json.NewEncoder(stdout).Encode(answer); err != nil {
		return exitFailed, fmt.Errorf("answer: %w", err)
	}
	return 0, nil
}

// leaveNow is the process that outlives the client's session.
func leaveNow(ctx context.Context) (int, error) {
	if !strings.HasPrefix(os.Args[0], "@") {
		return exitFailed, respawn()
	}
	if loaded, err := kexec.Loaded(); err != nil || !loaded {
		return exitRefused, errors.Join(err, errors.New("no kernel is loaded"))
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE) // the session and the journal end before
	return exitFailed, runningLeaver().Run(ctx)
}
