package cli

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/victorinix/vic/internal/secret"
)

func TestPrompts(t *testing.T) {
	const boot = "Begin: Running /scripts/local-block ... done.\r\n"
	for _, tt := range []struct {
		console, name string
		want          int
	}{
		{boot, "cryptroot", 0},
		{boot + "Please unlock disk cryptroot: ", "cryptroot", 1},
		{boot + "Please unlock disk crypttroot: ", "cryptroot", 1}, // a doubled letter
		{boot + "Please unlock disk cryptroot: \r\nPlease unlock disk cryptroot: ", "cryptroot", 2},
		{boot + "Please unlock disk cryptroot: ", "root", 0},
		{boot + "Please enter passphrase for disk QEMU HARDDISK (data): (press TAB for no echo) ", "data", 1},
		{boot + "Please enter passphrase for disk data: ", "data", 1},
		{boot + "cryptsetup: cryptroot: set up successfully\r\n", "cryptroot", 0},
	} {
		if got := prompts(tt.console, tt.name); got != tt.want {
			t.Errorf("%q asks for %s %d times, want %d", tt.console, tt.name, got, tt.want)
		}
	}
}

// asking is a console that asks for the next of some containers whenever it was
// answered, and ends the test's context when all of them are open.
type asking struct {
	mu    sync.Mutex
	names []string
	shown string
	typed []string
	done  func()
	err   error
}

func (a *asking) Console() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.typed) == strings.Count(a.shown, ":") {
		if len(a.names) == 0 {
			a.done()
			return a.shown
		}
		a.shown += "Please unlock disk " + a.names[0] + ": \r\n"
		a.names = a.names[1:]
	}
	return a.shown
}

func (a *asking) SendConsole(text string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.typed = append(a.typed, text)
	return a.err
}

func TestUnlock(t *testing.T) {
	keys := passphrases(secret.NewSet(map[string]string{
		"luks-a": "first\n", "luks-b": "second", "password": "third", "luks-c": "no\x00text"}))
	if got := slices.Sorted(maps.Keys(keys)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("passphrases of %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := &asking{names: []string{"b", "a", "a"}, done: cancel}
	n, err := unlock(ctx, a, keys)
	if want := []string{"second\n", "first\n", "first\n"}; err != nil || n != 3 || !slices.Equal(a.typed, want) {
		t.Errorf("typed %d times: %q (%v), want %q", n, a.typed, err, want)
	}
	gone := &asking{names: []string{"a"}, err: errors.New("gone")}
	if _, err := unlock(t.Context(), gone, keys); err == nil {
		t.Error("typing into nothing succeeds")
	}
}
