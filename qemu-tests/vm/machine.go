package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Machine is a virtual machine that Run has started.
type Machine struct {
	setup   setup
	ownDir  bool // Dir is temporary
	proc    *process
	monitor *monitor
	console *console
	events  *stream
	ports   map[portKey]string

	mu    sync.Mutex
	fate  fate
	gone  map[string]chan struct{} // DEVICE_DELETED by device
	done  chan struct{}            // closed when all has ended
	end   error                    // how; valid after done
	close sync.Once
}

type portKey struct{ nic, guest int }

// startLimit is how long QEMU may take until its monitor answers.
const startLimit = 60 * time.Second

// Run starts a machine. It runs until the guest ends it, ctx ends, Kill or
// Close is called, or the calling process ends. Whoever called Run calls Close.
// A QEMU that refuses its arguments (a disk in use, say) is Run's error.
func Run(ctx context.Context, c Config) (*Machine, error) {
	m, err := run(ctx, host{}, c)
	if err != nil {
		for _, n := range c.NICs {
			if n.Cable != nil {
				_ = n.Cable.Close() // an error if it had got as far as QEMU
			}
		}
	}
	return m, err
}

func run(ctx context.Context, h host, c Config) (*Machine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Machine{gone: map[string]chan struct{}{}, done: make(chan struct{})}
	if c.Dir == "" {
		c.Dir, err = os.MkdirTemp("", "vic-vm-")
		m.ownDir = true
	} else {
		err = os.MkdirAll(c.Dir, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("make run folder: %w", err)
	}
	if m.setup, err = prepare(ctx, h, c); err == nil {
		err = m.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, removeRun(c.Dir, m.ownDir))
	}
	return m, nil
}

// start starts QEMU and lets the guest go.
func (m *Machine) start(ctx context.Context) error {
	script := []byte(m.Command())
	if err := os.WriteFile(filepath.Join(m.setup.Dir, "command.sh"), script, 0o755); err != nil {
		return fmt.Errorf("start machine %s: %w", m.setup.Name, err)
	}
	if err := m.launch(); err != nil {
		return fmt.Errorf("start machine %s: %w", m.setup.Name, err)
	}
	go m.supervise()
	stop := context.AfterFunc(ctx, func() { m.kill(context.Cause(ctx)) })
	go func() { <-m.done; stop() }()
	if err := m.begin(ctx); err != nil {
		if errors.Is(err, errMonitorClosed) {
			<-m.done
			err = m.end
		} else {
			m.Kill()
		}
		return fmt.Errorf("start machine %s: %w", m.setup.Name, err)
	}
	return nil
}

// launch starts the process, connected to this one by descriptors 3 (console),
// 4 (monitor), 5 (events), and to others by cables, which follow.
func (m *Machine) launch() error {
	ours, theirs, err := newPairs(3)
	if err != nil {
		return err
	}
	b := backends{
		console: opts("socket,id=console,fd=3", "logfile", m.ConsolePath(), "logappend", "off"),
		monitor: "socket,id=monitor,fd=4",
		cables:  map[int]int{},
	}
	for i, n := range m.setup.NICs {
		if n.Cable != nil {
			b.cables[i] = 3 + len(theirs)
			theirs = append(theirs, n.Cable)
		}
	}
	if m.setup.Events {
		b.events = "socket,id=events,fd=5"
	}
	if m.proc, err = startProcess(m.setup.qemu, m.setup.args(b), m.setup.Dir, theirs); err != nil {
		return errors.Join(err, closeAll(ours))
	}
	m.console = newConsole(ours[0], m.onPanic)
	m.monitor = newMonitor(ours[1], m.onQMP)
	m.events = newStream(ours[2])
	return nil
}

