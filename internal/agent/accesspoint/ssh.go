package accesspoint

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/agent/ramsys"
	"github.com/victorinix/vic/internal/agent/ramsys/sshd"
)

// ssh serves SSH on the address of the Ethernet side: for the given keys, and with
// none for nobody. The host key is made at the first start and kept.
func (a appliance) ssh(ctx context.Context) error {
	address, err := need("lan", "address")
	if err != nil {
		return err
	}
	if len(a.options.SSHKeys) == 0 {
		log.Print("nobody may log in: no key was given")
		<-ctx.Done()
		return nil
	}
	keys, err := hostKeys(stateDir)
	if err != nil {
		return err
	}
	log.Printf("the host key is %s", ssh.FingerprintSHA256(keys[0].PublicKey()))
	return sshd.Serve(ctx, sshd.Config{
		Listen: []string{net.JoinHostPort(address, "22")}, HostKeys: keys, AuthorizedKeys: a.options.SSHKeys,
		Shell: []string{shell()}, Env: []string{"PATH=" + ramsys.Path, "HOME=/root", "LC_ALL=C.UTF-8"}, Log: log.Printf,
	})
}

// shell is that of the RAM system, or of the system image.
func shell() string {
	for _, path := range []string{"/bbin/gosh", "/usr/bin/sh"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return "/bin/sh"
}

// hostKeys loads the key of dir/ssh, or makes one there; without a partition that
// keeps it, it lives as long as the machine runs.
func hostKeys(dir string) ([]ssh.Signer, error) {
	dir = filepath.Join(dir, "ssh")
	if keys, err := sshd.LoadHostKeys(dir); err == nil && len(keys) > 0 {
		return keys, nil
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make SSH host key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, fmt.Errorf("make SSH host key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make SSH host key: %w", err)
	}
	if err := writeDurably(filepath.Join(dir, "ssh_host_ed25519_key"), pem.EncodeToMemory(block)); err != nil {
		return nil, fmt.Errorf("make SSH host key: %w", err)
	}
	return sshd.LoadHostKeys(dir)
}

// writeDurably writes a file for root alone that is there as a whole or not at all,
// whenever the power is cut.
func writeDurably(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
