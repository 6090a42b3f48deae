package ramsys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/agent/ramsys/hotplug"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/kmod"
)

// hardware loads modules, for devices and for whoever needs one by name.
type hardware struct {
	loader  *kmod.Loader
	watcher *hotplug.Watcher
	early   *kmod.Tree // nil: no modules in the initramfs
	settled <-chan struct{}
}

// modulesDir is where the modules of the running kernel are: first those of
// the initramfs, then, below the overlay, those of the system too.
func modulesDir() string { return filepath.Join("/usr/lib/modules", release()) }

// startHotplug starts to load the modules of all devices. It does not wait.
func startHotplug(ctx context.Context, c Cmdline, sink event.Sink) (hardware, error) {
	socket, err := hotplug.Listen()
	if err != nil {
		return hardware{}, err
	}
	loader := &kmod.Loader{Insert: kmod.Finit, Params: c.ModuleParams, Parallel: runtime.NumCPU()}
	hw := hardware{loader: loader, watcher: hotplug.Start(ctx, hotplug.Config{
		Sys: "/sys", Loader: loader, Skip: c.Blacklist, Socket: socket,
		Report: func(b hotplug.Batch) { reportModules(sink, c.Debug, b) },
	})}
	hw.early, err = kmod.Open(modulesDir())
	if errors.Is(err, fs.ErrNotExist) {
		warn(sink, []string{"the initramfs has no modules for Linux " + release()})
		return hw, nil
	}
	if err == nil {
		hw.settled = hw.watcher.Plug(ctx, hw.early)
	}
	return hw, err
}

// need loads a module by name; one that is built in, or that is nowhere, is
// left to fail where it is used.
func (hw hardware) need(ctx context.Context) func(module string) error {
	return func(module string) error {
		if hw.early == nil {
			return nil
		}
		_, err := hw.loader.Load(ctx, hw.early, module)
		return err
	}
}

func reportModules(sink event.Sink, debug bool, b hotplug.Batch) {
	ev := event.Event{Phase: event.Enter, Step: "modules", State: event.Done, Message: strings.Join(b.Loaded, " ")}
	if debug {
		ev.Message = fmt.Sprintf("%d devices, %v to match, %v to load: %s", b.Modaliases,
			b.Match.Round(time.Millisecond), b.Load.Round(time.Millisecond), ev.Message)
	}
	if len(b.Loaded) > 0 {
		sink.Emit(ev)
	}
	if b.Err != nil {
		warn(sink, strings.Split(b.Err.Error(), "\n"))
	}
}

// rescan loads modules from the tree that has those of the system too.
func rescan(ctx context.Context, hw *hardware) error {
	all, err := kmod.Open(modulesDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		hw.early, hw.settled = all, hw.watcher.Plug(ctx, all)
	}
	return err
}

func mountEFI(ctx context.Context, hw hardware) error {
	if _, err := os.Stat("/sys/firmware/efi"); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(hw.need(ctx)("efivarfs"), mountEFIVars())
}

// awaitDevices waits until the devices have what they need. A controller takes a second
// to find that nothing is attached to it. Only a request has to see all disks.
func awaitDevices(ctx context.Context, settled <-chan struct{}) {
	if settled == nil {
		return
	}
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

// noticeSettled lets init know when devices have their drivers: the watchdog is
// one of them.
func noticeSettled(ctx context.Context, settled <-chan struct{}, init *line, n notice, sink event.Sink) {
	awaitDevices(ctx, settled)
	if _, err := init.ask(n); err != nil {
		warn(sink, []string{err.Error()})
	}
}
