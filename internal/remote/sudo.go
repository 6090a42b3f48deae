package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrPassword is wrapped by the error of Sudo for a password that is wrong.
var ErrPassword = errors.New("the password is wrong")

// asks is how often Sudo asks, as sudo itself does.
const asks = 3

// Sudo makes sure that what needs root has it, after Look. ask is called when sudo
// wants a password, again when it was wrong; nobody else on either machine sees it:
// it goes through the connection to sudo's standard input.
func (s *Session) Sudo(ctx context.Context, ask func() (string, error)) error {
	switch {
	case s.machine.Root:
		return nil
	case s.machine.Sudo == SudoNone:
		return fmt.Errorf("become root on %s: %s is not root, and there is no sudo", s.host, s.machine.User)
	}
	var err error
	for range asks {
		password, askErr := ask()
		if askErr != nil {
			return fmt.Errorf("become root on %s: %w", s.host, askErr)
		}
		if strings.ContainsAny(password, "\n\x00") {
			return fmt.Errorf("become root on %s: a password is one line", s.host)
		}
		s.password, s.machine.Root = []byte(password+"\n"), true
		// With nothing behind the password: sudo would take that for the next attempt.
		if _, err = s.asRoot(ctx, ":", nil); err == nil {
			return nil
		}
		clear(s.password)
		s.password, s.machine.Root = nil, false
		if !wrongPassword(err) {
			return fmt.Errorf("become root on %s: %w", s.host, err)
		}
	}
	return fmt.Errorf("become root on %s: %w", s.host, errors.Join(ErrPassword, err))
}

// wrongPassword reads what sudo, or sudo-rs, says.
func wrongPassword(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Exit == 255 {
		return false
	}
	text := strings.ToLower(e.Stderr)
	return strings.Contains(text, "try again") || strings.Contains(text, "incorrect password") || strings.Contains(text, "incorrect authentication")
}

// asRoot is Run for what needs root, where that is possible.
func (s *Session) asRoot(ctx context.Context, script string, stdin io.Reader) ([]byte, error) {
	switch {
	case s.password != nil:
		if stdin == nil {
			stdin = bytes.NewReader(nil)
		}
		// sudo reads its line byte by byte: what follows is the script's. Without -k
		// it might ask nothing, and the script would get the password.
		stdin = io.MultiReader(bytes.NewReader(s.password), stdin)
		script = "LC_ALL=C sudo -k -S -p '' /bin/sh -c " + quote(script)
	case s.machine.Sudo == SudoFree:
		script = "sudo -k -n /bin/sh -c " + quote(script)
	}
	return s.Run(ctx, script, stdin)
}
