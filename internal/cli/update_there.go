package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/remote"
	"github.com/victorinix/vic/internal/service"
	"github.com/victorinix/vic/internal/slot"
)

// slotted is an appliance that is reached over SSH.
type slotted struct {
	session interface {
		Stream(ctx context.Context, command string, stdin io.Reader, stdout io.Writer) error
		Close() error
	}
	host string
}

// The commands of vic-init there.
const (
	slotsCommand    = "vic-init slots"
	servicesCommand = "vic-init services --json"
)

var (
	errNoSlots      = errors.New("its system is older than updates")
	errNoSlot       = errors.New("it runs from no card of an appliance")
	errNotAppliance = errors.New("it is no appliance of vic")
)

// look asks how the slots stand.
func (m *slotted) look(ctx context.Context) (slot.Status, error) {
	var s slot.Status
	err := m.ask(ctx, slotsCommand+" --json", &s)
	if err != nil {
		return s, fmt.Errorf("look at %s: %w", m.host, err)
	}
	if s.Version != slot.Version {
		return s, fail(exitRefused, fmt.Errorf("look at %s: its slots are described in version %d, this vic reads %d", m.host, s.Version, slot.Version), "update with a vic of its age, or flash it again")
	}
	return s, nil
}

// services asks how the services stand.
func (m *slotted) services(ctx context.Context) (service.Status, error) {
	var st service.Status
	if err := m.ask(ctx, servicesCommand, &st); err != nil {
		return st, fmt.Errorf("look at the services of %s: %w", m.host, err)
	}
	return st, nil
}

// ask runs a command whose answer is JSON.
func (m *slotted) ask(ctx context.Context, command string, answer any) error {
	var out bytes.Buffer
	if err := m.session.Stream(ctx, command, nil, &out); err != nil {
		return asked(err)
	}
	if err := json.Unmarshal(bytes.TrimSpace(out.Bytes()), answer); err != nil {
		return fmt.Errorf("%s: expected JSON, got %.200q: %w", command, out.Bytes(), err)
	}
	return nil
}

// asked says what an answer means that a machine without slots gives.
func asked(err error) error {
	var failed *remote.Error
	if !errors.As(err, &failed) || failed.Exit <= 0 || failed.Exit == 255 {
		return err
	}
	switch text := failed.Stderr; {
	case failed.Exit == 127 || strings.Contains(text, "no appliance") || strings.Contains(text, "not found"):
		return fail(exitRefused, errNotAppliance, "vic update is for what `vic flash` made of an appliance; `vic install --on` installs any other machine")
	case strings.Contains(text, "runs from no slot"):
		return fail(exitRefused, errNoSlot, "only a card that `vic flash` wrote has slots")
	case strings.Contains(text, `unknown command "slots"`) || strings.Contains(text, "this is PID 1 of vic's RAM system"):
		return fail(exitRefused, errNoSlots, "flash its card again, once")
	}
	return fail(exitRefused, err, "nothing was written")
}

// target is the slot that does not run, with what is kept in it.
func (m *slotted) target(ctx context.Context, s slot.Status) (raspberry.Target, error) {
	number := slot.Other(s.Running)
	other, _ := s.Slot(number)
	disk, err := strconv.ParseUint(s.Disk, 16, 32)
	if err != nil || disk == 0 {
		return raspberry.Target{}, fmt.Errorf("look at %s: its card has the signature %q", m.host, s.Disk)
	}
	t := raspberry.Target{Disk: uint32(disk), Number: number, Offset: other.Offset, Size: other.Size}
	if number != slot.A {
		return t, nil
	}
	t.Autoboot = []byte(s.Autoboot)
	var stage bytes.Buffer
	if err := m.session.Stream(ctx, slotsCommand+" first-stage", nil, &stage); err != nil {
		return t, fmt.Errorf("look at %s: %w", m.host, err)
	}
	t.FirstStage = stage.Bytes()
	return t, nil
}

// write sends a slot, and passes on what the appliance says of it.
func (m *slotted) write(ctx context.Context, made *raspberry.Slot, sink event.Sink) error {
	in, err := os.Open(made.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	r, w := io.Pipe()
	go func() { w.CloseWithError(pack(w, in, made.Order)) }()
	defer r.Close()
	return m.told(ctx, "write", r, sink)
}

// pack writes the order, and then what it says.
func pack(w io.Writer, in io.ReaderAt, o slot.Order) error {
	if err := o.Write(w); err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // most of it is compressed already
	if err != nil {
		return err
	}
	for _, e := range o.Extents {
		if e.Keep {
			continue
		}
		if _, err := io.Copy(z, io.NewSectionReader(in, e.Offset, e.Size)); err != nil {
			return err
		}
	}
	return z.Close()
}

// change runs a command that needs no input.
func (m *slotted) change(ctx context.Context, verb string, sink event.Sink) error {
	return m.told(ctx, verb, nil, sink)
}

// told runs a command that tells events, of which the last is about its failure.
func (m *slotted) told(ctx context.Context, verb string, stdin io.Reader, sink event.Sink) error {
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := m.session.Stream(ctx, slotsCommand+" "+verb, stdin, in)
		in.Close()
		ended <- err
	}()
	var last event.Event
	var decodeErr error
	for dec := event.NewDecoder(out); decodeErr == nil; {
		var e event.Event
		if e, decodeErr = dec.Next(); decodeErr == nil {
			if last = e; e.Exit == 0 {
				e.Seq = 0
				sink.Emit(e)
			}
		}
	}
	out.Close()
	err := <-ended
	switch {
	case last.Exit != 0:
		return fail(last.Exit, fmt.Errorf("%s: %s", m.host, last.Message), changeHint(last.Exit))
	case err != nil && verb == "write" && last.Phase != "":
		return fail(exitResumable, fmt.Errorf("write the slot of %s: %w", m.host, err), changeHint(exitResumable))
	case err != nil:
		return fmt.Errorf("%s: vic-init slots %s: %w", m.host, verb, err)
	case decodeErr != io.EOF:
		return fmt.Errorf("%s: vic-init slots %s: %w", m.host, verb, decodeErr)
	}
	return nil
}

func changeHint(exit int) string {
	if exit == exitResumable {
		return "the slot that runs is as it was, and stays the default: run the same command again"
	}
	return "nothing was written"
}
