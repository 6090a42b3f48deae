package ramsys

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/agent/ramsys/sshd"
	"github.com/victorinix/vic/internal/handover"
)

func TestAuthorizedKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "authorized_keys")
	h := &handover.Handover{AuthorizedKeys: []string{"ssh-ed25519 A"}}
	if got, err := authorizedKeys(h, path); err != nil || !slices.Equal(got, h.AuthorizedKeys) {
		t.Errorf("without the file: %v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("# who\n\nssh-ed25519 B b@c \nssh-rsa D"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := authorizedKeys(nil, path); err != nil || !slices.Equal(got, []string{"ssh-ed25519 B b@c", "ssh-rsa D"}) {
		t.Errorf("without a handover: %v, %v", got, err)
	}
	if got, err := authorizedKeys(h, path); err != nil || len(got) != 3 {
		t.Errorf("with both: %v, %v", got, err)
	}
}

func TestNeedHostKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ssh")
	fingerprint, err := needHostKey(dir)
	if err != nil || !strings.HasPrefix(fingerprint, "SHA256:") {
		t.Fatalf("got %q, %v", fingerprint, err)
	}
	keys, err := sshd.LoadHostKeys(dir)
	if err != nil || len(keys) != 1 || keys[0].PublicKey().Type() != "ssh-ed25519" {
		t.Errorf("the server has %d keys: %v", len(keys), err)
	}
	if st, err := os.Stat(filepath.Join(dir, "ssh_host_ram_key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", st, err)
	}
	if again, err := needHostKey(dir); again != "" || err != nil {
		t.Errorf("with a key there: %q, %v", again, err)
	}
}

// What ends at once is started less and less often; the same reason is told once.
func TestKeepServer(t *testing.T) {
	events, ending := &told{}, make(chan struct{})
	var pauses []time.Duration
	starts := 0
	start := func() (<-chan syscall.WaitStatus, error) {
		if starts++; starts == 5 {
			return nil, errors.New("out of memory")
		}
		done := make(chan syscall.WaitStatus, 1)
		done <- 1 << 8
		return done, nil
	}
	after := func(d time.Duration) <-chan time.Time {
		if pauses = append(pauses, d); len(pauses) == 7 {
			close(ending)
			return nil
		}
		now := make(chan time.Time, 1)
		now <- time.Time{}
		return now
	}
	keepServer(events, ending, start, after)
	if got := slices.Compact(slices.Clone(pauses)); starts != 7 || pauses[0] != time.Second || pauses[6] != longestPause || !slices.IsSorted(got) {
		t.Errorf("%d starts, pauses of %v", starts, pauses)
	}
	want := []string{"ended: exit status 1", "does not start: out of memory", "ended: exit status 1"}
	if len(events.lines) != len(want) {
		t.Fatalf("events: %v", events.lines)
	}
	for i, w := range want {
		if !strings.Contains(events.lines[i], w) {
			t.Errorf("event %d: %s, want %s", i, events.lines[i], w)
		}
	}
}

func TestShortLog(t *testing.T) {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := &shortLog{f: f, limit: 10}
	for _, tt := range [][2]string{{"12345", "12345"}, {"67890", "1234567890"}, {"abc", "abc"}, {"defg", "abcdefg"}, {"hijk", "hijk"}} {
		if _, err := l.Write([]byte(tt[0])); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(f.Name()); err != nil || string(got) != tt[1] {
			t.Errorf("after %s: %q, %v", tt[0], got, err)
		}
	}
}

func TestKeepServerEndsWithTheMachine(t *testing.T) {
	ending, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		keepServer(&told{}, ending, func() (<-chan syscall.WaitStatus, error) { return make(chan syscall.WaitStatus), nil }, time.After)
	}()
	close(ending)
	select {
	case <-over:
	case <-time.After(5 * time.Second):
		t.Error("the server is still kept")
	}
}
