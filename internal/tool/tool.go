// Package tool is the seam for running foreign programs (mkfs.ext4,
// mkfs.erofs, grub-install, ...).
//
// Callers build a Cmd with a pure function that is tested on its own, and hand
// it to a Runner. The package does not decide which program to run and does
// not interpret what it prints.
package tool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Cmd is one run of a foreign program.
type Cmd struct {
	// Name is looked up in PATH unless it contains a slash.
	Name string
	Args []string
	// Env is added to a minimal environment (PATH, LC_ALL=C.UTF-8, TZ=UTC).
	// Secrets never go into Args: other users can read them in /proc.
	Env []string
	// Dir is the working directory; inside Root when Root is set.
	Dir string
	// Root is the directory to chroot(2) into first; empty means none.
	Root string
	// Stdin is fed to the program; nil means /dev/null.
	Stdin io.Reader
	// Stdout receives standard output as it comes; nil collects it in Output.
	Stdout io.Writer
}

// String is the command as a person would type it, without its environment.
func (c Cmd) String() string {
	words := append([]string{c.Name}, c.Args...)
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n'\"$\\*?;&|<>()`") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// Output is what a program printed. Stderr keeps its last 64 KiB.
type Output struct {
	Stdout []byte
	Stderr []byte
}

// Runner runs programs. Run waits for the program, kills it (with its process
// group) when ctx ends, and returns an *Error when it did not exit with 0.
type Runner interface {
	Run(ctx context.Context, c Cmd) (Output, error)
}

// Error says how a program failed.
type Error struct {
	Cmd    Cmd
	Exit   int    // exit status; -1 when it was killed or never started
	Stderr string // the last lines of its standard error
	Err    error
}

func (e *Error) Error() string {
	msg := fmt.Sprintf("run %s: %v", shorten(e.Cmd.String()), e.Err)
	if e.Stderr != "" {
		msg += ": " + e.Stderr
	}
	return msg
}

// shorten leaves out the middle of a very long command: a list of two hundred
// packages hides what went wrong with them.
func shorten(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return s[:most*2/3] + " ... " + s[len(s)-most/3:]
}

func (e *Error) Unwrap() error { return e.Err }

// ErrNotFound is wrapped by the error for a program that is not installed.
var ErrNotFound = exec.ErrNotFound

// Exec is the Runner that starts processes on this machine.
type Exec struct {
	// Path is the search path; empty means /usr/local/sbin:...:/bin, so that
	// a user's PATH without sbin does not hide mkfs.
	Path string
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (e Exec) path() string {
	if e.Path != "" {
		return e.Path
	}
	return defaultPath
}

// LookPath finds name in the search path.
func (e Exec) LookPath(name string) (string, error) { return e.lookPath("", name) }

// lookPath finds name as seen from inside root.
func (e Exec) lookPath(root, name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range strings.Split(e.path(), ":") {
		full := dir + "/" + name
		if st, err := os.Stat(root + full); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrNotFound)
}

// Run implements Runner.
func (e Exec) Run(ctx context.Context, c Cmd) (Output, error) {
	full, err := e.lookPath(c.Root, c.Name)
	if err != nil {
		return Output{}, &Error{Cmd: c, Exit: -1, Err: err}
	}
	cmd := exec.CommandContext(ctx, full, c.Args...)
	cmd.Args[0] = c.Name
	cmd.Dir = c.Dir
	if c.Root != "" && c.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Env = append([]string{"PATH=" + e.path(), "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=/root"}, c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Chroot: c.Root}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Stdin = c.Stdin
	var stdout bytes.Buffer
	stderr := tail{max: 64 << 10}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	err = cmd.Run()
	out := Output{Stdout: stdout.Bytes(), Stderr: stderr.buf}
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out, &Error{Cmd: c, Exit: exitCode(err), Stderr: lastLines(stderr.buf, 5), Err: err}
}

func exitCode(err error) int {
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		return ee.ExitCode()
	}
	return -1
}

// tail keeps the last max bytes written to it.
type tail struct {
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func lastLines(b []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "; ")
}
