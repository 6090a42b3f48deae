package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/netconf"
	planhandover "github.com/victorinix/vic/internal/plan/handover"
	"github.com/victorinix/vic/internal/remote"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/visit"
)

// otherMachine is a machine that is reached over SSH: in the system that it has,
// or in the RAM system.
type otherMachine struct {
	*app
	host     remote.Host
	flags    enterFlags
	archive  archiveFlags
	clock    *clock
	building *sync.Mutex // one build at a time: machines share the cache

	session *remote.Session // to the system before
	look    remote.Machine
	facts   envscan.Facts
	// before is what the system before hands over, or handed over when the
	// machine is in RAM already.
	before handover.Handover
	keys   []string        // of those who may log in
	ram    *remote.Session // to the RAM system
	from   int64           // the first event that was not seen yet
	// uploaded: files of the RAM system may be on the machine.
	uploaded bool
	sent     int64 // bytes of the RAM system that came with the first look
}

// discardLimit is for removing what was sent, where a connection is slow.
const discardLimit = 20 * time.Second

// close ends the connections. A machine that was only looked at is left as it
// was; of an upload that broke off, a later run goes on with what is there.
func (m *otherMachine) close() {
	if m.session != nil && m.session != m.ram && !m.uploaded {
		ctx, cancel := context.WithTimeout(context.Background(), discardLimit)
		if err := m.session.Discard(ctx); err != nil {
			m.clock.Emit(event.Event{Phase: event.Scan, Step: "warning", State: event.Done, Message: err.Error()})
		}
		cancel()
	}
	for _, s := range []*remote.Session{m.session, m.ram} {
		if s != nil {
			// The connection may be gone with the system that it went to.
			_ = s.Close()
		}
	}
}

// bundleFor builds the RAM system for the machine, with what a layout needs.
func (m *otherMachine) bundleFor(ctx context.Context, l layout.Layout) (*builder.Bundle, error) {
	m.building.Lock()
	defer m.building.Unlock()
	machine := &ramFor{facts: m.facts, layout: l, modules: linkModules(m.before.Network)}
	if m.flags.generic {
		machine = nil
	}
	return m.ramSystem(ctx, m.archive, m.clock, m.facts.HW.Arch, machine, toolsOption(l)...)
}

