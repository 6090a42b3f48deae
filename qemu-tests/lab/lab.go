// Package lab is what the tests in virtual machines share: vic itself, what it
// builds, disks that it installed, the login to the systems on them, and the
// foreign programs that judge them.
//
//	Vic(t, "install", ..., "--vm", "--json") ──> System: disk images, UEFI variables, events
//	                                               ├─ Say(t, "e2fsck", ...), CheckTable
//	                                               └─ Boot ──Login──> Guest: Sudo, Checks
//
// A package of such tests has a TestMain that calls Main, and begins each test
// with Need. Packages run side by side (go test -p 2), the tests of one after each
// other, so that no more than two machines run. Tests that start two themselves run
// with VIC_TEST_ALONE=1 (or VIC_TEST_MATRIX=1): a package of those is to be run by
// itself, as `make test` does at its end. What vic
// builds is in the user's cache: of two packages that need the same, one waits for
// the other.
package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/initramfs/programs"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// scratch is where the tests of one run share what takes long to make.
var scratch string

// Main runs the tests of a package; it is all that its TestMain has to do.
func Main(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "vic-qemu-tests-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		scratch = dir
		return m.Run()
	}())
}

// Need skips a test that starts machines or builds images when the tests are
// to be short, and asks for the programs that all of them use.
func Need(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds images and starts virtual machines")
	}
	tooltest.Need(t, "qemu-system-x86_64", "qemu-img", "mmdebstrap", "sgdisk", "e2fsck", "debugfs", "fsck.vfat", "mdir", "mke2fs")
	if _, err := programs.Init("amd64"); err != nil {
		t.Fatalf("%v (go run ./initramfs/programs/generate)", err)
	}
}

// Dir is a folder that the tests of one run share; it goes when the run ends.
func Dir(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(scratch, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// program builds the command vic, once. The programs for the target that it
// embeds are those that "make build" left.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "vic")
	cmd := exec.Command("go", "build", "-o", path, "github.com/victorinix/vic/cmd/vic")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build vic: %w\n%s", err, out)
	}
	return path, nil
})

// Program is the path of the command vic, a static executable.
func Program(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// CacheDir is the user's own, so that downloads and payloads are shared with
// everything else that runs on this machine.
func CacheDir() (string, error) {
	if dir := os.Getenv("VIC_TEST_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "vic"), err
}

// Run is one run of vic.
type Run struct {
	Exit           int
	Stdout, Stderr string
	Tmp            string // its $TMPDIR
}

// Vic runs the command as a user would.
func Vic(t *testing.T, args ...string) Run {
	t.Helper()
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return VicWith(t.Context(), t, nil, append(args, "--cache", cache)...)
}

// lastTmp is the $TMPDIR of the run of vic that was started last.
var lastTmp atomic.Value

// VicWith runs the command with these variables added to the environment.
func VicWith(ctx context.Context, t *testing.T, env []string, args ...string) Run {
	t.Helper()
	path := Program(t)
	r := Run{Tmp: t.TempDir()}
	lastTmp.Store(r.Tmp)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+r.Tmp), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("vic %s: %v", strings.Join(args, " "), err)
	}
	r.Exit, r.Stdout, r.Stderr = cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
	return r
}

// MustVic runs the command, which has to succeed.
func MustVic(t *testing.T, args ...string) Run {
	t.Helper()
	r := Vic(t, args...)
	if r.Exit != 0 {
		t.Fatalf("vic %s: exit code %d\n%s", strings.Join(args, " "), r.Exit, r.Stderr)
	}
	return r
}

// Bundle builds the RAM system and opens it.
func Bundle(t *testing.T) *builder.Bundle {
	t.Helper()
	b, err := builder.OpenBundle(Built(t, "installer", "bundle"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Payload builds Debian and opens it.
func Payload(t *testing.T) *builder.Payload {
	t.Helper()
	p, err := builder.OpenPayload(Built(t, "debian", ""))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Built is the folder that vic build wrote an item's format into, once.
func Built(t *testing.T, item, format string) string {
	t.Helper()
	dir := filepath.Join(scratch, "built", item+format)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	defer lockBuilds(t)()
	MustVic(t, BuildArgs(item, format, dir)...)
	return dir
}

// BuildArgs are the arguments that Built calls vic with.
func BuildArgs(item, format, out string) []string {
	args := []string{"build", item, "-o", "kernel=cloud", "--out", out}
	if item == "debian" {
		args = append(args, "-o", "kernel-params=console=ttyS0") // one that does not come up says why
	}
	if format != "" {
		args = append(args, "--format", format)
	}
	return args
}

// lockBuilds lets one process of tests build at a time: what the other built is
// in the cache then. It returns what ends it.
func lockBuilds(t *testing.T) (unlock func()) {
	t.Helper()
	cache, err := CacheDir()
	if err == nil {
		err = os.MkdirAll(cache, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(cache, "tests.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		t.Fatalf("wait for the builds of other tests: %v", err)
	}
	return func() { f.Close() }
}
