package sshd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestExec(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	for _, tt := range []struct{ name, stdin, command, want string }{
		{"output", "", "echo hello", "hello\n"},
		{"the end of the input arrives", "x\n", "cat", "x\n"},
		{"quotes are the shell's", "", `printf '%s|' "a b" c`, "a b|c|"},
		{"home", "", "pwd", x.dir + "\n"},
		{"user", "", "echo $USER $LOGNAME $SHELL", "root root /bin/sh\n"},
		{"both ends", "", "echo $SSH_CONNECTION | wc -w", "4\n"},
		{"no terminal", "", "tty; true", "not a tty\n"},
		{"what a background process says", "", "(sleep 0.1; echo later) & echo now", "now\nlater\n"},
		{"the shell", "echo from the shell\n", "", "from the shell\n"},
		{"without an end of input", "", "exec <&-; echo closed", "closed\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{"host"}
			if tt.command != "" {
				args = append(args, tt.command)
			}
			if got := x.run(tt.stdin, "ssh", args...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStatusAndStderr(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	for _, tt := range []struct {
		command        string
		code           int
		stdout, stderr string
	}{
		{"exit 7", 7, "", ""},
		{"echo out; echo err >&2", 0, "out\n", "err\n"},
		{"kill -TERM $$", 255, "", ""}, // what ssh(1) makes of exit-signal
		{"/nowhere/program 2>/dev/null", 127, "", ""},
	} {
		t.Run(tt.command, func(t *testing.T) {
			cmd := x.tool("ssh", "host", tt.command)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if stdout.String() != tt.stdout || stderr.String() != tt.stderr {
				t.Errorf("stdout %q stderr %q, want %q and %q", &stdout, &stderr, tt.stdout, tt.stderr)
			}
		})
	}
}

// A process that does not want its input must not keep the client.
func TestInputNotRead(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	cmd := x.tool("ssh", "host", "head -c 3")
	cmd.Stdin, _ = os.Open("/dev/zero")
	out, err := cmd.Output()
	if err != nil || string(out) != "\x00\x00\x00" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	cmd := x.tool("ssh", "-o", "SendEnv=LANG LC_* TERM PATH LD_PRELOAD_SAID", "host",
		"echo $LANG $LC_TIME $TERM [$LD_PRELOAD_SAID]; echo $PATH")
	cmd.Env = append(os.Environ(), "LANG=de_DE.UTF-8", "LC_TIME=C", "TERM=vt220", "LD_PRELOAD_SAID=x")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "de_DE.UTF-8 C vt220 []\n" + os.Getenv("PATH") + "\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if !strings.Contains(x.log.String(), `"PATH"`) {
		t.Error("that PATH is not taken from the client is not in the log")
	}
}

// Several sessions at a time on one connection, one login for all of them.
func TestMultiplexing(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	// A socket's path is short: TMPDIR may not be.
	dir, err := os.MkdirTemp("/tmp", "vic-sshd-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := "ControlPath=" + filepath.Join(dir, "mux")
	master := x.tool("ssh", "-N", "-M", "-o", socket, "-o", "ServerAliveInterval=1", "host")
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the control socket", func() bool {
		_, err := os.Stat(filepath.Join(dir, "mux"))
		return err == nil
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			text := strings.Repeat(fmt.Sprintf("session %d ", i), 20000)
			cmd := x.tool("ssh", "-o", socket, "host", "cat")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.Output(); err != nil || string(out) != text {
				t.Errorf("session %d: %d bytes of %d, %v", i, len(out), len(text), err)
			}
		})
	}
	wg.Wait()
	x.run("", "ssh", "-o", socket, "-O", "exit", "-o", "LogLevel=QUIET", "host")
	_ = master.Wait() // whatever it says about having been told to exit
	if n := strings.Count(x.log.String(), "login with"); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	eventually(t, "the server sees the client go", func() bool { return strings.Contains(x.log.String(), "gone") })
}

// ssh(1) asks whether the server is there, which must be answered.
func TestServerAlive(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	start := time.Now()
	out := x.run("", "ssh", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1", "host", "sleep 2.3; echo there")
	if out != "there\n" || time.Since(start) < 2*time.Second {
		t.Errorf("got %q after %v", out, time.Since(start))
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	x := newSite(t, "", nil)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	local := filepath.Join(x.dir, "local")
	if err := os.WriteFile(local, payload, 0o640); err != nil {
		t.Fatal(err)
	}
	same := func(t *testing.T, name string) {
		t.Helper()
		got, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(payload), err)
		}
	}
	t.Run("scp to and from", func(t *testing.T) {
		x.run("", "scp", "-q", "-p", local, "host:"+filepath.Join(x.dir, "there"))
		same(t, filepath.Join(x.dir, "there"))
		if info, err := os.Stat(filepath.Join(x.dir, "there")); err != nil || info.Mode() != 0o640 {
			t.Errorf("mode %v, %v", info, err)
		}
		x.run("", "scp", "-q", "host:there", filepath.Join(x.dir, "back")) // relative to HOME
		same(t, filepath.Join(x.dir, "back"))
	})
	t.Run("scp of a folder", func(t *testing.T) {
		if err := os.MkdirAll(filepath.Join(x.dir, "tree/sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(x.dir, "tree/sub/file"), payload, 0o600); err != nil {
			t.Fatal(err)
		}
		x.run("", "scp", "-q", "-r", filepath.Join(x.dir, "tree"), "host:copy")
		same(t, filepath.Join(x.dir, "copy/sub/file"))
	})
	t.Run("the old protocol", func(t *testing.T) {
		x.run("", "scp", "-q", "-O", local, "host:old")
		same(t, filepath.Join(x.dir, "old"))
	})
	t.Run("sftp", func(t *testing.T) {
		out := x.run("mkdir d\nput "+local+" d/a\nrename d/a d/b\nchmod 600 d/b\nls -l d\nget d/b "+x.dir+"/got\nrm d/b\nrmdir d\n",
			"sftp", "-q", "-b", "-", "host")
		same(t, filepath.Join(x.dir, "got"))
		if !strings.Contains(out, "-rw-------") {
			t.Errorf("no mode 0600 in %q", out)
		}
		if _, err := os.Stat(filepath.Join(x.dir, "d")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder is still there: %v", err)
		}
	})
	t.Run("a file that is not there", func(t *testing.T) {
		out, err := x.tool("scp", "-q", "host:/nowhere/file", x.dir).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "No such file") {
			t.Errorf("%v: %s", err, out)
		}
	})
}
