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

	"github.com/victorinix/vic/internal/enter/order"
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
//	vic-env enter DIR --load-only   load, and answer
//	vic-env enter --leave           leave for what is loaded
//	vic-env enter DIR               both
//
// The answer (order.Answer) is one line on stdout. An exit code of 0 says that it is
// done. The client uses the first two: so it has the host keys whatever happens to
// its connection. as are the words that make this program vic-env, if it is
// another one.
func Main(ctx context.Context, as, args []string, stdout, stderr io.Writer) int {
	code, err := run(ctx, as, args, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "vic-env enter:", err)
	}
	return code
}

func run(ctx context.Context, as, args []string, stdout io.Writer) (int, error) {
	flags := flag.NewFlagSet("enter", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	load := flags.Bool("load-only", false, "stay")
	leave := flags.Bool("leave", false, "leave for what is loaded")
	background := flags.Bool(backgroundFlag, false, "be the process that leaves")
	var dirs []string
	for len(args) > 0 { // flags before and after DIR
		if err := flags.Parse(args); err != nil {
			return exitUsage, err
		}
		if args = flags.Args(); len(args) > 0 {
			dirs, args = append(dirs, args[0]), args[1:]
		}
	}
	switch {
	case *background && len(dirs) == 0:
		return leaveNow(ctx)
	case *leave && len(dirs) == 0:
		return leaving(ctx, as, order.Answer{}, stdout)
	case *leave || *background || len(dirs) != 1:
		return exitUsage, errors.New("usage: vic-env enter DIR [--load-only], vic-env enter --leave")
	}
	answer, err := Running().Enter(ctx, dirs[0])
	switch {
	case errors.Is(err, ErrRefused):
		return exitRefused, err
	case err != nil:
		return exitFailed, err
	case *load:
		return answered(stdout, answer)
	}
	return leaving(ctx, as, answer, stdout)
}

func answered(stdout io.Writer, a order.Answer) (int, error) {
	if err := json.NewEncoder(stdout).Encode(a); err != nil {
		return exitFailed, fmt.Errorf("answer: %w", err)
	}
	return 0, nil
}

// leaving starts the process that outlives the client's session.
func leaving(ctx context.Context, as []string, a order.Answer, stdout io.Writer) (int, error) {
	if err := mayLeave(); err != nil {
		return exitRefused, err
	}
	self, err := os.Executable()
	if err != nil {
		return exitFailed, errors.Join(err, kexec.Unload())
	}
	warning, err := Starter{Tools: tool.Exec{}, Self: append([]string{self}, as...), Detached: detached}.Start(ctx)
	if err != nil {
		return exitFailed, errors.Join(err, kexec.Unload())
	}
	if warning != "" {
		a.Warnings = append(a.Warnings, warning)
	}
	return answered(stdout, a)
}

// mayLeave refuses to end a system for which nothing is loaded.
func mayLeave() error {
	loaded, err := kexec.Loaded()
	if err == nil && !loaded {
		err = errors.New("no kernel is loaded")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// leaveNow is that process.
func leaveNow(ctx context.Context) (int, error) {
	if !strings.HasPrefix(os.Args[0], "@") {
		return exitFailed, respawn()
	}
	if err := mayLeave(); err != nil {
		return exitRefused, err
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE) // the session and the journal end before
	return exitFailed, runningLeaver().Run(ctx)
}
