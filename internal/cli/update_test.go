package cli

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/remote"
	"github.com/victorinix/vic/internal/service"
	"github.com/victorinix/vic/internal/slot"
)

// manifest is one of a system.
func slotManifest(system string) *slot.Manifest {
	return &slot.Manifest{Version: slot.Version, Item: "reverse-wifi-access-point", Type: raspberry.CardType, Arch: "arm64", Kernel: "6.12.1-arm64", System: strings.Repeat(system, 64)}
}

// onCard is an appliance whose slot A runs.
func onCard() slot.Status {
	return slot.Status{
		Version: slot.Version, Arch: "arm64", Board: "Raspberry Pi 3 Model B", Kernel: "6.12.1-arm64", Boot: "one", Disk: "1234abcd", Device: "/dev/mmcblk0",
		Running: slot.A, Default: slot.A, Autoboot: string(slot.Choice{Default: slot.A}.Encode()),
		Slots: []slot.Slot{{Number: slot.A, Offset: 4 << 20, Size: 112 << 20, System: slotManifest("a")}, {Number: slot.B, Offset: 400 << 20, Size: 112 << 20}},
	}
}

func accessPoint(t *testing.T, options ...string) *config.Config {
	t.Helper()
	a := testApp(t)
	f := itemFlags{options: append([]string{cardArch}, options...)}
	c, err := f.config(a, "reverse-wifi-access-point")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRefuseUpdate(t *testing.T) {
	key := "sshkey=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBn2ddmEDyNM8NzSM3Uvi5rHYB5wQtTfNKPvBBLvVNEU x"
	good := accessPoint(t, key)
	if err := refuseUpdate(onCard(), good); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(s *slot.Status){
		"the card has no slot B":                  func(s *slot.Status) { s.Slots = s.Slots[:1] },
		"an update is on trial: slot B runs":      func(s *slot.Status) { s.Running = slot.B },
		"slot A runs, and goes back to slot B":    func(s *slot.Status) { s.Back = slot.B },
		"EEPROM is older":                         func(s *slot.Status) { s.Refuses = "its EEPROM is older than slots" },
		"does not say what is in it":              func(s *slot.Status) { s.Slots[0].System = nil },
		"the appliance is other, and not reverse": func(s *slot.Status) { s.Slots[0].System.Item = "other" },
		"for a pc, and not for a raspberry-pi":    func(s *slot.Status) { s.Slots[0].System.Type = "pc" },
		"is for riscv64, and the item for arm64":  func(s *slot.Status) { s.Arch = "riscv64" },
	} {
		s := onCard()
		change(&s)
		if err := refuseUpdate(s, good); err == nil || !strings.Contains(err.Error(), want) || updateHint(err) == "" {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := refuseUpdate(onCard(), accessPoint(t)); err == nil || !strings.Contains(err.Error(), "no sshkey") {
		t.Errorf("got %v", err)
	}
	if err := refuseBack(onCard()); err == nil || !strings.Contains(err.Error(), "slot B has no system") {
		t.Errorf("got %v", err)
	}
}

func TestDescribeSlots(t *testing.T) {
	s := onCard()
	s.Running, s.Slots[1].System, s.Warnings = slot.B, slotManifest("b"), []string{"beware"}
	want := `pi: Raspberry Pi 3 Model B, Linux 6.12.1-arm64, card 1234abcd
  slot A, 112 MiB: reverse-wifi-access-point aaaaaaaaaaaa, kernel 6.12.1-arm64 (starts next)
  slot B, 112 MiB: reverse-wifi-access-point bbbbbbbbbbbb, kernel 6.12.1-arm64 (runs, on trial)
  an update is on trial: slot B runs, and slot A is the default
  warning: beware
`
	if got := describeSlots("pi", s); got != want {
		t.Errorf("got\n%s", got)
	}
}

// Services that did not run before, or are none of the new system's, are no reason.
func TestMissing(t *testing.T) {
	st := func(text string) (s service.Status) {
		for _, w := range strings.Fields(text) {
			name, state, _ := strings.Cut(w, "=")
			s.Services = append(s.Services, service.ServiceStatus{Name: name, State: service.State(state)})
		}
		return s
	}
	before := st("lan=ready cards=done wifi=backoff portal=ready ssh=ready")
	if got := missing(before, st("lan=ready cards=done wifi=failed ssh=ready new=starting")); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	if got := missing(before, st("lan=ready cards=waiting wifi=ready ssh=backoff")); fmt.Sprint(got) != "[cards (waiting) ssh (backoff)]" {
		t.Errorf("got %v", got)
	}
}

// pi plays an appliance: what it answers to the commands of vic-init.
type pi struct {
	status   slot.Status
	services service.Status
	// tried is what the machine is after a restart; nil: it does not answer.
	tried    *slot.Status
	received []byte
	fails    map[string]string // by verb, the event that it ends with
	log      []string
}

func (p *pi) Close() error { return nil }

func (p *pi) Stream(_ context.Context, command string, stdin io.Reader, stdout io.Writer) (err error) {
	p.log = append(p.log, strings.TrimPrefix(command, "vic-init "))
	enc, events := json.NewEncoder(stdout), event.NewEncoder(stdout)
	verb := strings.TrimPrefix(command, "vic-init slots ")
	if text := p.fails[verb]; text != "" {
		events.Emit(event.Event{Phase: event.Copy, State: event.Failed, Message: text, Exit: exitResumable})
		return &remote.Error{Exit: 1, Stderr: "slots: " + text}
	}
	switch verb {
	case "--json":
		if p.status.Version == 0 {
			return &remote.Error{Exit: 255, Stderr: "no route to host", Err: errors.New("exit status 255")}
		}
		return enc.Encode(p.status)
	case "vic-init services --json":
		return enc.Encode(p.services)
	case "first-stage":
		_, err = io.WriteString(stdout, "first stage")
		return err
	case "write":
		p.received, err = io.ReadAll(stdin)
	case "try", "try --no-tryboot":
		if p.status = (slot.Status{}); p.tried != nil {
			p.status = *p.tried
		}
	case "keep":
		p.status.Default = p.status.Running
	}
	events.Emit(event.Event{Phase: event.Boot, Step: verb, State: event.Done})
	return err
}

func (p *pi) update(t *testing.T) *updateRun {
	a := testApp(t)
	a.stdout = &bytes.Buffer{}
	return &updateRun{app: a, flags: &updateFlags{wait: 50 * time.Millisecond}, there: &slotted{session: p, host: "pi"}, before: p.status, ran: p.services, events: newClock(event.Discard)}
}

// A trial is kept when the new slot answers with its system and its services; what
// else happens is an error with exit code 6, and nothing is kept.
func TestTry(t *testing.T) {
	ready := service.Status{Services: []service.ServiceStatus{{Name: "lan", State: service.Running}}}
	next := func(change func(s *slot.Status)) *slot.Status {
		s := onCard()
		s.Boot, s.Running, s.Slots[1].System = "two", slot.B, slotManifest("b")
		change(&s)
		return &s
	}
	for name, tt := range map[string]struct {
		tried *slot.Status
		down  bool // a service is
		plain bool // without tryboot
		want  string
		hint  string
	}{
		"it answers":      {tried: next(func(*slot.Status) {})},
		"the old slot":    {next(func(s *slot.Status) { s.Running = slot.A }), false, false, "slot A has started again", "nothing is lost"},
		"another system":  {next(func(s *slot.Status) { s.Slots[1].System = slotManifest("c") }), false, false, "with another system", "on trial"},
		"nobody answers":  {nil, false, false, "does not answer", "take the power away"},
		"a service fails": {next(func(*slot.Status) {}), true, false, "services that ran before do not: lan (failed)", "on trial"},
		"no tryboot":      {next(func(s *slot.Status) { s.Default, s.Back = slot.B, slot.A }), true, true, "services that ran", "goes back to slot A by itself"},
		"no restart":      {next(func(s *slot.Status) { s.Boot = "one" }), false, false, "has not restarted yet", "take the power away"},
	} {
		p := &pi{status: onCard(), services: ready, tried: tt.tried}
		u := p.update(t)
		u.flags.noTryboot = tt.plain
		if tt.down {
			p.services = service.Status{Services: []service.ServiceStatus{{Name: "lan", State: service.Failed}}}
		}
		err := u.try(t.Context(), strings.Repeat("b", 64))
		kept := strings.Contains(strings.Join(p.log, "\n"), "slots keep")
		if tt.want == "" {
			if err != nil || !kept {
				t.Errorf("%s: %v, kept: %v", name, err, kept)
			}
			continue
		}
		var exit *exitError
		if !errors.As(err, &exit) || exit.Code != exitNoAnswer || !strings.Contains(err.Error(), tt.want) || !strings.Contains(exit.Hint, tt.hint) || kept {
			t.Errorf("%s: got %v (%+v), kept: %v", name, err, exit, kept)
		}
		if strings.Contains(strings.Join(p.log, "\n"), "try --no-tryboot") != tt.plain {
			t.Errorf("%s: commands were %v", name, p.log)
		}
	}
}

// What is written arrives as it was ordered, and a failure there is one here.
func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slot")
	content := bytes.Repeat([]byte("0123456789abcdef"), 256)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	extent := func(name string, from, to int64, keep bool) slot.Extent {
		sum := sha256.Sum256(content[from:to])
		return slot.Extent{Name: name, Offset: from, Size: to - from, SHA256: hex.EncodeToString(sum[:]), Keep: keep}
	}
	made := &raspberry.Slot{Path: file, Order: slot.Order{Version: slot.Version, Disk: "1234abcd", Slot: slot.A, Size: 4096, Extents: []slot.Extent{
		extent("", 0, 1024, false), extent("kept", 1024, 1536, true), extent("a", 2048, 2100, false),
	}}}
	p := &pi{status: onCard()}
	if err := p.update(t).there.write(t.Context(), made, event.Discard); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(bytes.NewReader(p.received))
	if o, err := slot.ReadOrder(in); err != nil || len(o.Extents) != 3 {
		t.Errorf("got %+v, %v", o, err)
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != string(content[:1024])+string(content[2048:2100]) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	p.fails = map[string]string{"write": "the card is failing"}
	err = p.update(t).there.write(t.Context(), made, event.Discard)
	if exitCode(err) != exitResumable || !strings.Contains(err.Error(), "pi: the card is failing") {
		t.Errorf("got %v", err)
	}
}

// A machine that is no appliance is told from one that is too old.
func TestAsked(t *testing.T) {
	for text, want := range map[string]error{
		"sh: vic-init: not found":                               errNotAppliance,
		"vic-init: slots: this machine is no appliance: it has": errNotAppliance,
		`unknown command "slots"; did you mean "step"?`:         errNoSlots,
		"slots: this machine runs from no slot of a card":       errNoSlot,
	} {
		if err := asked(&remote.Error{Exit: 1, Stderr: text}); !errors.Is(err, want) || exitCode(err) != exitRefused {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if err := asked(&remote.Error{Exit: 255, Stderr: "not found"}); !remote.IsLost(err) {
		t.Errorf("got %v", err)
	}
}

// What slot A keeps is taken from the card.
func TestTarget(t *testing.T) {
	p := &pi{status: onCard()}
	if to, err := p.update(t).there.target(t.Context(), p.status); err != nil || to.Number != slot.B || to.Offset != 400<<20 || to.Disk != 0x1234abcd || to.FirstStage != nil {
		t.Errorf("got %+v, %v", to, err)
	}
	p.status.Running = slot.B
	if to, err := p.update(t).there.target(t.Context(), p.status); err != nil || to.Number != slot.A || string(to.FirstStage) != "first stage" || string(to.Autoboot) != p.status.Autoboot {
		t.Errorf("got %+v, %v", to, err)
	}
}
