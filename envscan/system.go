package envscan

import (
	"context"
	"strings"
)

// osProbes find what system runs.
var osProbes = []prober{
	{"system", []string{
		"os.type", "os.kernel", "os.cmdline", "os.id", "os.like", "os.versionID", "os.codename", "os.name",
		"os.hostname", "os.machineID", "os.container", "os.ram", "os.loader", "os.lockdown",
	}, func(_ context.Context, s *scanner) func(*Facts) {
		o := s.system()
		return func(f *Facts) {
			found := o
			found.Libc, found.Init, found.InitVersion, found.VM = f.OS.Libc, f.OS.Init, f.OS.InitVersion, f.OS.VM
			found.Kexec, found.Timezone, found.Locale, found.Keymap, found.HostKey = f.OS.Kexec, f.OS.Timezone, f.OS.Locale, f.OS.Keymap, f.OS.HostKey
			f.OS = found
		}
	}},
	{"libc", []string{"os.libc"}, func(_ context.Context, s *scanner) func(*Facts) {
		libc := s.libc()
		return func(f *Facts) { f.OS.Libc = libc }
	}},
	{"init", []string{"os.init", "os.initVersion"}, func(_ context.Context, s *scanner) func(*Facts) {
		name, version := s.init()
		return func(f *Facts) { f.OS.Init, f.OS.InitVersion = name, version }
	}},
	{"vm", []string{"os.vm"}, func(_ context.Context, s *scanner) func(*Facts) {
		vm := s.vm()
		return func(f *Facts) { f.OS.VM = vm }
	}},
	{"kexec", []string{"os.kexec"}, func(_ context.Context, s *scanner) func(*Facts) {
		kexec := s.kexec()
		return func(f *Facts) { f.OS.Kexec = kexec }
	}},
	{"locale", []string{"os.timezone", "os.locale", "os.keymap"}, func(_ context.Context, s *scanner) func(*Facts) {
		timezone, locale, keymap := s.timezone(), s.locale(), s.keymap()
		return func(f *Facts) { f.OS.Timezone, f.OS.Locale, f.OS.Keymap = timezone, locale, keymap }
	}},
	{"hostkeys", []string{"os.hostKey"}, func(_ context.Context, s *scanner) func(*Facts) {
		keys := s.hostKeys()
		return func(f *Facts) { f.OS.HostKey = keys }
	}},
}

func (s *scanner) system() OS {
	release := s.osRelease()
	o := OS{
		Type:      "linux",
		Kernel:    s.text("os.kernel", "/proc/sys/kernel/osrelease"),
		Cmdline:   s.text("os.cmdline", "/proc/cmdline"),
		ID:        release["ID"],
		Like:      append([]string{}, strings.Fields(release["ID_LIKE"])...),
		VersionID: release["VERSION_ID"],
		Codename:  release["VERSION_CODENAME"],
		Name:      release["PRETTY_NAME"],
		Hostname:  s.text("os.hostname", "/proc/sys/kernel/hostname"),
		MachineID: s.text("os.machineID", "/etc/machine-id"),
		Container: s.container(),
		RAM:       s.exists("/vic/request.json") || s.exists("/vic/handover.json") || s.exists("/vic/system.json"),
		Loader:    s.loader(),
		Lockdown:  s.lockdown(),
	}
	if o.Hostname == "(none)" { // the kernel's word for none
		o.Hostname = ""
	}
	if o.MachineID == "uninitialized" { // machine-id(5): the first boot makes one
		o.MachineID = ""
	}
	return o
}

// osRelease is the first of the two places of os-release(5).
func (s *scanner) osRelease() map[string]string {
	if s.exists("/etc/os-release") {
		return s.envFile("os.id", "/etc/os-release")
	}
	return s.envFile("os.id", "/usr/lib/os-release")
}

// envFile reads a file of shell assignments, as os-release(5), locale.conf(5)
// and the files below /etc/default are. What is not there is empty.
func (s *scanner) envFile(fact, path string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(s.text(fact, path)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			values[key] = unquote(strings.TrimSpace(value))
		}
	}
	return values
}

// unquote handles the quoting that os-release(5) allows.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		s = s[1 : len(s)-1]
	}
	return strings.NewReplacer(`\"`, `"`, `\$`, `$`, `\\`, `\`, "\\`", "`").Replace(s)
}
