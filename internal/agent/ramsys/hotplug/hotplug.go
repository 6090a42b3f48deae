// Package hotplug loads the modules of all devices: those that are there
// (coldplug) and those that appear (uevents), which loading a module brings
// forth in turn: PCI function, controller, disk.
//
//	/sys/**/modalias ─┐
//	                  ├─> modaliases not seen before ─> kmod.Match ─> kmod.Load ─┐
//	netlink uevents ──┘<──────────── new devices ────────────────────────────────┘
//
// It names no devices and runs no rules: devtmpfs makes the nodes.
package hotplug

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/kmod"
)

// Config is what a Watcher works with.
type Config struct {
	Sys    string // "/sys"
	Loader *kmod.Loader
	// Skip are modules that no modalias loads (modprobe.blacklist=).
	Skip map[string]bool
	// Socket receives uevents; nil: only coldplug.
	Socket *Socket
	// Report gets every batch that loaded something or failed.
	Report func(Batch)
}

// Batch is what came of a number of devices that were seen at once.
type Batch struct {
	Modaliases int // not seen before
	Loaded     []string
	Err        error
	Match      time.Duration // to find the modules in the index
	Load       time.Duration
}

// Watcher loads modules until its context ends.
type Watcher struct {
	cfg   Config
	trees chan plug
}

// plug asks for a coldplug with the modules of a tree.
type plug struct {
	tree    *kmod.Tree
	settled chan<- struct{}
}

// Start starts a Watcher, which first waits for a tree of modules.
func Start(ctx context.Context, cfg Config) *Watcher {
	w := &Watcher{cfg: cfg, trees: make(chan plug)}
	go w.run(ctx)
	return w
}

// Plug loads what the devices need from tree, and what the devices need that
// appear from now on. The channel is closed when nothing more comes forth.
func (w *Watcher) Plug(ctx context.Context, tree *kmod.Tree) <-chan struct{} {
	settled := make(chan struct{})
	go func() {
		select {
		case w.trees <- plug{tree, settled}:
		case <-ctx.Done():
			close(settled)
		}
	}()
	return settled
}

// settle is how long no uevent has come when the devices of a batch are taken
// to be complete. Most drivers add theirs before finit_module returns; for
// the rest (USB, SCSI scans) whoever needs a device waits for that device.
const settle = 20 * time.Millisecond

// run owns all the state: the tree, and the modaliases seen.
func (w *Watcher) run(ctx context.Context) {
	events := w.receive(ctx)
	var current plug
	var tree *kmod.Tree
	seen := map[string]bool{}
	for {
		var batch []string
		select {
		case <-ctx.Done():
			return
		case current = <-w.trees:
			tree, seen = current.tree, map[string]bool{}
			batch = Coldplug(w.cfg.Sys)
		case batch = <-events:
		}
		for tree != nil && len(batch) > 0 {
			w.load(ctx, tree, seen, batch)
			batch = w.more(events)
		}
		if current.settled != nil {
			close(current.settled)
			current.settled = nil
		}
	}
}

// load loads the modules for the modaliases of batch that are not in seen, and
// adds them.
func (w *Watcher) load(ctx context.Context, tree *kmod.Tree, seen map[string]bool, batch []string) {
	batch = slices.DeleteFunc(batch, func(a string) bool { return seen[a] })
	for _, a := range batch {
		seen[a] = true
	}
	start := time.Now()
	found, err := tree.Match(batch)
	matched := time.Now()
	var names []string
	for _, a := range batch {
		for _, n := range found[a] {
			if !w.cfg.Skip[n] {
				names = append(names, n)
			}
		}
	}
	loaded, loadErr := w.cfg.Loader.Load(ctx, tree, names...)
	if err = errors.Join(err, loadErr); len(loaded) > 0 || err != nil {
		w.cfg.Report(Batch{len(batch), loaded, err, matched.Sub(start), time.Since(matched)})
	}
}

// more collects the modaliases that come until it is quiet.
func (w *Watcher) more(events <-chan []string) []string {
	var batch []string
	for {
		select {
		case b := <-events:
			batch = append(batch, b...)
		case <-time.After(settle):
			return batch
		}
	}
}

// receive passes on the modaliases of devices that appear. When messages were
// lost it passes on those of all devices: the ones seen cost nothing.
func (w *Watcher) receive(ctx context.Context) <-chan []string {
	events := make(chan []string)
	if w.cfg.Socket == nil {
		return events
	}
	context.AfterFunc(ctx, func() { w.cfg.Socket.Close() })
	go func() {
		for {
			var batch []string
			ev, err := w.cfg.Socket.Receive(ctx)
			switch {
			case errors.Is(err, unix.ENOBUFS):
				batch = Coldplug(w.cfg.Sys)
			case errors.Is(err, os.ErrClosed):
				return
			case err != nil:
				w.cfg.Report(Batch{Err: err})
				return
			case ev.Action == "add" && ev.Vars["MODALIAS"] != "":
				batch = []string{ev.Vars["MODALIAS"]}
			default:
				continue
			}
			select {
			case events <- batch:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events
}
