package remote

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// askKeys prints what the SSH server lets the user log in with: the files that it
// is configured with where it can be asked, and those that are usual.
const askKeys = `u=%s h=%s
files=$(PATH=$PATH:/usr/sbin:/sbin sshd -T -C "user=$u,host=vic,addr=127.0.0.1" 2>/dev/null | sed -n 's/^authorizedkeysfile //p')
set -f
for f in ${files:-.ssh/authorized_keys .ssh/authorized_keys2 /etc/ssh/authorized_keys.d/%%u}; do
  f=$(printf '%%s\n' "$f" | sed -e "s|%%h|$h|g" -e "s|%%u|$u|g")
  case $f in /*) ;; *) f=$h/$f;; esac
  [ ! -f "$f" ] || { echo; cat "$f"; echo; }
done`

// AuthorizedKeys are those with which the logged-in user may log in without
// restrictions, as in authorized_keys(5). One with options, such as a forced
// command, is none that may become root.
func (s *Session) AuthorizedKeys(ctx context.Context) ([]string, error) {
	out, err := s.asRoot(ctx, fmt.Sprintf(askKeys, quote(s.machine.User), quote(s.machine.Home)), nil)
	if err != nil {
		return nil, fmt.Errorf("read the authorized keys of %s on %s: %w", s.machine.User, s.host, err)
	}
	return unrestricted(string(out)), nil
}

func unrestricted(text string) []string {
	var keys []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		_, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err == nil && len(options) == 0 && !slices.Contains(keys, line) {
			keys = append(keys, line)
		}
	}
	return keys
}
