package envscan

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

const (
	lockdownFile = "/sys/kernel/security/lockdown"
	// kexecLoaded is there when the kernel has kexec.
	kexecLoaded = "/sys/kernel/kexec_loaded"
)

// lockdown is the choice in brackets: "none [integrity] confidentiality".
func (s *scanner) lockdown() string {
	_, rest, _ := strings.Cut(s.text("os.lockdown", lockdownFile), "[")
	level, _, _ := strings.Cut(rest, "]")
	return level
}

// kexec says what stands in the way of kexec_load(2) and kexec_file_load(2).
func (s *scanner) kexec() Kexec {
	const fact = "os.kexec"
	k := Kexec{Why: []string{}}
	forbid := func(format string, args ...any) { k.Why = append(k.Why, fmt.Sprintf(format, args...)) }
	if s.kexecSysctl("kexec_load_disabled") == "1" {
		forbid("kernel.kexec_load_disabled is 1")
	}
	if s.kexecSysctl("kexec_load_limit_reboot") == "0" {
		forbid("kernel.kexec_load_limit_reboot is 0")
	}
	if s.live {
		k.Why = append(k.Why, s.mayNotReboot()...)
	}
	if name := s.fork().container(); name != "" {
		forbid("this is a container (%s), whose reboot(2) is not the machine's", name)
	}
	config, path, err := s.kernelConfig("CONFIG_KEXEC", "CONFIG_KEXEC_FILE", "CONFIG_KEXEC_SIG", "CONFIG_KEXEC_SIG_FORCE")
	loaded := s.exists(kexecLoaded)
	switch {
	case err == nil && !config["CONFIG_KEXEC"] && !config["CONFIG_KEXEC_FILE"], err != nil && !loaded && s.exists("/sys/kernel"):
		forbid("the kernel was built without kexec")
	case err != nil && !loaded:
		s.gap(fact, kexecLoaded, errNoFile)
	case err != nil:
		s.gap(fact+".signed", path, err)
	}
	locked := s.fork().lockdown()
	switch {
	case locked == "" || locked == "none":
		k.Signed = config["CONFIG_KEXEC_SIG_FORCE"]
	case err == nil && !config["CONFIG_KEXEC_SIG"]:
		forbid("the kernel is locked down (%s) and was built without CONFIG_KEXEC_SIG", locked)
	default:
		k.Signed = true
	}
	k.Allowed = len(k.Why) == 0
	if k.Signed && locked != "" && locked != "none" {
		forbid("the kernel is locked down (%s) and demands a signature", locked)
	}
	return k
}

func (s *scanner) kexecSysctl(name string) string {
	return s.text("os.kexec", "/proc/sys/kernel/"+name)
}

// capSysBoot is CAP_SYS_BOOT's bit, include/uapi/linux/capability.h.
const capSysBoot = 1 << 22

// mayNotReboot says what this process lacks. The kernel asks for the capability
// of the machine, which no user namespace gives.
func (s *scanner) mayNotReboot() (why []string) {
	const status = "/proc/self/status"
	for line := range strings.Lines(s.text("os.kexec", status)) {
		if set, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			s.gap("os.kexec", status, err)
			switch {
			case bits&capSysBoot != 0:
			case s.privileged:
				why = append(why, "root does not have CAP_SYS_BOOT")
			default:
				why = append(why, "not root")
			}
		}
	}
	uids := strings.Fields(s.text("os.kexec", "/proc/self/uid_map"))
	if len(uids) > 0 && strings.Join(uids, " ") != "0 0 4294967295" {
		why = append(why, "this is a user namespace")
	}
	return why
}

// kernelConfig says which of some options the running kernel was built with, and
// where that was read.
func (s *scanner) kernelConfig(options ...string) (built map[string]bool, path string, err error) {
	release := s.text("os.kexec", "/proc/sys/kernel/osrelease")
	for _, path = range []string{"/proc/config.gz", "/boot/config-" + release, "/lib/modules/" + release + "/config"} {
		if built, err = readConfig(s.root.Path(path), options); !errors.Is(err, fs.ErrNotExist) {
			return built, path, err
		}
	}
	return nil, "/boot/config-" + release, errNoFile
}

func readConfig(file string, options []string) (map[string]bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	built := map[string]bool{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		for _, o := range options {
			if lines.Text() == o+"=y" {
				built[o] = true
			}
		}
	}
	return built, lines.Err()
}
