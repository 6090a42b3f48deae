package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/secret"
)

// terminal is what passphrases are typed into.
type terminal interface {
	Console() string
	SendConsole(text string) error
}

// passphrases are the secrets luks-NAME that can be typed, by NAME.
func passphrases(s secret.Set) map[string]secret.Value {
	typed := map[string]secret.Value{}
	for _, name := range s.Names() {
		container, ok := strings.CutPrefix(name, "luks-")
		v, _ := s.Get(name)
		if v = secret.NewValue(strings.TrimRight(v.Reveal(), "\r\n")); ok && v.IsText() {
			typed[container] = v
		}
	}
	return typed
}

const (
	// promptPause is how often the console is looked at.
	promptPause = 200 * time.Millisecond
	// promptTries is how often a passphrase is typed: as often as the initramfs
	// asks for it.
	promptTries = 3
)

// unlock types the passphrases of the containers that a booting system asks for
// on its console, until ctx ends. It returns how often it typed.
func unlock(ctx context.Context, t terminal, keys map[string]secret.Value) (typed int, err error) {
	answered := map[string]int{}
	for len(keys) > 0 {
		console := t.Console()
		for name, key := range keys {
			asked := prompts(console, name)
			if asked <= answered[name] || answered[name] == promptTries {
				continue
			}
			answered[name]++
			typed++
			if err := t.SendConsole(key.Reveal() + "\n"); err != nil {
				return typed, err
			}
		}
		select {
		case <-ctx.Done():
			return typed, nil
		case <-time.After(promptPause):
		}
	}
	return typed, nil
}

// prompt is how the initramfs asks ("Please unlock disk NAME: ", cryptsetup's
// initramfs-tools hook), and systemd for what it opens later ("Please enter
// passphrase for disk DESCRIPTION (NAME): ", systemd-cryptsetup).
var prompt = lazyregexp.New(`(?:unlock|for) disk ([^\r\n]*):`)

// prompts counts how often a console has asked for a container's passphrase. An
// emulated serial port now and then doubles a letter, so that letters which stand
// next to each other twice count once.
func prompts(console, name string) (n int) {
	name = squeeze(name)
	for _, m := range prompt.FindAllStringSubmatch(squeeze(console), -1) {
		words := strings.FieldsFunc(m[1], func(r rune) bool { return strings.ContainsRune(" ()", r) })
		if slices.Contains(words, name) {
			n++
		}
	}
	return n
}

func squeeze(s string) string { return string(slices.Compact([]byte(s))) }
