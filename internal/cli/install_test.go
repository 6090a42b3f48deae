package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

func TestUntouched(t *testing.T) {
	other := errors.New("other")
	for name, tt := range map[string]struct {
		err  error
		code int
		hint string
	}{
		"signature": {deb.ErrSignature, exitRefused, "--keyring"},
		"expired":   {fmt.Errorf("open: %w", deb.ErrExpired), exitRefused, "--mirror"},
		"offline":   {deb.ErrOffline, exitRefused, "--offline"},
		"packages":  {&builder.RefusedError{Err: other}, exitRefused, ""},
		"program":   {&tool.Error{Err: tool.ErrNotFound}, exitRefused, "make setup"},
		"full":      {&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, exitUntouched, "make room"},
		"full, too": {errors.Join(other, syscall.ENOSPC), exitUntouched, "make room"},
		"network":   {other, exitUntouched, ""},
		"coded":     {errors.Join(fail(exitResumable, other, "kept"), other), exitResumable, "kept"},
	} {
		t.Run(name, func(t *testing.T) {
			got := untouched(tt.err)
			var exit *exitError
			if !errors.As(got, &exit) || exit.Code != tt.code || !strings.Contains(exit.Hint, tt.hint) || exitCode(got) != tt.code {
				t.Errorf("got %#v", got)
			}
			if got.Error() != tt.err.Error() {
				t.Errorf("the text is another: %v", got)
			}
		})
	}
	if untouched(nil) != nil || exitCode(nil) != exitDone || exitCode(other) != exitInternal {
		t.Error("no error, or one without a code")
	}
}

func TestClock(t *testing.T) {
	now := time.Unix(0, 0)
	c := newClock(event.Discard)
	c.now = func() time.Time { return now }
	for _, e := range []struct {
		at    time.Duration
		phase event.Phase
	}{{0, event.Build}, {2 * time.Second, event.Enter}, {2500 * time.Millisecond, event.Build}, {4 * time.Second, event.Enter}} {
		now = time.Unix(0, 0).Add(e.at)
		c.Emit(event.Event{Phase: e.phase})
	}
	if got := c.String(); got != "build 2.5s, enter 2.0s" {
		t.Errorf("got %s", got)
	}
	if c.reached(event.Verify) || !c.reached(event.Build) || !c.reached(event.Scan) {
		t.Error("enter was the last phase")
	}
}

// A run that fails ends with one event, whoever tells it.
func TestFailureIsToldOnce(t *testing.T) {
	broken := fail(exitResumable, errors.New("broken"), "")
	for name, tt := range map[string]struct {
		events []event.Event
		err    error
		want   string // the last event
	}{
		"none":          {nil, broken, "scan error broken 5"},
		"in a phase":    {[]event.Event{{Phase: event.Copy, State: event.Start}}, broken, "copy error broken 5"},
		"told already":  {[]event.Event{{Phase: event.Copy, State: event.Failed, Message: "disk gone", Exit: 5}}, broken, "copy error disk gone 5"},
		"a step failed": {[]event.Event{{Phase: event.Copy, State: event.Failed, Message: "once"}}, broken, "copy error broken 5"},
		"success":       {[]event.Event{{Phase: event.Finish, State: event.Done, Message: "ok"}}, nil, "finish done ok 0"},
	} {
		t.Run(name, func(t *testing.T) {
			a := testApp(t)
			err := a.withEvents(true, func(c *clock) error {
				for _, e := range tt.events {
					c.Emit(e)
				}
				return tt.err
			})
			if !errors.Is(err, tt.err) {
				t.Errorf("got %v", err)
			}
			var last event.Event
			ended := 0
			dec := event.NewDecoder(a.stdout.(*bytes.Buffer))
			for e, err := dec.Next(); err == nil; e, err = dec.Next() {
				last = e
				if e.Exit != 0 {
					ended++
				}
			}
			if got := fmt.Sprint(last.Phase, " ", last.State, " ", last.Message, " ", last.Exit); got != tt.want {
				t.Errorf("got %s", got)
			}
			if tt.err != nil && ended != 1 {
				t.Errorf("%d events end the run", ended)
			}
		})
	}
}

func TestSecretsAreWrittenForTheOwner(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, builder.SecretsFile)
	// What was readable before is not afterwards, and a link is not followed.
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, path); err != nil {
		t.Fatal(err)
	}
	given := secret.NewSet(map[string]string{passwordSecret: "hunter2"})
	hashed, err := hashPassword(given)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeSecrets(dir, hashed); err != nil {
		t.Fatal(err)
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("got %v, %v", st.Mode(), err)
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "mine" {
		t.Errorf("the link was followed: %q, %v", b, err)
	}
	got, err := readSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := got.Get(passwordSecret)
	if !strings.HasPrefix(v.Reveal(), "$6$") {
		t.Errorf("it is no hash: %.4s", v.Reveal())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
	empty := t.TempDir()
	if err := writeSecrets(empty, secret.Set{}); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) != 0 {
		t.Errorf("no secrets, and yet %v, %v", entries, err)
	}
}

