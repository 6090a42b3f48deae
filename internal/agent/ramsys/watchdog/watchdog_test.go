package watchdog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fake is a device: what it can, and what became of it.
type fake struct {
	identity, driver string
	fixed            int // seconds; 0: the timeout can be chosen
	longest          int // seconds that it can wait; 0: any number
	busy             bool
	noWayOut         bool
	stuck            bool // does not stop, without having said so before
	dead             bool // pings fail

	opened, released, pings int
	timeout                 int
}

func (f *fake) Info() (Info, error) { return Info{f.identity, f.fixed == 0}, nil }
func (f *fake) Timeout() (int, error) {
	return max(f.fixed, f.timeout), nil
}

func (f *fake) SetTimeout(s int) (int, error) {
	if f.longest != 0 && s > f.longest {
		return 0, unix.EINVAL
	}
	f.timeout = s
	return s, nil
}

func (f *fake) Ping() error {
	if f.dead {
		return unix.EIO
	}
	f.pings++
	return nil
}

func (f *fake) Release() error { f.released++; return nil }

// machine is a /sys with these devices, by name.
func machine(t *testing.T, devices map[string]*fake) Config {
	t.Helper()
	sys := t.TempDir()
	for name, f := range devices {
		add(t, sys, name, f)
	}
	return Config{
		Sys: sys, Dev: "/dev", Timeout: time.Minute,
		Need: func(module string) error { return fmt.Errorf("load module %s: no such module", module) },
		open: func(path string) (timer, error) {
			f := devices[filepath.Base(path)]
			if f.busy {
				return nil, &os.PathError{Op: "open", Path: path, Err: unix.EBUSY}
			}
			f.opened++
			return f, nil
		},
	}
}

