package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
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
	"github.com/victorinix/vic/initramfs/programs"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/plan"
	planhandover "github.com/victorinix/vic/internal/plan/handover"
	"github.com/victorinix/vic/internal/remote"
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

// scan logs in and finds out what the machine is.
func (m *otherMachine) scan(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, factsLimit, fmt.Errorf("no facts within %v", factsLimit))
	defer cancel()
	if m.session, err = remote.Open(m.host, m.flags.sshConfig); err != nil {
		return err
	}
	inRAM, err := m.inRAM(ctx)
	if err != nil || inRAM {
		return err
	}
	if m.look, err = m.session.Look(ctx); err != nil {
		return m.unreachable(err)
	}
	if !m.look.Root {
		if err := m.session.Sudo(ctx, m.askSudo); err != nil {
			return fail(exitRefused, err, "log in as root, or as a user who may use sudo")
		}
	}
	program, err := programs.Env(m.look.Arch)
	if err != nil {
		return fail(exitRefused, fmt.Errorf("%s is a machine of the architecture %s: %w", m.host, m.look.Arch, err), "")
	}
	if m.keys, err = m.session.AuthorizedKeys(ctx); err != nil {
		return err
	}
	if err := m.session.Install(ctx, program); err != nil {
		return m.unreachable(err)
	}
	text, err := m.session.VicEnv(ctx, "dump", "--wake", "--timeout", plan.ScanPatience.String())
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &m.facts); err != nil {
		return fmt.Errorf("read the facts of %s: %w", m.host, err)
	}
	return m.handOver()
}

// inRAM is scan for a machine that an earlier run left in RAM: there is no shell to
// look with, only root may log in, and the command vic tells where it stands.
func (m *otherMachine) inRAM(ctx context.Context) (bool, error) {
	err := m.session.Stream(ctx, "vic status --json", nil, io.Discard)
	if errors.Is(err, remote.ErrDenied) && m.host.User != "" && m.host.User != "root" {
		if asRoot, err := m.deniedInRAM(ctx); err != nil || asRoot {
			return asRoot, err
		}
	}
	var failed *remote.Error
	switch {
	case err == nil:
		return true, m.scanRAM(ctx)
	case errors.As(err, &failed) && failed.Exit > 0 && failed.Exit != 255: // another vic, or none
		return false, nil
	}
	return false, m.unreachable(err)
}

// deniedInRAM tries whether it is for being in RAM that a user is not let in.
func (m *otherMachine) deniedInRAM(ctx context.Context) (bool, error) {
	host := m.host
	host.User = "root"
	s, err := remote.Open(host, m.flags.sshConfig)
	if err != nil {
		return false, err
	}
	if s.Stream(ctx, "vic status --json", nil, io.Discard) != nil {
		return false, s.Close()
	}
	err = m.session.Close()
	m.session = s
	return true, errors.Join(err, m.scanRAM(ctx))
}

// scanRAM asks the RAM system.
func (m *otherMachine) scanRAM(ctx context.Context) error {
	m.ram, m.look.User = m.session, m.host.User
	var facts, told bytes.Buffer
	if err := m.session.Stream(ctx, "vic-env dump --wake --timeout "+plan.ScanPatience.String(), nil, &facts); err != nil {
		return err
	}
	if err := json.Unmarshal(facts.Bytes(), &m.facts); err != nil {
		return fmt.Errorf("read the facts of %s: %w", m.host, err)
	}
	err := m.session.Stream(ctx, "cat "+handover.Path, nil, &told)
	if err == nil {
		m.before, err = handover.Decode(&told)
	}
	if err != nil {
		return fmt.Errorf("%s is in the RAM system: %w", m.host, err)
	}
	m.before.AuthorizedKeys = slices.DeleteFunc(m.before.AuthorizedKeys, func(k string) bool { return strings.HasSuffix(k, " "+ownComment) })
	status, err := m.visit().Status(ctx)
	m.from = status.Events + 1
	return err
}

// handOver computes what the RAM system is told of the machine.
func (m *otherMachine) handOver() error {
	network, warnings := planhandover.Network(m.facts)
	for _, w := range warnings {
		m.clock.Emit(event.Event{Phase: event.Scan, Step: "network", State: event.Done, Message: "warning: " + w})
	}
	m.before = handover.Handover{
		Version: handover.Version, Hostname: m.facts.OS.Hostname, MachineID: m.facts.OS.MachineID,
		AuthorizedKeys: m.keys,
		Network:        network, Probation: int64(m.flags.probation / time.Second), Port: cmp.Or(m.look.ServerPort, 22),
	}
	if !m.look.ServerAddr.IsValid() {
		return nil // its SSH server does not say by which address it was reached
	}
	return fail(exitRefused, planhandover.InUse(m.facts, m.look.ServerAddr), "nothing was changed")
}

// askSudo asks for the password of sudo.
func (m *otherMachine) askSudo() (string, error) {
	if !m.canAsk() {
		return "", errors.New("sudo asks for a password, and there is no terminal to ask for it")
	}
	v, err := m.ask(fmt.Sprintf("Password for sudo on %s: ", m.host))
	return v.Reveal(), err
}

// unreachable adds what to do where ssh itself has failed.
func (m *otherMachine) unreachable(err error) error {
	var failed *remote.Error
	if errors.As(err, &failed) && failed.Exit == 255 {
		return fail(exitRefused, err, "`ssh "+failed.Host.String()+"` has to work first: vic uses the same configuration")
	}
	return err
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
	need := planhandover.Need{Arch: b.Arch, Load: memory.Load, Total: memory.Total}
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
	step.State, step.Message = event.Done, fmt.Sprintf("%.1f MB", float64(sent)/1e6)
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
	consoles := slices.DeleteFunc(strings.Fields(facts.OS.Cmdline), func(w string) bool { return !strings.HasPrefix(w, "console=") })
	return strings.Join(append(consoles, "panic=10"), " ")
}

// visit speaks with the RAM system.
func (m *otherMachine) visit() visit.RAM {
	return visit.RAM{Session: m.ram, Lost: remote.IsLost, Patience: lostPatience, Pause: 2 * time.Second}
}
