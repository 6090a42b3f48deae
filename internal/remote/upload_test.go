package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// random bytes do not compress.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func fileOf(t *testing.T, content []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return f
}

// uploader is a session with a folder of the test's own.
func uploader(t *testing.T, srv *server) *Session {
	t.Helper()
	s := opened(t, srv, Host{Name: "there"})
	s.folder, s.inRAM = filepath.Join(t.TempDir(), "it's a folder"), true
	if err := os.Mkdir(s.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

// enterProgram is a vic-env that checks what was sent as vic-env does, by the
// document that came with it.
const enterProgram = `#!/bin/sh
[ "$1" != vic-env ] || shift
[ "$1" = enter ] || exit 2
if [ "$2" = --leave ]; then echo '{"warnings":["bye"]}'; exit; fi
[ "$2" = --load-only ] && cd "$3" || exit 3
list=$(grep -o '{"name":"[^"]*","size":[0-9]*,"sha256":"[^"]*"}' enter.json | tr '",:' '   ' | awk '{print $3, $7}')
[ "$(echo "$list" | wc -l)" -ge 2 ] || exit 3
echo "$list" | while read -r name sum; do
  [ "$(sha256sum <"$name")" = "$sum  -" ] || { echo "$name is not what was sent" >&2; exit 3; }
done || exit 3
echo '{"loaded":"kexec_file_load","hostKeys":["ssh-ed25519 AAAA"],"machineId":"'"$(cat handover.json)"'"}'
`

// A connection that breaks again and again, at any place, costs what was on its
// way, and nothing else.
func TestUploadGoesOn(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	s, ctx := uploader(t, srv), limit(t)
	kernel, initrd := random(300_000), random(5_000_000)
	srv.cuts = []int64{1000, 200_000, 2_000_000, 2_000_000}
	if err := s.Install(ctx, []byte(enterProgram)); err != nil {
		t.Fatal(err)
	}
	var seen []int64
	sent, err := s.UploadBundle(ctx, Bundle{Kernel: fileOf(t, kernel), Initrd: fileOf(t, initrd), Handover: []byte("abc"), Cmdline: "quiet"}, func(done, total int64) {
		if total != int64(len(kernel)+len(initrd)) || done > total {
			t.Errorf("%d of %d", done, total)
		}
		seen = append(seen, done)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(srv.cuts) > 0 {
		t.Errorf("the connection did not break: %v", srv.cuts)
	}
	whole := int64(len(kernel) + len(initrd))
	if seen[0] != 0 || seen[len(seen)-1] != whole {
		t.Errorf("progress from %d to %d of %d", seen[0], seen[len(seen)-1], whole)
	}
	// Three times what ssh keeps on its way, at most.
	if sent < whole || sent > whole+3*2_500_000 || sent != s.Sent() {
		t.Errorf("sent %d for %d", sent, whole)
	}
	a, err := s.Enter(ctx)
	if err != nil || a.Loaded != "kexec_file_load" || a.MachineID != "abc" || len(a.Warnings) != 1 {
		t.Errorf("%+v %v", a, err)
	}
	if strings.Contains(srv.ran(), "packed") { // Look was not run: nobody said gzip
		t.Error(srv.ran())
	}
}

// What an earlier client has sent is not sent again; what is of no use is removed.
func TestUploadAgain(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	s, ctx := uploader(t, srv), limit(t)
	s.machine.gzip = true
	b := Bundle{Kernel: fileOf(t, random(1000)), Initrd: fileOf(t, random(500_000)), Handover: []byte("abc"), Cmdline: "quiet"}
	upload := func() {
		t.Helper()
		if err := s.Install(ctx, []byte(enterProgram)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.UploadBundle(ctx, b, func(int64, int64) {}); err != nil {
			t.Fatal(err)
		}
		if a, err := s.Enter(ctx); err != nil || a.MachineID != string(b.Handover) {
			t.Fatalf("%+v %v", a, err)
		}
	}
	upload()
	first := s.Sent()
	upload()
	if again := s.Sent() - first; again > 1000 {
		t.Errorf("%d bytes were sent again", again)
	}
	// Half of the initrd, and one that nobody needs.
	parts, err := filepath.Glob(s.folder + "/initrd-????????????????")
	if err != nil || len(parts) != 1 {
		t.Fatal(parts, err)
	}
	if err := os.Truncate(parts[0], 250_000); err != nil {
		t.Fatal(err)
	}
	old := s.folder + "/initrd-0123456789abcdef"
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := s.Sent()
	b.Handover = []byte("new")
	upload()
	if again := s.Sent() - before; again < 250_000 || again > 251_500 {
		t.Errorf("%d bytes were sent for 250000", again)
	}
	// Longer than it can be: two clients wrote to it.
	if err := os.WriteFile(parts[0], random(600_000), 0o600); err != nil {
		t.Fatal(err)
	}
	upload()
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Error("an old file still takes memory")
	}
	if err := s.Discard(ctx); err != nil {
		t.Error(err)
	}
}

func TestUploadFails(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	s := uploader(t, srv)
	f, err := newFile("kernel", bytes.NewReader(random(1000)), 1000)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%x", sha256.Sum256(random(1000)))
	if f.sha256 != want || f.name != "kernel-"+want[:16] {
		t.Errorf("%+v", f)
	}
	// No room.
	f.size = 1 << 50
	if err := s.checkRoom(limit(t), []file{f}); err == nil || !strings.Contains(err.Error(), "MiB free, and 1073741824 MiB are needed") {
		t.Error(err)
	}
	f.size = 1000
	// A command that fails is not tried again.
	if err := os.RemoveAll(s.folder); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := s.send(limit(t), f, func(int64) {}); err == nil || IsLost(err) || time.Since(begun) > 10*time.Second {
		t.Error(err)
	}
	if err := s.sendSmall(limit(t), "x", []byte("y")); err == nil || IsLost(err) {
		t.Error(err)
	}
	// A host that is away is waited for until the context ends.
	srv.cuts = []int64{100, 100, 100, 100, 100, 100, 100}
	_ = s.Close()
	s = uploader(t, srv)
	s.pause = time.Second
	ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errors.New("enough"))
	defer cancel()
	if err := s.send(ctx, f, func(int64) {}); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Error(err)
	}
}

// An attempt whose connection is gone may still write what had arrived.
func TestStop(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "it's")
	run := func() string {
		t.Helper()
		out, err := exec.Command("/bin/sh", "-c", fmt.Sprintf(stop, quote(name))).CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
		return strings.TrimSpace(string(out))
	}
	if got := run(); got != "0" {
		t.Errorf("without a file: %q", got)
	}
	r, w := io.Pipe()
	defer w.Close()
	old := exec.Command("/bin/sh", "-c", `echo $$ >"$0.pid"; exec cat >>"$0"`, name)
	old.Stdin, old.WaitDelay = r, time.Second
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if st, err := os.Stat(name); err == nil && st.Size() == 5 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing was written")
		}
	}
	if got := run(); got != "5" {
		t.Errorf("%q", got)
	}
	_ = w.Close()
	if err := old.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the old attempt: %v", err)
	}
	// Its number may be that of another process by now.
	if err := os.WriteFile(name+".pid", []byte(fmt.Sprintln(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(); got != "5" {
		t.Errorf("%q", got)
	}
}

func TestRoom(t *testing.T) {
	free, there, err := room("tmpfs 24682416 0 100 0% /dev/shm\n12\n\n30\n")
	if free != 100<<10 || there != 42 || err != nil {
		t.Error(free, there, err)
	}
	for _, text := range []string{"", "tmpfs 1 2 3", "tmpfs 24682416 0 - 0% /dev/shm", "tmpfs 1 0 100 0% /dev/shm\nx"} {
		if _, _, err := room(text); err == nil {
			t.Errorf("%q is fine", text)
		}
	}
}