func add(t *testing.T, sys, name string, f *fake) {
	t.Helper()
	dir := filepath.Join(sys, "class/watchdog", name)
	files := map[string]string{"identity": f.identity, "nowayout": "0", "state": "inactive"}
	if f.noWayOut {
		files["nowayout"] = "1"
	}
	if f.stuck {
		files["state"] = "active"
	}
	if err := os.MkdirAll(filepath.Join(dir, "device"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if f.driver == "" {
		return
	}
	if err := os.Symlink("../../../../bus/pci/drivers/"+f.driver, filepath.Join(dir, "device/driver")); err != nil {
		t.Fatal(err)
	}
}

func soft() *fake { return &fake{identity: softIdentity} }
func i6300() *fake {
	return &fake{identity: "i6300ESB timer", driver: "i6300esb", longest: 2046}
}

func TestArm(t *testing.T) {
	for _, tt := range []struct {
		name    string
		devices map[string]*fake
		want    string // "": none
		problem string
	}{
		{"hardware before softdog", map[string]*fake{"watchdog0": soft(), "watchdog1": i6300()}, "i6300esb, 60 s", ""},
		{"softdog alone", map[string]*fake{"watchdog0": soft()}, "softdog, 60 s", ""},
		{"by number", map[string]*fake{"watchdog10": i6300(), "watchdog9": {identity: "SP5100 TCO timer", driver: "sp5100-tco"}}, "sp5100-tco, 60 s", ""},
		{"39 s at most", map[string]*fake{"watchdog0": {identity: "iTCO_wdt", driver: "iTCO_wdt", longest: 39}}, "iTCO_wdt, 30 s", ""},
		{"of no device", map[string]*fake{"watchdog0": {identity: "i6300ESB timer"}}, "i6300ESB timer, 60 s", ""},
		{"fixed", map[string]*fake{"watchdog0": {identity: "Fixed", fixed: 17}}, "Fixed, 17 s", ""},
		{"used by somebody", map[string]*fake{"watchdog0": {identity: "x", driver: "x", busy: true}, "watchdog1": i6300()}, "i6300esb, 60 s", "busy"},
		{"hardware is used, softdog is not", map[string]*fake{"watchdog0": {identity: "x", busy: true}, "watchdog1": soft()}, "softdog, 60 s", "busy"},
		{"no timeout is right", map[string]*fake{"watchdog0": {identity: "x", longest: -1}, "watchdog1": soft()}, "softdog, 60 s", "set timeout of watchdog0"},
		{"nothing", nil, "", "softdog: no such module"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := Arm(machine(t, tt.devices))
			got := ""
			if w != nil {
				got = w.String()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q (%v)", got, tt.want, err)
			}
			if (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("got error %v, want %q", err, tt.problem)
			}
			armed := 0
			for _, f := range tt.devices {
				armed += f.opened - f.released
			}
			if want := min(len(tt.want), 1); armed != want {
				t.Errorf("%d are armed, want %d", armed, want)
			}
		})
	}
}

func TestArmLoadsSoftdog(t *testing.T) {
	devices := map[string]*fake{}
	cfg := machine(t, devices)
	var loaded []string
	cfg.Need = func(module string) error {
		loaded = append(loaded, module)
		devices["watchdog0"] = soft()
		add(t, cfg.Sys, "watchdog0", devices["watchdog0"])
		return nil
	}
	w, err := Arm(cfg)
	if err != nil || w.String() != "softdog, 60 s" || len(loaded) != 1 || loaded[0] != "softdog" {
		t.Errorf("got %v, %v after loading %v", w, err, loaded)
	}
}

// A module that is built in, or that does nothing, brings no device.
func TestArmNone(t *testing.T) {
	cfg := machine(t, nil)
	cfg.Need = func(string) error { return nil }
	if w, err := Arm(cfg); w != nil || !errors.Is(err, errNone) {
		t.Errorf("got %v, %v", w, err)
	}
}

func TestBetter(t *testing.T) {
	devices := map[string]*fake{"watchdog0": soft()}
	cfg := machine(t, devices)
	w, err := Arm(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := w.Better(); same != w || err != nil || devices["watchdog0"].released != 0 {
		t.Errorf("got %v, %v", same, err)
	}
	devices["watchdog1"] = i6300()
	add(t, cfg.Sys, "watchdog1", devices["watchdog1"])
	better, err := w.Better()
	if err != nil || better.String() != "i6300esb, 60 s" || devices["watchdog0"].released != 1 {
		t.Fatalf("got %v, %v; softdog was released %d times", better, err, devices["watchdog0"].released)
	}
	if same, err := better.Better(); same != better || err != nil {
		t.Errorf("got %v, %v", same, err)
	}
}

func TestDisarm(t *testing.T) {
	for _, tt := range []struct {
		name string
		*fake
		want     error
		armed    bool
		released int
	}{
		{"stops", i6300(), nil, false, 1},
		{"nowayout", &fake{identity: "x", noWayOut: true}, ErrNoWayOut, true, 0},
		{"does not stop", &fake{identity: "x", stuck: true}, ErrNoWayOut, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := Arm(machine(t, map[string]*fake{"watchdog0": tt.fake}))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Disarm(); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if armed := tt.opened > tt.fake.released; armed != tt.armed || tt.fake.released != tt.released {
				t.Errorf("opened %d times, released %d times", tt.opened, tt.fake.released)
			}
			if err := w.Ping(); tt.armed && (err != nil || tt.pings != 1) {
				t.Errorf("ping: %v", err)
			}
		})
	}
}

func TestPing(t *testing.T) {
	f := i6300()
	w, err := Arm(machine(t, map[string]*fake{"watchdog0": f}))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Ping(); err != nil || f.pings != 1 {
		t.Errorf("got %v, %d pings", err, f.pings)
	}
	f.dead = true
	if err := w.Ping(); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "watchdog0") {
		t.Errorf("got %v", err)
	}
}

func TestInterval(t *testing.T) {
	for seconds, want := range map[int]time.Duration{
		1: 500 * time.Millisecond, 10: 2500 * time.Millisecond, 60: 10 * time.Second, 17: 4250 * time.Millisecond,
	} {
		w := Watchdog{timeout: time.Duration(seconds) * time.Second}
		if got := w.Interval(); got != want {
			t.Errorf("%d s: every %v, want %v", seconds, got, want)
		}
	}
}
