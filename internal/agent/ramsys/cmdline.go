package ramsys

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/nearest"
)

// Cmdline is what the kernel command line asks of the RAM system.
type Cmdline struct {
	Debug   bool
	System  Source
	Net     string // NetAuto, NetWait or NetNo
	OnError string // OnErrorShell, or request.FinishPoweroff, request.FinishReboot
	// Blacklist are modules that no device loads, ModuleParams the parameters
	// of those that are loaded, by name.
	Blacklist    map[string]bool
	ModuleParams map[string]string
	// Load are modules to load though no device asks for them.
	Load []string
	// Watchdog is its timeout on probation; 0: it is left alone.
	Watchdog time.Duration
	// Warnings are about vic.* keys and values that were not understood.
	Warnings []string
}

// The values of vic.net=.
const (
	NetAuto = "auto" // beside everything else; who needs it waits
	NetWait = "wait" // the agent is not ready before there is a lease
	NetNo   = "no"   // links stay as they are
)

// OnErrorShell is the value of vic.onerror= that leaves a rescue shell.
const OnErrorShell = "shell"

// key is one vic.* key of the command line.
type key struct {
	name, values, doc string
	set               func(c *Cmdline, value string) error
}

// keys is the only place that knows the vic.* keys.
func keys() []key {
	return []key{
		{"vic.debug", "", "show kernel messages and the agent's own output on the consoles",
			func(c *Cmdline, v string) (err error) { c.Debug, err = parseBool(v); return err }},
		{"vic.net", "auto|wait|no", "bring up the network beside the rest (auto), before the agent is ready (wait), or not",
			func(c *Cmdline, v string) error { return oneOf(&c.Net, v, NetAuto, NetWait, NetNo) }},
		{"vic.onerror", "shell|poweroff|reboot", "what to do after a failure",
			func(c *Cmdline, v string) error { return oneOf(&c.OnError, v, OnErrorShell, "poweroff", "reboot") }},
		{"vic.system", "PARTLABEL=LABEL|SLOT=ID|URL#sha256=HASH", "where the system erofs is, if not in the initramfs",
			func(c *Cmdline, v string) (err error) { c.System, err = parseSource(v); return err }},
		{"vic.watchdog", "SECONDS|no", "how soon a machine on probation is reset that hangs (60)",
			func(c *Cmdline, v string) (err error) { c.Watchdog, err = parseWatchdog(v); return err }},
	}
}

// CmdlineHelp lists the vic.* keys, one a line.
func CmdlineHelp() string {
	var b strings.Builder
	for _, k := range keys() {
		usage := k.name
		if k.values != "" {
			usage += "=" + k.values
		}
		fmt.Fprintf(&b, "  %-45s %s\n", usage, k.doc)
	}
	return b.String()
}

// ParseCmdline reads /proc/cmdline. What it does not understand becomes a
// warning: a machine that boots with a typing error is better than one that
// does not.
func ParseCmdline(line string) Cmdline {
	c := Cmdline{Net: NetAuto, OnError: OnErrorShell, Watchdog: watchdogTimeout, Blacklist: map[string]bool{}, ModuleParams: map[string]string{}}
	for _, word := range splitWords(line) {
		name, value, _ := strings.Cut(word, "=")
		switch {
		case strings.HasPrefix(name, "vic."):
			c.setKey(name, value)
		case name == "modprobe.blacklist" || name == "module_blacklist":
			for m := range strings.SplitSeq(value, ",") {
				c.Blacklist[underscores(m)] = true
			}
		case name == "modules-load": // as systemd-modules-load.service(8)
			c.Load = append(c.Load, strings.FieldsFunc(value, func(r rune) bool { return r == ',' })...)
		default:
			c.moduleParam(word, name)
		}
	}
	return c
}

func (c *Cmdline) setKey(name, value string) {
	all := keys()
	i := slices.IndexFunc(all, func(k key) bool { return k.name == name })
	if i < 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("kernel command line: unknown key %s, nearest is %s", name, nearestKey(name, all)))
		return
	}
	if err := all[i].set(c, value); err != nil {
		c.Warnings = append(c.Warnings, fmt.Sprintf("kernel command line: %s: %v", name, err))
	}
}

// moduleParam keeps "usbcore.autosuspend=5" for the time when usbcore is loaded.
func (c *Cmdline) moduleParam(word, name string) {
	module, _, ok := strings.Cut(name, ".")
	if !ok || module == "" {
		return
	}
	module = underscores(module)
	param := word[len(module)+1:]
	c.ModuleParams[module] = strings.TrimSpace(c.ModuleParams[module] + " " + param)
}

// splitWords splits at spaces outside of double quotes, and ends at "--", as
// the kernel's next_arg and parse_args do.
func splitWords(line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		end, quoted := len(line), false
		for i, r := range line {
			if r == '"' {
				quoted = !quoted
			}
			if !quoted && (r == ' ' || r == '\t' || r == '\n') {
				end = i
				break
			}
		}
		word := unquote(line[:end])
		if word == "--" {
			break
		}
		words, line = append(words, word), line[end:]
	}
	return words
}

// unquote takes the quotes off "word" and key="value".
func unquote(word string) string {
	name, value, isPair := strings.Cut(word, "=")
	if strings.HasPrefix(word, `"`) || !isPair {
		return strings.Trim(word, `"`)
	}
	return name + "=" + strings.Trim(value, `"`)
}

func parseBool(v string) (bool, error) {
	if v == "" {
		return true, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("%q is neither 0 nor 1", v)
	}
	return b, nil
}

// watchdogTimeout is for machines that are slow, and for nobody to wait long.
const watchdogTimeout = 60 * time.Second

func parseWatchdog(v string) (time.Duration, error) {
	if v == "no" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 3600 {
		return watchdogTimeout, fmt.Errorf("%q is neither no nor 1 to 3600 seconds", v)
	}
	return time.Duration(n) * time.Second, nil
}

func oneOf(field *string, v string, values ...string) error {
	if !slices.Contains(values, v) {
		return fmt.Errorf("%q is none of %s", v, strings.Join(values, ", "))
	}
	*field = v
	return nil
}

func underscores(s string) string { return strings.ReplaceAll(s, "-", "_") }

// nearestKey is the key with the fewest letters to change.
func nearestKey(name string, all []key) string {
	best := slices.MinFunc(all, func(a, b key) int { return nearest.Distance(name, a.name) - nearest.Distance(name, b.name) })
	return best.name
}
