package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/sys/unix"
)

// typist is stderr with a person in front of it, who answers each question on
// the terminal that stdin is.
type typist struct {
	bytes.Buffer
	keys    *os.File
	answers []string
}

func (p *typist) Write(b []byte) (int, error) {
	if bytes.HasSuffix(b, []byte(": ")) && len(p.answers) > 0 {
		go p.press(p.answers[0])
		p.answers = p.answers[1:]
	}
	return p.Buffer.Write(b)
}

// press types once the terminal does not show what is typed.
func (p *typist) press(answer string) {
	for range 5000 {
		if mode, err := unix.IoctlGetTermios(int(p.keys.Fd()), unix.TCGETS); err != nil || mode.Lflag&unix.ECHO == 0 {
			fmt.Fprintln(p.keys, answer)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// atTerminal is an app whose stdin is a terminal.
func atTerminal(t *testing.T, answers ...string) (*app, *typist) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { keys.Close() })
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	p := &typist{keys: keys, answers: answers}
	return &app{stdin: tty, stderr: p, registry: builtIn()}, p
}

// sealed is a file of secrets and the key to it.
func sealed(t *testing.T, text string) (file, key string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return seal(t, text, id.Recipient()), write(t, "key", id.String()+"\n")
}

func seal(t *testing.T, text string, to age.Recipient) string {
	t.Helper()
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, "secrets.age", b.String())
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSecretFiles(t *testing.T) {
	file, key := sealed(t, "password: hunter2\n")
	for name, tt := range map[string]struct {
		args []string
		seen string
		want string
	}{
		"decrypted":   {[]string{"--secrets", file, "--identity", key}, "debian password=hunter2", ""},
		"no identity": {[]string{"--secrets", file}, "", "give --identity FILE"},
		"no file":     {[]string{"--identity", key}, "", "--identity: it decrypts files given with --secrets"},
		"twice":       {[]string{"--secrets", file, "--identity", key, "-s", "password=other"}, "", "read secret password: it is given twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, seen, err := itemCommand(t, append([]string{"debian"}, tt.args...)...)
			if seen != tt.seen || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, %v", seen, err)
			}
		})
	}
}

// TestAsk: a person is asked for the passphrase of a file and for a secret that
// is required, and sees neither.
func TestAsk(t *testing.T) {
	to, err := age.NewScryptRecipient("open sesame")
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(10)
	item := write(t, "item.yaml", "from: debian\nsecrets:\n  tls-key: {description: a key, required: true}\n")
	a, screen := atTerminal(t, "open sesame", "hunter2", "hunter2")
	f := itemFlags{secrets: secretFlags{files: []string{seal(t, "password: swordfish\n", to)}}}
	_, set, err := f.load(a, item)
	if err != nil {
		t.Fatalf("%v; screen: %s", err, &screen.Buffer)
	}
	key, _ := set.Get("tls-key")
	password, _ := set.Get("password")
	if key.Reveal() != "hunter2" || password.Reveal() != "swordfish" {
		t.Errorf("got %v", set)
	}
	// The terminal's own echo; the end of input leaves something to read.
	if _, err := a.stdin.(*os.File).Write([]byte(".")); err != nil {
		t.Fatal(err)
	}
	shown := make([]byte, 4096)
	n, err := screen.keys.Read(shown)
	if err != nil {
		t.Fatal(err)
	}
	shown = shown[:n]
	for _, v := range []string{"hunter2", "sesame", "swordfish"} {
		if strings.Contains(screen.String()+string(shown), v) {
			t.Errorf("%s is on the screen", v)
		}
		if got := a.secrets.Redact(v); v != "open sesame" && v != "sesame" && got == v {
			t.Errorf("%s is not hidden from errors", v)
		}
	}
}

func TestAskRefuses(t *testing.T) {
	item := write(t, "item.yaml", "from: debian\nsecrets:\n  tls-key: {description: a key, required: true}\n")
	for want, answers := range map[string][]string{
		"secret tls-key: the two are not the same":            {"one", "two"},
		"secret tls-key: read from the terminal: it is empty": {""},
	} {
		a, _ := atTerminal(t, answers...)
		var f itemFlags
		if _, _, err := f.load(a, item); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