// linkModules are the kernel modules that links are made with.
func linkModules(c netconf.Config) []string {
	modules := map[string]string{netconf.Bond: "bonding", netconf.VLAN: "8021q", netconf.Bridge: "bridge"}
	var list []string
	for _, l := range c.Links {
		if name := modules[l.Kind]; name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// mayEnter refuses what could not end well, before anything is changed.
func (m *otherMachine) mayEnter(b *builder.Bundle) error {
	memory, err := b.Memory()
	if err != nil {
		return err
	}
	need := planhandover.Need{Arch: b.Arch, Load: memory.Load - m.sent, Total: memory.Total}
	return fail(exitRefused, planhandover.MayEnter(need, m.facts), "nothing was changed")
}

// enter takes the machine into RAM, and returns when the RAM system answers with
// the host key that the machine had before.
func (m *otherMachine) enter(ctx context.Context, b *builder.Bundle) error {
	if m.ram != nil {
		return nil
	}
	m.clock.Emit(event.Event{Phase: event.Enter, State: event.Start})
	identity, err := remote.NewIdentity()
	if err != nil {
		return err
	}
	if err := m.upload(ctx, b, identity.Public); err != nil {
		return err
	}
	entered, err := m.session.Enter(ctx)
	if err != nil {
		return fail(exitRefused, err, "the machine is in the system that it had; nothing was written")
	}
	for _, w := range entered.Warnings {
		m.clock.Emit(event.Event{Phase: event.Enter, Step: "warning", State: event.Done, Message: w})
	}
	m.clock.Emit(event.Event{Phase: event.Enter, Step: "kexec", State: event.Start, Message: entered.Loaded})
	host := m.host
	host.User = "root"
	m.ram, err = remote.OpenPinned(host, m.flags.sshConfig, remote.PinnedOptions{HostKeys: entered.HostKeys, Identity: identity.Private})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, enterPatience, fmt.Errorf("the RAM system did not answer within %v", enterPatience))
	defer cancel()
	if err := m.ram.Wait(ctx); err != nil {
		return fail(exitUntouched, fmt.Errorf("enter the RAM system of %s: %w", m.host, err),
			"nothing was written: the machine goes back to the system that it had by itself")
	}
	m.clock.Emit(event.Event{Phase: event.Enter, Step: "kexec", State: event.Done, Message: "the RAM system answers with the same host key"})
	m.from = 1
	return nil
}

// enterPatience is for the end of the system before, which is forced after two
// minutes, and for the start of the RAM system.
const enterPatience = 5 * time.Minute

// lostPatience is how long a machine may be out of reach while it works by itself.
const lostPatience = 5 * time.Minute

// ownComment marks the key that is made for one run.
const ownComment = "vic-run"

// upload sends kernel, initramfs and handover.
func (m *otherMachine) upload(ctx context.Context, b *builder.Bundle, ownKey string) error {
	kernel, err := os.Open(b.Path(builder.KernelFile))
	if err != nil {
		return err
	}
	defer kernel.Close()
	initrd, err := initrdFile(b)
	if err != nil {
		return err
	}
	defer initrd.Close()
	var doc bytes.Buffer
	told := m.before
	told.AuthorizedKeys = append(slices.Clone(told.AuthorizedKeys), strings.TrimSpace(ownKey)+" "+ownComment)
	if err := told.Encode(&doc); err != nil {
		return err
	}
	step := event.Event{Phase: event.Enter, Step: "upload", State: event.Start}
	m.clock.Emit(step)
	m.uploaded = true
	sent, err := m.session.UploadBundle(ctx, remote.Bundle{
		Kernel: kernel, Initrd: initrd, Handover: doc.Bytes(), Cmdline: b.Cmdline + " " + ramCmdline(m.facts),
	}, func(done, total int64) {
		m.clock.Emit(event.Event{Phase: event.Enter, Step: "upload", State: event.Progress, Done: done, Total: total})
	})
	if err != nil {
		return m.unreachable(err)
	}
	step.State, step.Done, step.Message = event.Done, sent, fmt.Sprintf("%.1f MB", float64(sent)/1e6)
	m.clock.Emit(step)
	return nil
}

// initrdFile is what the RAM system unpacks, as a file that is gone when it is
// closed.
func initrdFile(b *builder.Bundle) (*os.File, error) {
	f, err := os.CreateTemp("", "vic-initrd-")
	if err != nil {
		return nil, err
	}
	err = errors.Join(os.Remove(f.Name()), b.Initrd(f))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ramCmdline are the consoles of the system before: who watches it sees the next
// one. A kernel that panics reboots, into that system.
func ramCmdline(facts envscan.Facts) string {
	return strings.Join(append(consoles(strings.Fields(facts.OS.Cmdline)), "panic=10"), " ")
}

// consoles are the words of a kernel command line that name consoles, in their
// order: the kernel takes the last one for /dev/console.
func consoles(cmdline []string) []string {
	return slices.DeleteFunc(slices.Clone(cmdline), func(w string) bool { return !strings.HasPrefix(w, "console=") })
}

// keepConsoles are the kernel parameters of the new system with the consoles of the
// one before, unless they name some: a machine that is watched over a serial line
// still is. That is how the machine is reached, as its network is, and not who it
// is: --new-identity does not matter. What a RAM system was given is its own, and a
// board's consoles are part of the request.
func keepConsoles(s request.System, before envscan.Facts) []string {
	if before.OS.RAM || s.Board != nil || len(consoles(s.Cmdline)) > 0 {
		return s.Cmdline
	}
	return slices.Concat(s.Cmdline, consoles(strings.Fields(before.OS.Cmdline)))
}

// visit speaks with the RAM system.
func (m *otherMachine) visit() visit.RAM {
	return visit.RAM{Session: m.ram, Lost: remote.IsLost, Patience: lostPatience, Pause: 2 * time.Second}
}
