package remote

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// Machine is what a host says of itself before anything is put on it.
type Machine struct {
	Arch string // as GOARCH: amd64, arm64; otherwise as uname -m
	Root bool   // commands run as root, by themselves or by sudo without a password
	// place is a new, empty file, in RAM if there is a place, that can be executed.
	place string
	sudo  bool
}

// look prints uname -m, id -u, whether sudo asks nothing, and a file that can be
// executed. Of a file without a first line the shell itself is the interpreter, so
// that whether it runs depends on the file system alone.
const look = `umask 077
uname -m
id -u
if sudo -n true 2>/dev/null; then echo sudo; else echo none; fi
for d in /dev/shm /run/user/$(id -u) /run /tmp; do
  f=$(mktemp $d/vic-env.XXXXXX 2>/dev/null) || continue
  chmod 700 $f
  if $f 2>/dev/null; then echo $f; exit 0; fi
  rm -f $f
done
echo no folder of this machine takes programs: tried /dev/shm, /run and /tmp >&2
exit 1`

// Look finds out what a program for the host has to be, and makes room for it.
func (s *Session) Look(ctx context.Context) (Machine, error) {
	out, err := s.Run(ctx, look, nil)
	if err != nil {
		return Machine{}, err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) < 4 {
		return Machine{}, fmt.Errorf("look at %s: its shell answered %.200q", s.host, out)
	}
	lines = lines[len(lines)-4:] // what a login shell says comes before
	m := Machine{Arch: lines[0], Root: lines[1] == "0", place: lines[3]}
	if arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[m.Arch]; arch != "" {
		m.Arch = arch
	}
	if !m.Root && lines[2] == "sudo" {
		m.Root, m.sudo = true, true
	}
	return m, nil
}

// Execute copies a program to where Look made room, runs it with arguments, as
// root where that is possible, and removes it. It returns its standard output.
func (s *Session) Execute(ctx context.Context, m Machine, program []byte, args ...string) ([]byte, error) {
	words := []string{m.place}
	if m.sudo {
		words = []string{"sudo", "-n", m.place}
	}
	for _, a := range args {
		words = append(words, quote(a))
	}
	script := fmt.Sprintf("trap 'rm -f %s' EXIT; cat > %s && %s", m.place, m.place, strings.Join(words, " "))
	return s.Run(ctx, script, bytes.NewReader(program))
}

// Discard removes what Look made, when Execute is not to come.
func (s *Session) Discard(ctx context.Context, m Machine) error {
	_, err := s.Run(ctx, "rm -f "+m.place, nil)
	return err
}