func TestConfirm(t *testing.T) {
	p := plan.Plan{Storage: plan.Storage{Disks: []storage.DiskPlan{{Disk: plan.Disk{Device: "/dev/sda", Size: 1 << 30}}}}}
	for in, ok := range map[string]bool{"/dev/sda\n": true, "  /dev/sda": true, "yes\n": false, "": false, "/dev/sdb\n": false} {
		a := testApp(t)
		a.stdin = strings.NewReader(in)
		j := installJob{app: a, flags: &installFlags{}}
		err := j.confirm(p)
		if (err == nil) != ok || !ok && exitCode(err) != exitRefused {
			t.Errorf("%q: got %v", in, err)
		}
		if !strings.Contains(a.stderr.(*bytes.Buffer).String(), "Everything on /dev/sda") {
			t.Errorf("%q: it asks %s", in, a.stderr)
		}
	}
	j := installJob{app: testApp(t), flags: &installFlags{yes: true}}
	if err := j.confirm(p); err != nil || j.stderr.(*bytes.Buffer).Len() > 0 {
		t.Errorf("--yes asks: %v", err)
	}
}

func TestVMDisk(t *testing.T) {
	dir := t.TempDir()
	d, err := parseVMDisk(dir + "/sub/x.img,size=1M,sector=4096")
	if err != nil || d.bytes() != 1<<20 || d.sector != 4096 || d.vars() != dir+"/sub/x.vars.fd" {
		t.Fatalf("got %+v, %v", d, err)
	}
	if err := d.create(); err != nil {
		t.Fatal(err)
	}
	// A run that only verifies leaves the disk alone.
	if err := os.WriteFile(d.path, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	stand := vmDisks{d}.stand(dir)[0]
	if err := stand.create(); err != nil || stand.bytes() != 1<<20 || stand.sector != 4096 {
		t.Errorf("got %+v, %v", stand, err)
	}
	if b, err := os.ReadFile(d.path); err != nil || string(b) != "precious" {
		t.Errorf("got %q, %v", b, err)
	}
	// Without a size the disk that is there is taken as it is.
	same, err := parseVMDisk(d.path)
	if err != nil || same.bytes() != 8 || same.create() != nil {
		t.Errorf("got %+v, %v", same, err)
	}
	if err := d.create(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(d.path); err != nil || st.Size() != 1<<20 {
		t.Errorf("got %v, %v", st, err)
	}
}

func TestParseBudget(t *testing.T) {
	for in, want := range map[string]int64{"": 0, "1": 1, "45M": 45e6, "45Mi": 45 << 20, "2K": 2000, "2Ki": 2048, "1G": 1e9, "1Gi": 1 << 30} {
		if got, err := parseBudget(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"M", "-1M", "+1M", "0", "1.5M", "1MB", "1m", " 1M", "9223372036854775808", "9300000000G", "1i"} {
		if got, err := parseBudget(in); err == nil || exitCode(err) != exitUsage {
			t.Errorf("%q: got %d, %v", in, got, err)
		}
	}
}

// The exit code of a machine that died depends on how far it had come.
func TestOutcome(t *testing.T) {
	died := errors.New("killed")
	done := &event.Result{Hostname: "web1"}
	for name, tt := range map[string]struct {
		phases []event.Phase
		seen   event.Phase
		result *event.Result
		failed *event.Event
		died   error
		want   int
	}{
		"done":                  {nil, event.Finish, done, nil, nil, exitDone},
		"refused by the agent":  {nil, event.Verify, nil, &event.Event{Exit: exitRefused, Phase: event.Verify}, nil, exitRefused},
		"failed, then killed":   {nil, event.Copy, nil, &event.Event{Exit: exitResumable}, died, exitResumable},
		"killed before":         {nil, event.Verify, nil, nil, died, exitUntouched},
		"killed in the middle":  {nil, event.Partition, nil, nil, died, exitResumable},
		"off before":            {nil, event.Enter, nil, nil, nil, exitUntouched},
		"off in the middle":     {nil, event.Copy, nil, nil, nil, exitResumable},
		"verified, as asked":    {[]event.Phase{event.Verify}, event.Verify, nil, nil, nil, exitDone},
		"formatted, as asked":   {[]event.Phase{event.Partition, event.Format}, event.Format, nil, nil, nil, exitDone},
		"verified, then killed": {[]event.Phase{event.Verify}, event.Verify, nil, nil, died, exitUntouched},
	} {
		t.Run(name, func(t *testing.T) {
			j := installJob{phases: tt.phases, clock: newClock(event.Discard)}
			j.phase(tt.seen, event.Start)
			err := j.outcome(tt.result, tt.failed, tt.died, func() string { return "last words" })
			if exitCode(err) != tt.want {
				t.Errorf("got %d (%v), want %d", exitCode(err), err, tt.want)
			}
			if tt.died != nil && tt.failed == nil && !strings.Contains(err.Error(), "killed\nlast words") {
				t.Errorf("got %v", err)
			}
		})
	}
}
