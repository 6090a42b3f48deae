package install

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/agent/storage"
)

// oldKey is an SSH host key of the system before.
type oldKey struct {
	name    string // ssh_host_ed25519_key
	private []byte // as it was found
	public  []byte // a line of authorized_keys
}

// oldHostKeys reads the host keys in a directory; there has to be one.
func oldHostKeys(dir string) ([]oldKey, error) {
	names, err := filepath.Glob(filepath.Join(dir, "ssh_host_*_key"))
	if err == nil && (dir == "" || len(names) == 0) {
		err = errors.New("none was handed over")
	}
	if err != nil {
		return nil, fmt.Errorf("read SSH host keys: %w", err)
	}
	var keys []oldKey
	for _, name := range names {
		private, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read SSH host key: %w", err)
		}
		key, err := ssh.ParsePrivateKey(private)
		if err != nil {
			return nil, fmt.Errorf("read SSH host key %s: %w", name, err)
		}
		keys = append(keys, oldKey{filepath.Base(name), private, ssh.MarshalAuthorizedKey(key.PublicKey())})
	}
	return keys, nil
}

// checkHostKeys refuses keys that the installed system could not have.
func checkHostKeys(dir string) error {
	if _, err := oldHostKeys(dir); err != nil {
		return storage.Refuse("%w", err)
	}
	return nil
}

// takeHostKeys writes the keys of the system before into the target, with the
// modes that sshd(8) asks for.
func (t target) takeHostKeys(dir string) error {
	keys, err := oldHostKeys(dir)
	if err != nil {
		return err
	}
	for _, k := range keys {
		name := path.Join(sshDir, k.name)
		err := errors.Join(
			t.put(name, file{mode: 0o600, content: bytes.NewReader(k.private)}),
			t.put(name+".pub", file{mode: 0o644, content: bytes.NewReader(k.public)}))
		if err != nil {
			return fmt.Errorf("take SSH host key over: %w", err)
		}
	}
	return nil
}
