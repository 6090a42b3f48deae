package remote

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// pin opens a pinned session.
func pin(t *testing.T, srv *server, name string, o PinnedOptions) *Session {
	t.Helper()
	s, err := OpenPinned(Host{Name: name}, srv.config, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestNewIdentity(t *testing.T) {
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(id.Private)
	if err != nil || publicText(signer) != id.Public {
		t.Errorf("%q %v", id.Public, err)
	}
}

// The pinned keys alone decide, with the user's way to the host and the run's own
// key; also through a jump host, whose key is that of the user's known hosts.
func TestPinned(t *testing.T) {
	// As ssh has these in options.
	tmp := filepath.Join(t.TempDir(), "t %h")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t)
	other := publicText(newKey(t))
	for _, name := range []string{"there", "elsewhere", "behind"} {
		s := pin(t, srv, name, PinnedOptions{HostKeys: []string{other, srv.hostKey}, Identity: id.Private})
		if out, err := s.Run(limit(t), "echo hello", nil); err != nil || string(out) != "hello\n" {
			t.Errorf("%s: %q %v", name, out, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	srv.let = func(_, key string) bool { return key == id.Public }
	s := pin(t, srv, "there", PinnedOptions{HostKeys: []string{srv.hostKey}, Identity: id.Private})
	if _, err := s.Run(limit(t), "true", nil); err != nil {
		t.Error(err)
	}
	// Without one, it is the user's.
	s = pin(t, srv, "there", PinnedOptions{HostKeys: []string{srv.hostKey}})
	if _, err := s.Run(limit(t), "true", nil); !errors.Is(err, ErrDenied) || IsLost(err) {
		t.Error(err)
	}
	for _, keys := range [][]string{nil, {""}, {"ssh-ed25519"}, {srv.hostKey + "\n* " + other}, {"no-pty " + srv.hostKey}} {
		if _, err := OpenPinned(Host{Name: "there"}, srv.config, PinnedOptions{HostKeys: keys}); err == nil {
			t.Errorf("%q is pinned", keys)
		}
	}
	if left, err := filepath.Glob(tmp + "/*"); err != nil || len(left) > 2 { // of the two sessions that are open
		t.Errorf("left %q %v", left, err)
	}
}

// The user's known hosts know the key of the man in the middle, who lets everybody
// in: he does not get a byte.
func TestManInTheMiddle(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	true1 := publicText(newKey(t))
	s := pin(t, srv, "there", PinnedOptions{HostKeys: []string{true1}, Identity: id.Private})
	begun := time.Now()
	err = s.Wait(limit(t))
	if !errors.Is(err, ErrHostKey) || IsLost(err) || time.Since(begun) > 20*time.Second {
		t.Fatal(err)
	}
	if text := err.Error(); !strings.HasPrefix(text, "connect to there: another machine answers, or somebody is in between: ") || !strings.Contains(text, "; nothing was sent: it shows "+fingerprint(t, srv.hostKey)+": Host key verification failed") {
		t.Error(text)
	}
	if err := s.Stream(limit(t), "cat", strings.NewReader("a secret"), nil); !errors.Is(err, ErrHostKey) {
		t.Error(err)
	}
	if ran := srv.ran(); ran != "" {
		t.Errorf("he has got %q", ran)
	}
}

func fingerprint(t *testing.T, text string) string {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return ssh.FingerprintSHA256(key)
}

// A machine that is another one after the connection broke.
func TestAnotherMachineLater(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	s := pin(t, srv, "there", PinnedOptions{HostKeys: []string{srv.hostKey}, Identity: id.Private})
	srv.cuts = []int64{20_000}
	if err := s.Stream(limit(t), "cat", strings.NewReader(strings.Repeat("x", 100_000)), nil); !IsLost(err) {
		t.Fatal(err)
	}
	key := newKey(t)
	srv.key.Store(&key)
	if err := s.Stream(limit(t), "cat", strings.NewReader("x"), nil); !errors.Is(err, ErrHostKey) {
		t.Error(err)
	}
}

// The system before has the same host key: it is waited until vic answers.
func TestWait(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	s := pin(t, srv, "there", PinnedOptions{HostKeys: []string{srv.hostKey}, Identity: id.Private})
	dir := t.TempDir()
	srv.env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	srv.cuts = []int64{0, 500} // nobody answers; it goes while it answers
	done := make(chan error, 1)
	go func() { done <- s.wait(limit(t), "vic-of-the-test status", 100*time.Millisecond) }()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(srv.ran(), "status"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it was not asked")
		}
	}
	select {
	case err := <-done:
		t.Fatalf("the system before was taken for another one: %v", err)
	default:
	}
	// Renamed, so that nobody runs one that is still open for writing.
	if err := os.WriteFile(dir+"/new", []byte("#!/bin/sh\necho '{}'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/new", dir+"/vic-of-the-test"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitIsBounded(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.let = func(string, string) bool { return false }
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	s := pin(t, srv, "there", PinnedOptions{HostKeys: []string{srv.hostKey}, Identity: id.Private})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 700*time.Millisecond, errors.New("no answer in time"))
	defer cancel()
	err = s.wait(ctx, "true", 100*time.Millisecond)
	if err == nil || !strings.HasPrefix(err.Error(), "no answer in time; last: connect to there: ") || !strings.Contains(err.Error(), "the system before answers") || !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
}

// An ssh that hangs, with all that it has started, ends with the context.
func TestPinnedEnds(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	s := pin(t, srv, "behind", PinnedOptions{HostKeys: []string{srv.hostKey}})
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
	defer cancel()
	begun := time.Now()
	if err := s.Stream(ctx, "sleep 30", nil, nil); err == nil || !strings.Contains(err.Error(), "enough") || time.Since(begun) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

func TestShell(t *testing.T) {
	s := opened(t, serve(t), Host{Name: "there"})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in, out := os.Stdin, os.Stdout
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	os.Stdin, os.Stdout = null, w
	err = s.Shell(limit(t))
	os.Stdin, os.Stdout = in, out
	w.Close()
	text := make([]byte, 100)
	n, readErr := r.Read(text)
	if err != nil || string(text[:n]) != "a shell\n" {
		t.Errorf("%q %v %v", text[:n], err, readErr)
	}
}

func TestAuthorizedKeys(t *testing.T) {
	t.Parallel()
	one, two, three := publicText(newKey(t)), publicText(newKey(t)), publicText(newKey(t))
	home := t.TempDir()
	if err := os.Mkdir(home+"/.ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"authorized_keys":  "# mine\n" + one + " me@here\n\ncommand=\"/bin/backup\" " + two + "\n" + one + " me@here\nno key\n",
		"authorized_keys2": three, // without a newline
	} {
		if err := os.WriteFile(home+"/.ssh/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	srv := serve(t)
	srv.env = []string{"HOME=" + home, "PATH=" + dir + ":" + os.Getenv("PATH")}
	keys := func() string {
		t.Helper()
		s := opened(t, srv, Host{Name: "there"})
		if _, err := s.Look(limit(t)); err != nil {
			t.Fatal(err)
		}
		got, err := s.AuthorizedKeys(limit(t))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(got, ",")
	}
	// This machine's own server may be asked, or not: both have these files.
	if got, want := keys(), one+" me@here,"+three; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	elsewhere := t.TempDir()
	if err := os.WriteFile(dir+"/sshd", []byte("#!/bin/sh\necho port 22\necho authorizedkeysfile .ssh/none "+elsewhere+"/%u\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	user := os.Getenv("USER")
	if os.Geteuid() == 0 {
		user = "root"
	}
	if err := os.WriteFile(elsewhere+"/"+user, []byte(two+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := keys(); got != two {
		t.Errorf("%s, want %s", got, two)
	}
}
