// Package watchdog arms the timer that resets a machine when nobody pings it: a
// machine that hangs in RAM comes back with the system on its disk.
//
//	/sys/class/watchdog/* ─┬─ hardware ──┐
//	                       └─ softdog ───┴─> /dev/watchdogN ─> timeout ─> Ping, Ping, ... ─> Disarm
//	  (its module: Need) ──────┘
//
// A timer in hardware is preferred: it fires also when the kernel is dead. Those
// that a driver offers without the kernel's watchdog core (ipmi_watchdog) are not
// in /sys/class/watchdog, do not tell whether they can be stopped, and are left
// alone. The package decides neither when to ping nor when to stop; see
// Documentation/watchdog/watchdog-api.rst.
package watchdog

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says where to look.
type Config struct {
	Sys string // "/sys"
	Dev string // "/dev"
	// Timeout is how long after the last ping the machine is reset, rounded up to
	// seconds; it is shorter where the hardware cannot wait for so long.
	Timeout time.Duration
	// Need loads a module by name: softdog, where there is no hardware.
	Need func(module string) error
	// open opens a device, which starts its timer; nil: the real one.
	open func(path string) (timer, error)
}

// Watchdog is one that is armed.
type Watchdog struct {
	cfg     Config
	device  device
	timer   timer
	timeout time.Duration
}

// ErrNoWayOut says that a watchdog cannot be stopped: it has to be pinged until
// the machine ends.
var ErrNoWayOut = errors.New("the watchdog cannot be stopped")

// errNone says that there is none to arm.
var errNone = errors.New("the machine has no watchdog")

// device is an entry of /sys/class/watchdog.
type device struct {
	name     string // watchdog0
	identity string // "i6300ESB timer"; empty without CONFIG_WATCHDOG_SYSFS
	driver   string // i6300esb; empty for what is no device's
}

// softIdentity is what the driver softdog says of itself.
const (
	softIdentity = "Software Watchdog"
	softModule   = "softdog"
)

func (d device) software() bool { return d.identity == softIdentity }

// Arm starts the best watchdog of the machine; nil when there is none that can be.
// With one, the error tells of better ones that could not.
func Arm(cfg Config) (*Watchdog, error) {
	if cfg.open == nil {
		cfg.open = open
	}
	hardware, software := devices(cfg.Sys)
	w, err := armFirst(cfg, hardware)
	if w != nil {
		return w, err
	}
	if len(software) == 0 {
		if needErr := cfg.Need(softModule); needErr != nil {
			return nil, fmt.Errorf("arm watchdog: %w", errors.Join(err, needErr))
		}
		_, software = devices(cfg.Sys)
	}
	w, softErr := armFirst(cfg, software)
	if len(hardware)+len(software) == 0 {
		softErr = errNone
	}
	if err = errors.Join(err, softErr); err != nil {
		err = fmt.Errorf("arm watchdog: %w", err)
	}
	return w, err
}

// Better arms the hardware's where w is the kernel's own and drivers have brought
// one since; w is stopped then. Otherwise it returns w.
func (w *Watchdog) Better() (*Watchdog, error) {
	if !w.device.software() {
		return w, nil
	}
	hardware, _ := devices(w.cfg.Sys)
	better, err := armFirst(w.cfg, hardware)
	if better == nil {
		return w, err
	}
	return better, errors.Join(err, w.Disarm())
}

// armFirst arms the first that can be; nil when none can. The error is about
// those before it.
func armFirst(cfg Config, list []device) (*Watchdog, error) {
	var errs []error
	for _, d := range list {
		w, err := arm(cfg, d)
		if err == nil {
			return w, errors.Join(errs...)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func arm(cfg Config, d device) (*Watchdog, error) {
	t, err := cfg.open(filepath.Join(cfg.Dev, d.name))
	if err != nil {
		return nil, err
	}
	info, err := t.Info()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask %s what it is: %w", d.name, err), t.Release())
	}
	d.identity = cmp.Or(d.identity, info.Identity)
	timeout, err := setTimeout(t, info, cfg.Timeout)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set timeout of %s: %w", d.name, err), t.Release())
	}
	return &Watchdog{cfg: cfg, device: d, timer: t, timeout: timeout}, nil
}

// setTimeout asks for what is wanted, and for half of it until the hardware takes
// it. One whose timeout is fixed says what it is.
func setTimeout(t timer, info Info, want time.Duration) (time.Duration, error) {
	if !info.SetTimeout {
		s, err := t.Timeout()
		return time.Duration(s) * time.Second, err
	}
	var err error
	for s := int((want + time.Second - 1) / time.Second); s > 0; s /= 2 {
		var got int
		if got, err = t.SetTimeout(s); err == nil {
			return time.Duration(got) * time.Second, nil
		}
	}
	return 0, err
}

// devices lists the watchdogs that drivers have registered, by number.
func devices(sys string) (hardware, software []device) {
	dirs, _ := filepath.Glob(filepath.Join(sys, "class/watchdog/watchdog*")) // the pattern is well-formed
	number := func(dir string) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), "watchdog")) // only the order depends on it
		return n
	}
	slices.SortFunc(dirs, func(a, b string) int { return number(a) - number(b) })
	for _, dir := range dirs {
		d := device{name: filepath.Base(dir), identity: attribute(dir, "identity")}
		if driver, err := os.Readlink(filepath.Join(dir, "device/driver")); err == nil {
			d.driver = filepath.Base(driver)
		}
		if d.software() {
			software = append(software, d)
		} else {
			hardware = append(hardware, d)
		}
	}
	return hardware, software
}

// attribute reads a file of sysfs; empty where the kernel has none.
func attribute(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b))
}

// Ping keeps the machine from being reset for another timeout.
func (w *Watchdog) Ping() error {
	if err := w.timer.Ping(); err != nil {
		return fmt.Errorf("ping %s: %w", w.device.name, err)
	}
	return nil
}

// Interval is the time between two pings: a few may be late.
func (w *Watchdog) Interval() time.Duration {
	return min(max(w.timeout/4, 500*time.Millisecond), 10*time.Second)
}

// Disarm stops the timer. Where that is forbidden (nowayout), or the hardware
// cannot, w goes on and is to be pinged: the error is ErrNoWayOut.
func (w *Watchdog) Disarm() error {
	dir := filepath.Join(w.cfg.Sys, "class/watchdog", w.device.name)
	if attribute(dir, "nowayout") == "1" {
		return fmt.Errorf("disarm %s: %w", w.device.name, ErrNoWayOut)
	}
	if err := w.timer.Release(); err != nil {
		return fmt.Errorf("disarm %s: %w", w.device.name, err)
	}
	if attribute(dir, "state") != "active" {
		return nil
	}
	t, err := w.cfg.open(filepath.Join(w.cfg.Dev, w.device.name))
	if err != nil {
		return fmt.Errorf("disarm %s: it still runs, and cannot be pinged: %w", w.device.name, err)
	}
	w.timer = t
	return fmt.Errorf("disarm %s: %w", w.device.name, ErrNoWayOut)
}

// String names the watchdog and its timeout: "iTCO_wdt, 60 s". Not all drivers
// say which device they are for: then it is what the driver calls it, "i6300ESB
// timer, 60 s".
func (w *Watchdog) String() string {
	name := cmp.Or(w.device.driver, w.device.identity, w.device.name)
	if w.device.software() {
		name = softModule
	}
	return fmt.Sprintf("%s, %d s", name, int(w.timeout/time.Second))
}
