package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/initramfs/programs"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/plan"
	planhandover "github.com/victorinix/vic/internal/plan/handover"
	"github.com/victorinix/vic/internal/remote"
)

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
	if m.keys, err = m.session.AuthorizedKeys(ctx); err != nil {
		return err
	}
	if err := m.sendProgram(ctx); err != nil {
		return err
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

// roomForStart is twice what vic-init takes, packed and unpacked. A machine with less
// is refused: the small program tells it by how much.
const roomForStart = 48 << 20

// sendProgram sends what looks at the machine. What the RAM system begins with can,
// and is sent once; a machine without zstd gets a program of its own for it.
func (m *otherMachine) sendProgram(ctx context.Context) error {
	program, err := programs.Env(m.look.Arch)
	if err != nil {
		return fail(exitRefused, fmt.Errorf("%s is a machine of the architecture %s: %w", m.host, m.look.Arch, err), "")
	}
	if !m.look.Zstd || m.look.Memory < roomForStart {
		return m.unreachable(m.session.Install(ctx, program))
	}
	start, err := m.start(ctx)
	if err != nil {
		return err
	}
	m.sent = int64(len(start.Data))
	return m.unreachable(m.session.InstallStart(ctx, remote.Start(start)))
}

// start is what the RAM system for the machine begins with.
func (m *otherMachine) start(ctx context.Context) (builder.Start, error) {
	m.building.Lock()
	defer m.building.Unlock()
	env, _, err := m.installerEnv(m.archive, m.clock, m.look.Arch)
	if err != nil {
		return builder.Start{}, err
	}
	return builder.InitramfsStart(ctx, env, m.look.Arch)
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