// begin talks to a QEMU that waits (-S): nothing that the guest does is missed.
func (m *Machine) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if _, err := m.QMP(ctx, "qmp_capabilities", nil); err != nil {
		return err
	}
	if err := m.findPorts(ctx); err != nil {
		return err
	}
	// By now QEMU has read them.
	for _, f := range m.setup.creds {
		if err := os.Remove(f); err != nil {
			return fmt.Errorf("remove credential: %w", err)
		}
	}
	if _, err := m.QMP(ctx, "cont", nil); err != nil && !errors.Is(err, errMonitorClosed) {
		return err
	}
	return nil // a guest may be done before QEMU has answered
}

// supervise waits for the end of QEMU and of all that it said.
func (m *Machine) supervise() {
	status := m.proc.wait()
	<-m.monitor.done
	<-m.console.done
	<-m.events.done
	m.mu.Lock()
	m.end = m.fate.verdict(status, m.proc.stderr())
	m.mu.Unlock()
	clean := removeRun(m.setup.Dir, false)
	if clean != nil && m.end == nil {
		m.end = clean
	}
	close(m.done)
}

// removeRun removes the temporary files of a run, or the whole folder.
func removeRun(dir string, all bool) error {
	if all {
		return os.RemoveAll(dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
	if err != nil {
		return fmt.Errorf("clean run folder %s: %w", dir, err)
	}
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// Wait waits until the machine has ended. It returns nil when the guest
// switched itself off, and otherwise an error that wraps ErrReset, ErrPanic,
// ErrWatchdog or ErrKilled, or tells what QEMU said. The end of this ctx ends
// the waiting, not the machine.
func (m *Machine) Wait(ctx context.Context) error {
	select {
	case <-m.done:
	case <-ctx.Done():
		select {
		case <-m.done:
		default:
			return m.explain(fmt.Errorf("wait for machine %s to end: %w", m.setup.Name, context.Cause(ctx)))
		}
	}
	if m.end == nil {
		return nil
	}
	return m.explain(fmt.Errorf("machine %s: %w", m.setup.Name, m.end))
}

// explain adds the end of the console to an error.
func (m *Machine) explain(err error) error {
	if tail := m.ConsoleTail(20); tail != "" {
		return fmt.Errorf("%w\nconsole (%s) ends:\n%s", err, m.ConsolePath(), tail)
	}
	return fmt.Errorf("%w (nothing on the console)", err)
}

// Kill ends the machine at once, like a cut power cord, and waits for its end.
func (m *Machine) Kill() {
	m.kill(errors.New("by request"))
	<-m.done
}

func (m *Machine) kill(why error) {
	m.mu.Lock()
	if m.fate.killed == nil {
		m.fate.killed = why
	}
	m.mu.Unlock()
	m.proc.kill()
}

// Close kills the machine if it runs, and removes its run folder if Run made
// it. The console is gone then.
func (m *Machine) Close() error {
	var err error
	m.close.Do(func() {
		m.Kill()
		m.events.abandon()
		err = removeRun(m.setup.Dir, m.ownDir)
	})
	return err
}

// Done is closed when the machine has ended.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Accel is "kvm" or "tcg".
func (m *Machine) Accel() string { return m.setup.accel }

// Dir is the run folder.
func (m *Machine) Dir() string { return m.setup.Dir }

// Command is a shell script that repeats the run by hand, on the terminal.
func (m *Machine) Command() string { return m.setup.command() }

// QMP executes a QMP command and returns its raw answer; args may be nil.
func (m *Machine) QMP(ctx context.Context, command string, args any) (json.RawMessage, error) {
	return m.monitor.run(ctx, command, args)
}

// hmp executes a command of the human monitor, for what QMP cannot do.
func (m *Machine) hmp(ctx context.Context, line string) (string, error) {
	raw, err := m.QMP(ctx, "human-monitor-command", map[string]string{"command-line": line})
	if err != nil {
		return "", err
	}
	var out string
	if err := json.Unmarshal(raw, &out); err != nil {
		return "", fmt.Errorf("read answer to %s: %w", line, err)
	}
	return strings.ReplaceAll(out, "\r\n", "\n"), nil
}
