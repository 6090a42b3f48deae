package envscan

import (
	"slices"
	"strings"
)

const containerOther = "container-other"

// containers are the names that a container manager may go by.
var containers = []string{"lxc", "lxc-libvirt", "systemd-nspawn", "docker", "podman", "rkt", "wsl", "proot", "pouch", "openvz"}

// container says which container manager runs this system, as systemd-detect-virt
// --container does, by the marks that they leave
// (https://systemd.io/CONTAINER_INTERFACE).
func (s *scanner) container() string {
	if s.exists("/proc/vz") && !s.exists("/proc/bc") {
		return "openvz"
	}
	if release, err := s.root.Text("proc/sys/kernel/osrelease"); err == nil && (strings.Contains(release, "Microsoft") || strings.Contains(release, "WSL")) {
		return "wsl"
	}
	for _, mark := range []string{"run/host/container-manager", "run/systemd/container"} {
		if name, err := s.root.Text(mark); err == nil && name != "" {
			return s.containerName(name)
		}
	}
	const environ = "/proc/1/environ"
	variables, denied := s.root.Text(environ)
	for _, v := range strings.Split(variables, "\x00") {
		if name, ok := strings.CutPrefix(v, "container="); ok && name != "" {
			return s.containerName(name)
		}
	}
	name := s.containerFromFiles()
	if name == "" && !s.exists("/run/systemd/system") { // which would have written the mark above
		s.gap("os.container", environ, denied)
	}
	return name
}

// containerName is a name that managers give, if it is known to be one. Images
// say "oci", which any may run.
func (s *scanner) containerName(name string) string {
	if slices.Contains(containers, name) {
		return name
	}
	if found := s.containerFromFiles(); name == "oci" && found != "" {
		return found
	}
	return containerOther
}

func (s *scanner) containerFromFiles() string {
	for _, mark := range [][2]string{{"/run/.containerenv", "podman"}, {"/.dockerenv", "docker"}} {
		if s.exists(mark[0]) {
			return mark[1]
		}
	}
	cgroup := s.text("os.container", "/proc/1/cgroup")
	for _, name := range []string{"docker", "lxc", "kubepods"} {
		if strings.Contains(cgroup, "/"+name) {
			return name
		}
	}
	// The root of the hierarchy has no such file, so that this is a part of it
	// (cgroup_namespaces(7)).
	if s.exists("/sys/fs/cgroup/cgroup.events") && s.exists("/sys/fs/cgroup/cgroup.type") {
		return containerOther
	}
	return ""
}
