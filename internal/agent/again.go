package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/ramsys"
	"github.com/victorinix/vic/internal/agent/reinstall"
	"github.com/victorinix/vic/internal/agent/reinstall/finish"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/tool"
)

// stageDir is where the stage is mounted.
const stageDir = "/run/vic/stage"

// patience is how long the reason is on the consoles before the machine goes back
// to the system before.
const patience = 15 * time.Second

// again runs a reinstall. One that failed before it changed anything ends in the
// system before.
func again(ctx context.Context, env ramsys.Env, d stage.Document, err error) (finish string, _ error) {
	if err == nil {
		here := onThisMachine(plan.Plan{}, secret.Set{}, nil, env.Sink)
		err = reinstall.Run(ctx, reinstall.Config{
			Document: d, Sink: env.Sink, Tools: here.Tools, Machine: here.Machine, Disks: here.Disks, Variables: here.Variables,
			Dir: stageDir, Self: "/proc/self/exe", Hide: hiding,
			Facts: func(ctx context.Context) (envscan.Facts, error) {
				return envscan.Scan(ctx, envscan.Config{Root: "/", Wake: true, Timeout: plan.ScanPatience})
			},
		})
		var unchanged *reinstall.Unchanged
		if err == nil || !errors.As(err, &unchanged) {
			var failed *install.Error
			if errors.As(err, &failed) {
				err = codeError{failed.Exit, err}
			}
			return request.FinishReboot, err
		}
	}
	env.Sink.Emit(event.Event{Phase: event.Verify, Step: "reinstall", State: event.Failed, Exit: storage.ExitIntact,
		Message: fmt.Sprintf("nothing was changed, back to the system before in %v: %v", patience, err)})
	select {
	case <-time.After(patience):
	case <-ctx.Done():
	}
	return request.FinishReboot, nil
}

// finishVerb is what vic-finish.service calls in a system that was reinstalled.
const finishVerb = "finish"

func finishReinstall(ctx context.Context, stdout io.Writer) error {
	programs := tool.Exec{}
	m := finish.Machine{
		Disks: storage.Host{Tools: programs, Programs: programs}, Grow: finish.Online,
		Say: func(format string, args ...any) { fmt.Fprintf(stdout, format+"\n", args...) },
	}
	if here := onThisMachine(plan.Plan{}, secret.Set{}, nil, event.Discard); here.Variables != nil {
		m.Variables = efi.Efivarfs(efi.EfivarfsPath)
	}
	return finish.Run(ctx, m)
}
