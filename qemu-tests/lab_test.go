// Package qemutests tests vic from end to end: its own command builds,
// installs and boots, in virtual machines, and programs that are not vic's
// judge what came out.
//
//	vic install ... --vm --json ──> disk image + UEFI variables + events
//	                                  ├─ sgdisk, e2fsck, fsck.vfat, mdir, grep
//	                                  └─ booted alone ──SSH──> checks
//
// One machine runs at a time. All of it is skipped by go test -short.
package qemutests

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/initramfs/programs"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// scratch is where the tests of one run share what takes long to make.
var scratch string

func TestMain(m *testing.M) {
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

// needLab skips a test that starts machines or builds images.
func needLab(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds images and starts virtual machines")
	}
	tooltest.Need(t, "qemu-system-x86_64", "qemu-img", "mmdebstrap", "sgdisk", "e2fsck", "debugfs", "fsck.vfat", "mdir", "mke2fs")
	if _, err := programs.Init("amd64"); err != nil {
		t.Fatalf("%v (go run ./initramfs/programs/generate)", err)
	}
}

// program builds the command vic, once. The programs for the target that it
// embeds are those that "make build" left.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "vic")
	cmd := exec.Command("go", "build", "-o", path, "../cmd/vic")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build vic: %w\n%s", err, out)
	}
	return path, nil
})

// cacheDir is the user's own, so that downloads and payloads are shared with
// everything else that runs on this machine.
func cacheDir() (string, error) {
	if dir := os.Getenv("VIC_TEST_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "vic"), err
}

// run is one run of vic.
type run struct {
	exit           int
	stdout, stderr string
	tmp            string // its $TMPDIR
}

// vic runs the command as a user would.
func vic(t *testing.T, args ...string) run {
	t.Helper()
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return vicWith(t.Context(), t, nil, append(args, "--cache", cache)...)
}

// lastTmp is the $TMPDIR of the run of vic that was started last.
var lastTmp atomic.Value

// vicWith runs the command with these variables added to the environment.
func vicWith(ctx context.Context, t *testing.T, env []string, args ...string) run {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	r := run{tmp: t.TempDir()}
	lastTmp.Store(r.tmp)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+r.tmp), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("vic %s: %v", strings.Join(args, " "), err)
	}
	r.exit, r.stdout, r.stderr = cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
	return r
}

// mustVic runs the command, which has to succeed.
func mustVic(t *testing.T, args ...string) run {
	t.Helper()
	r := vic(t, args...)
	if r.exit != 0 {
		t.Fatalf("vic %s: exit code %d\n%s", strings.Join(args, " "), r.exit, r.stderr)
	}
	return r
}

// loginKey is the key of this run's user: signer, and the public half in a
// file for -o sshkey=@FILE.
var loginKey = sync.OnceValues(func() (ssh.Signer, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(key)
})

// writeLoginKey writes the public half into dir.
func writeLoginKey(t *testing.T, dir string) (ssh.Signer, string) {
	t.Helper()
	signer, err := loginKey()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "key.pub")
	if err := os.WriteFile(path, ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o644); err != nil {
		t.Fatal(err)
	}
	return signer, path
}

// bundle builds the RAM system and opens it.
func bundle(t *testing.T) *builder.Bundle {
	t.Helper()
	b, err := builder.OpenBundle(built(t, "installer", "bundle"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// payload builds Debian and opens it.
func payload(t *testing.T) *builder.Payload {
	t.Helper()
	p, err := builder.OpenPayload(built(t, "debian", ""))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// built is the folder that vic build wrote an item's format into, once.
func built(t *testing.T, item, format string) string {
	t.Helper()
	dir := filepath.Join(scratch, "built", item+format)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	args := []string{"build", item, "-o", "kernel=cloud", "--out", dir}
	if format != "" {
		args = append(args, "--format", format)
	}
	mustVic(t, args...)
	return dir
}

// contains reports whether a file has the words anywhere, reading only what
// is not a hole.
func contains(t *testing.T, path string, words []byte) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := false
	err = eachData(f, func(r io.Reader) error {
		buf := make([]byte, 0, 1<<20)
		for {
			n, err := r.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			found = found || bytes.Contains(buf, words)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if len(buf) >= len(words) {
				buf = append(buf[:0], buf[len(buf)-len(words)+1:]...)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
