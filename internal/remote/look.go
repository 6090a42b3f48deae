package remote

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Machine is what a host says of itself before anything is put on it.
type Machine struct {
	Arch string // as GOARCH: amd64, arm64; otherwise as uname -m
	User string // who is logged in
	Home string
	Root bool // commands run as root, by themselves or by sudo
	// RAM: it is vic's RAM system that answers.
	RAM bool
	// ClientAddr and ServerAddr are the ends of the connection as the host sees
	// them: behind a jump host or a NAT, ClientAddr is that. Invalid: the SSH server
	// does not say.
	ClientAddr, ServerAddr netip.Addr
	ServerPort             int
	Sudo                   Sudo
	// Zstd: the host can unpack what InstallStart sends.
	Zstd bool
	// Memory is what is available, in bytes; 0: the host does not say.
	Memory int64
	gzip   bool
}

// Sudo says how a user becomes root.
type Sudo string

// The ways.
const (
	SudoNone     Sudo = ""         // there is no sudo, or no need for it
	SudoFree     Sudo = "free"     // without a password
	SudoPassword Sudo = "password" // perhaps: Session.Sudo finds out
)

// look prints lines that no login script prints. With -k sudo does not tell of a
// password that was given a minute ago.
const look = `say() { echo "vic:$1=$2"; }
say arch "$(uname -m)"
say uid "$(id -u)"
say user "$(id -un)"
say home "${HOME-}"
say connection "${SSH_CONNECTION-}"
[ ! -S /run/vic/control.sock ] || say ram yes
! command -v gzip >/dev/null || say gzip yes
! command -v zstd >/dev/null || say zstd yes
say memory "$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo)"
if sudo -k -n /bin/sh -c : 2>/dev/null; then say sudo free
elif command -v sudo >/dev/null; then say sudo password; fi
say end yes`

// Look finds out who is logged in where. It changes nothing there.
func (s *Session) Look(ctx context.Context) (Machine, error) {
	out, err := s.Run(ctx, look, nil)
	if err != nil {
		return Machine{}, err
	}
	m, err := machine(string(out))
	if err != nil {
		return Machine{}, fmt.Errorf("look at %s: %w: its shell answered %.200q", s.host, err, out)
	}
	s.machine = m
	return m, nil
}

// machine reads what look prints.
func machine(text string) (Machine, error) {
	said := map[string]string{}
	for line := range strings.Lines(text) {
		// A login script may end without a newline.
		if _, line, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "vic:"); ok {
			name, value, _ := strings.Cut(line, "=")
			said[name] = value
		}
	}
	if said["end"] == "" || said["arch"] == "" || said["uid"] == "" {
		return Machine{}, errors.New("it is no POSIX shell, or lacks uname or id")
	}
	m := Machine{Arch: said["arch"], User: said["user"], Home: said["home"], RAM: said["ram"] != "", gzip: said["gzip"] != "", Zstd: said["zstd"] != ""}
	if arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[m.Arch]; arch != "" {
		m.Arch = arch
	}
	if kB, err := strconv.ParseInt(said["memory"], 10, 64); err == nil {
		m.Memory = kB << 10
	}
	m.Root = said["uid"] == "0"
	if !m.Root {
		m.Sudo = Sudo(said["sudo"])
		m.Root = m.Sudo == SudoFree
	}
	return m, m.connection(said["connection"])
}

// connection reads SSH_CONNECTION of ssh(1): "client port server port".
func (m *Machine) connection(text string) error {
	f := strings.Fields(text)
	if len(f) != 4 {
		return nil // a server need not say
	}
	client, err1 := netip.ParseAddr(f[0])
	server, err2 := netip.ParseAddr(f[2])
	port, err3 := strconv.ParseUint(f[3], 10, 16)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("SSH_CONNECTION %q: %w", text, err)
	}
	m.ClientAddr, m.ServerAddr, m.ServerPort = client.Unmap(), server.Unmap(), int(port)
	return nil
}
