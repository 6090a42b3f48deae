package enter

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStart(t *testing.T) {
	for name, tt := range map[string]struct {
		systemd, runs bool
		detached      int
		warning       string
	}{
		"systemd":                        {systemd: true, runs: true},
		"systemd that is old":            {systemd: true, detached: 1, warning: "nobody ends it: run systemd-run --quiet"},
		"another init, and a stray tool": {runs: true, detached: 1},
		"another init":                   {detached: 1},
	} {
		root := t.TempDir()
		if tt.systemd {
			write(t, root, map[string]string{"run/systemd/system/x": ""})
		}
		run, started := &tools{answers: map[string]string{}}, [][]string{}
		if tt.runs {
			run.answers["systemd-run"] = ""
		}
		s := Starter{Tools: run, Root: root, Self: []string{"/dev/shm/vic/program", "vic-env"}, Detached: func(argv []string) error {
			started = append(started, argv)
			return nil
		}}
		warning, err := s.Start(t.Context())
		if err != nil || len(started) != tt.detached || !strings.Contains(warning, tt.warning) || (warning == "") != (tt.warning == "") {
			t.Errorf("%s: %q %v %q", name, warning, err, started)
		}
		argv := "/dev/shm/vic/program vic-env enter --leave-in-background"
		if len(started) > 0 && strings.Join(started[0], " ") != argv {
			t.Errorf("%s: %q", name, started)
		}
		want := "systemd-run --quiet --collect '--description=vic: leave this system' --property=Type=exec --property=DefaultDependencies=no -- " + argv
		if tt.systemd && !slices.Equal(run.ran, []string{want}) || !tt.systemd && len(run.ran) > 0 {
			t.Errorf("%s: %q", name, run.ran)
		}
	}
	no := errors.New("no")
	s := Starter{Tools: &tools{}, Root: t.TempDir(), Self: []string{"x"}, Detached: func([]string) error { return no }}
	if _, err := s.Start(t.Context()); !errors.Is(err, no) {
		t.Error(err)
	}
}

// events is a system that is left, with when what happened.
type events struct {
	begun time.Time
	list  []string
}

func (e *events) at(what string) {
	e.list = append(e.list, time.Since(e.begun).String()+" "+what)
}

func (e *events) leaver(leaveErr, jumpErr error) Leaver {
	e.begun = time.Now()
	step := func(what string, err error) func(context.Context) error {
		return func(context.Context) error { e.at(what); return err }
	}
	return Leaver{
		Delay: leaveDelay, Hang: hang, Leave: step("leave", leaveErr), Jump: step("jump", jumpErr),
		Unload: func() error { e.at("unload"); return nil }, Tell: func(text string) { e.list = append(e.list, text) },
	}
}

func TestLeaver(t *testing.T) {
	const begin, over = "this system ends: vic's RAM system takes over", "this system did not end within 2m0s: it is left as it is"
	no := errors.New("no")
	for name, tt := range map[string]struct {
		leave, jump error
		want        []string
	}{
		"hangs":         {nil, nil, []string{begin, "1s leave", over, "2m1s jump"}},
		"cannot be":     {nil, no, []string{begin, "1s leave", over, "2m1s jump"}},
		"does not want": {no, nil, []string{begin, "1s leave", "no", "1s unload"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var e events
			err := e.leaver(tt.leave, tt.jump).Run(t.Context())
			if !slices.Equal(e.list, tt.want) || (err != nil) != (tt.leave != nil || tt.jump != nil) {
				t.Errorf("%s: %q %v", name, e.list, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var e events
		if err := e.leaver(nil, nil).Run(ctx); !errors.Is(err, context.Canceled) || !slices.Equal(e.list, []string{"0s unload"}) {
			t.Errorf("%q %v", e.list, err)
		}
	})
}

// What is detached runs in a session of its own.
func TestDetached(t *testing.T) {
	file := t.TempDir() + "/session"
	script := `ps -o sid= -p $$ > "$1".new; echo $$ >> "$1".new; pwd >> "$1".new; mv "$1".new "$1"`
	if err := detached([]string{"/bin/sh", "-c", script, "sh", file}); err != nil {
		t.Fatal(err)
	}
	var f []string
	for end := time.Now().Add(10 * time.Second); len(f) < 3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q", f)
		}
		f = strings.Fields(read(file))
	}
	if f[0] != f[1] || f[2] != "/" {
		t.Errorf("%q", f)
	}
	if err := detached([]string{"/nonexistent"}); err == nil {
		t.Error("nothing was started")
	}
}

func read(file string) string {
	text, _ := os.ReadFile(file) // it comes
	return string(text)
}
