package remote

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestRun(t *testing.T) {
	t.Parallel()
	s, ctx := opened(t, serve(t), Host{Name: "there"}), limit(t)
	out, err := s.Run(ctx, "echo \"it's\"; cat", strings.NewReader("here\n"))
	if err != nil || string(out) != "it's\nhere\n" || s.Sent() != 5 {
		t.Errorf("%q %v %d", out, err, s.Sent())
	}
	_, err = s.Run(ctx, "echo no >&2; exit 7", nil)
	var failed *Error
	if !errors.As(err, &failed) || failed.Exit != 7 || failed.Stderr != "no" || !strings.Contains(err.Error(), "run on there") || IsLost(err) {
		t.Errorf("%v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left %s: %v", s.dir, err)
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	s, ctx := opened(t, serve(t), Host{Name: "there"}), limit(t)
	var out bytes.Buffer
	if err := s.Stream(ctx, "tr a-z A-Z", strings.NewReader("abc"), &out); err != nil || out.String() != "ABC" {
		t.Errorf("%q %v", out.String(), err)
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]netip.Addr{"127.0.0.1": netip.MustParseAddr("127.0.0.1"), "::1": netip.IPv6Loopback()} {
		t.Run(address, func(t *testing.T) {
			srv := serveAt(t, address)
			srv.env = []string{"HOME=/home/a b", "ENV="}
			for _, name := range []string{"there", "behind"} {
				m, err := opened(t, srv, Host{Name: name}).Look(limit(t))
				if err != nil {
					t.Fatal(err)
				}
				if m.Arch == "" || m.Home != "/home/a b" || m.User == "" || m.ServerAddr != want || m.ClientAddr != want || m.ServerPort != srv.port || m.RAM || !m.gzip {
					t.Errorf("%s: %+v", name, m)
				}
				if os.Geteuid() == 0 && (!m.Root || m.Sudo != SudoNone) {
					t.Errorf("%s: %+v", name, m)
				}
			}
		})
	}
}

func TestMachine(t *testing.T) {
	const base = "Welcome!\nvic:arch=x86_64\nvic:uid=1000\nvic:user=anna\nvic:home=/home/anna\n"
	for text, want := range map[string]Machine{
		base + "vic:connection=\nvic:end=yes\n":                                               {},
		base + "vic:sudo=free\nvic:end=yes\n":                                                 {Root: true, Sudo: SudoFree},
		base + "vic:sudo=password\nvic:end=yes\n":                                             {Sudo: SudoPassword},
		base + "vic:ram=yes\nvic:gzip=yes\nvic:end=yes\n":                                     {RAM: true, gzip: true},
		base + "vic:connection=::ffff:192.0.2.9 5000 fe80::1%eth0 22\nvic:end=yes\n":          {ClientAddr: netip.MustParseAddr("192.0.2.9"), ServerAddr: netip.MustParseAddr("fe80::1%eth0"), ServerPort: 22},
		"no newline" + base + "vic:connection=UNKNOWN 65535 UNKNOWN 65535 x\nvic:end=yes\r\n": {},
	} {
		want.Arch, want.User, want.Home = "amd64", "anna", "/home/anna"
		if got, err := machine(text); err != nil || got != want {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"", base, "vic:end=yes\n", base + "vic:connection=a 1 b 2\nvic:end=yes\n", base + "vic:connection=::1 1 ::1 70000\nvic:end=yes\n"} {
		if m, err := machine(text); err == nil {
			t.Errorf("%q: %+v", text, m)
		}
	}
}

func TestExecute(t *testing.T) {
	t.Parallel()
	for _, gzip := range []bool{true, false} {
		srv := serve(t)
		s, ctx := opened(t, srv, Host{Name: "there"}), limit(t)
		if _, err := s.Look(ctx); err != nil {
			t.Fatal(err)
		}
		s.machine.gzip = gzip
		out, err := s.Execute(ctx, []byte("#!/bin/sh\necho ran \"$@\"; dirname $0\n"), "a b", "it's")
		text, folder, _ := strings.Cut(string(out), "\n")
		if err != nil || text != "ran a b it's" {
			t.Fatalf("%q %v", out, err)
		}
		if _, err := os.Stat(strings.TrimSpace(folder)); !errors.Is(err, os.ErrNotExist) || !filepath.IsAbs(folder) {
			t.Errorf("%q is left: %v", folder, err)
		}
		if s.folder != "" {
			t.Error(s.folder)
		}
		if _, err := s.Execute(ctx, []byte("#!/bin/sh\nexit 9\n")); err == nil || !strings.Contains(err.Error(), "exit status 9") || s.folder != "" {
			t.Error(err)
		}
	}
}

// fakeSudo answers as sudo does: with -S it reads one line, byte by byte, and asks
// again when that is wrong.
const fakeSudo = `#!/bin/sh
echo "$*" >>"$LOG"
stdin= never=
while :; do
  case $1 in -n) never=yes; shift;; -k) shift;; -S) stdin=yes; shift;; -p) shift 2;; *) break;; esac
done
if [ "$PASSWORD" ]; then
  [ -z "$never" ] && [ "$stdin" ] || { echo "sudo: a password is required" >&2; exit 1; }
  for i in 1 2 3; do
    IFS= read -r given || { echo "sudo: no password was provided" >&2; exit 1; }
    [ "$given" = "$PASSWORD" ] && break
    echo "Sorry, try again." >&2
  done
  [ "$given" = "$PASSWORD" ] || { echo "sudo: 3 incorrect password attempts" >&2; exit 1; }
fi
[ -z "$REFUSE" ] || { echo "anna is not in the sudoers file." >&2; exit 1; }
BECAME=root exec "$@"
`

// sudoer is a host on which the user is not root.
func sudoer(t *testing.T, env ...string) (srv *server, log string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"sudo": fakeSudo, "id": "#!/bin/sh\ncase $1 in -u) echo 1000;; *) echo anna;; esac\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	srv, log = serve(t), filepath.Join(dir, "log")
	srv.env = append([]string{"PATH=" + dir + ":" + os.Getenv("PATH"), "LOG=" + log}, env...)
	return srv, log
}

func TestSudo(t *testing.T) {
	t.Parallel()
	const right = "it's a $secret"
	srv, log := sudoer(t, "PASSWORD="+right)
	s, ctx := opened(t, srv, Host{Name: "there"}), limit(t)
	m, err := s.Look(ctx)
	if err != nil || m.Root || m.Sudo != SudoPassword || m.User != "anna" {
		t.Fatalf("%+v %v", m, err)
	}
	asked := 0
	answers := func(passwords ...string) func() (string, error) {
		asked = 0
		return func() (string, error) { asked++; return passwords[asked-1], nil }
	}
	if err := s.Sudo(ctx, answers("a", "b", "c")); !errors.Is(err, ErrPassword) || asked != 3 || !strings.HasPrefix(err.Error(), "become root on there: the password is wrong") {
		t.Errorf("%d %v", asked, err)
	}
	if err := s.Sudo(ctx, answers("a\nb")); err == nil || !strings.Contains(err.Error(), "one line") {
		t.Error(err)
	}
	no := errors.New("no terminal")
	if err := s.Sudo(ctx, func() (string, error) { return "", no }); !errors.Is(err, no) {
		t.Error(err)
	}
	if err := s.Sudo(ctx, answers("wrong", right)); err != nil || asked != 2 {
		t.Fatalf("%d %v", asked, err)
	}
	// What is meant for the program comes to it, and nothing else.
	data := bytes.Repeat([]byte("data\x00\n"), 100_000)
	out, err := s.asRoot(ctx, "echo $BECAME; cat", bytes.NewReader(data))
	if err != nil || !bytes.Equal(out, append([]byte("root\n"), data...)) {
		t.Errorf("%d bytes %.40q %v", len(out), out, err)
	}
	if out, err := s.asRoot(ctx, "cat", nil); err != nil || len(out) > 0 {
		t.Errorf("%q %v", out, err)
	}
	arguments, err := os.ReadFile(log)
	if err != nil || strings.Contains(string(arguments)+srv.ran(), "secret") {
		t.Errorf("the password is in arguments: %s%s %v", arguments, srv.ran(), err)
	}
	if asked := 0; s.Sudo(ctx, func() (string, error) { asked++; return "", nil }) != nil || asked > 0 {
		t.Error("it asks who is root already")
	}
}

func TestSudoFree(t *testing.T) {
	t.Parallel()
	srv, _ := sudoer(t)
	s, ctx := opened(t, srv, Host{Name: "there"}), limit(t)
	m, err := s.Look(ctx)
	if err != nil || !m.Root || m.Sudo != SudoFree {
		t.Fatalf("%+v %v", m, err)
	}
	if out, err := s.asRoot(ctx, "echo $BECAME; cat", strings.NewReader("x")); err != nil || string(out) != "root\nx" {
		t.Errorf("%q %v", out, err)
	}
	srv, _ = sudoer(t, "PASSWORD=x", "REFUSE=yes")
	s = opened(t, srv, Host{Name: "there"})
	if _, err := s.Look(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Sudo(ctx, func() (string, error) { return "x", nil }); err == nil || !strings.Contains(err.Error(), "not in the sudoers file") || errors.Is(err, ErrPassword) {
		t.Error(err)
	}
	s.machine = Machine{User: "anna"}
	if err := s.Sudo(ctx, nil); err == nil || !strings.Contains(err.Error(), "anna is not root, and there is no sudo") {
		t.Error(err)
	}
}

// The real sudo, as root may use it.
func TestRealSudo(t *testing.T) {
	t.Parallel()
	tooltest.Need(t, "sudo")
	tooltest.Root(t)
	s, ctx := opened(t, serve(t), Host{Name: "there"}), limit(t)
	s.machine.Sudo = SudoFree // root may use it
	if out, err := s.asRoot(ctx, "cat; id -u", strings.NewReader("x\n")); err != nil || string(out) != "x\n0\n" {
		t.Errorf("%q %v", out, err)
	}
}
