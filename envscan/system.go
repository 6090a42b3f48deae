package envscan

import (
	"context"
	"os"
	"strings"
)

// osProbes find what system runs.
var osProbes = []prober{
	{"system", []string{"os"}, func(_ context.Context, s *scanner) func(*Facts) {
		found := s.os()
		return func(f *Facts) { f.OS = found }
	}},
}

func (s *scanner) os() OS {
	o := OS{
		Type:      "linux",
		Kernel:    s.text("os.kernel", "/proc/sys/kernel/osrelease"),
		Hostname:  s.text("os.hostname", "/proc/sys/kernel/hostname"),
		Container: s.container(),
		RAM:       s.exists("/vic/request.json"),
	}
	if o.Hostname == "(none)" { // the kernel's word for none
		o.Hostname = ""
	}
	text, err := s.root.Text("etc/os-release")
	if os.IsNotExist(err) {
		text = s.text("os.id", "/usr/lib/os-release")
	} else {
		s.gap("os.id", "/etc/os-release", err)
	}
	for _, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "ID":
			o.ID = unquote(value)
		case "VERSION_ID":
			o.VersionID = unquote(value)
		}
	}
	return o
}

// unquote handles the quoting that os-release(5) allows.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		s = s[1 : len(s)-1]
	}
	return strings.NewReplacer(`\"`, `"`, `\$`, `$`, `\\`, `\`, "\\`", "`").Replace(s)
}

// container says which container manager runs this system, by the marks that
// they leave (https://systemd.io/CONTAINER_INTERFACE).
func (s *scanner) container() string {
	if name, err := s.root.Text("run/systemd/container"); err == nil && name != "" {
		return name
	}
	for _, mark := range [][2]string{{"/.dockerenv", "docker"}, {"/run/.containerenv", "podman"}} {
		if s.exists(mark[0]) {
			return mark[1]
		}
	}
	environ := s.text("os.container", "/proc/1/environ")
	for _, v := range strings.Split(environ, "\x00") {
		if name, ok := strings.CutPrefix(v, "container="); ok && name != "" {
			return name
		}
	}
	cgroup := s.text("os.container", "/proc/1/cgroup")
	for _, name := range []string{"docker", "lxc", "kubepods"} {
		if strings.Contains(cgroup, "/"+name) {
			return name
		}
	}
	return ""
}
