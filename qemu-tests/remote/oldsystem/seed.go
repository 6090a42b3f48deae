package oldsystem

import (
	"archive/tar"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/qemu-tests/remote/network"
)

// prepare makes the machine's disk, with what only this machine has.
func (s *System) prepare(t *testing.T) error {
	dir := t.TempDir()
	s.Disk, s.Key, s.SSHConfig = filepath.Join(dir, "disk.img"), filepath.Join(dir, "key"), filepath.Join(dir, "ssh_config")
	if err := s.copyBase(t, s.Disk); err != nil {
		return err
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	s.MachineID = fmt.Sprintf("%x", id)
	var b bytes.Buffer
	seed := seed{tar.NewWriter(&b)}
	if err := errors.Join(s.identity(seed), s.networkFiles(seed), seed.Close()); err != nil {
		return err
	}
	return s.unpack(t, &b)
}

// unpack writes an archive into the root file system. The mount and its loop device
// go with the processes that made them.
func (s *System) unpack(t *testing.T, archive *bytes.Buffer) error {
	where, fs := "offset=1MiB,sizelimit=2900MiB", s.FS
	switch {
	case s.FS == "lvm":
		where, fs = "offset=257MiB,sizelimit=2644MiB", "ext4"
	case s.Firmware == "uefi":
		where = "offset=129MiB,sizelimit=2900MiB"
	}
	_, err := (tool.Exec{}).Run(t.Context(), tool.Cmd{
		Name: "unshare", Args: []string{"--mount", "--propagation", "private", "sh", "-ec",
			`mount -t "$4" -o "loop,$3" "$1" "$2"; tar -x --numeric-owner --no-overwrite-dir -f - -C "$2"; umount "$2"`,
			"seed", s.Disk, t.TempDir(), where, fs}, Stdin: archive,
	})
	if err != nil {
		return fmt.Errorf("write into %s: %w", s.Disk, err)
	}
	return nil
}

// identity writes the names and keys by which the machine is known.
func (s *System) identity(seed seed) error {
	_, user, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	private, public, err := marshalKey(user)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.Key, private, 0o600); err != nil {
		return err
	}
	err = errors.Join(
		seed.file("etc/hostname", s.Name+"\n"),
		seed.file("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 "+s.Name+"\n::1 localhost ip6-localhost\n"),
		seed.file("etc/machine-id", s.MachineID+"\n"),
		seed.entry("root/.ssh/", 0o700, 0, ""),
		seed.entry("root/.ssh/authorized_keys", 0o600, 0, string(ssh.MarshalAuthorizedKey(public))),
		seed.entry("home/admin/.ssh/", 0o700, adminID, ""),
		seed.entry("home/admin/.ssh/authorized_keys", 0o600, adminID, string(ssh.MarshalAuthorizedKey(public))),
	)
	for path, content := range s.Files {
		err = errors.Join(err, seed.file(path, content))
	}
	return errors.Join(err, s.hostKeys(seed))
}

// adminID is what Debian gives its first user.
const adminID = 1000

// hostKeys makes those that Debian's openssh-server would have made.
func (s *System) hostKeys(seed seed) error {
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	c, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	for _, k := range []struct {
		name string
		key  crypto.PrivateKey
	}{{"ed25519", e}, {"ecdsa", c}, {"rsa", r}} {
		private, public, err := marshalKey(k.key)
		if err != nil {
			return err
		}
		path := "etc/ssh/ssh_host_" + k.name + "_key"
		err = errors.Join(seed.entry(path, 0o600, 0, string(private)), seed.file(path+".pub", string(ssh.MarshalAuthorizedKey(public))))
		if err != nil {
			return err
		}
		s.HostKeys = append(s.HostKeys, public)
	}
	return nil
}

// marshalKey is a key as ssh-keygen(1) writes it, and its public half.
func marshalKey(key crypto.PrivateKey) ([]byte, ssh.PublicKey, error) {
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(block), signer.PublicKey(), nil
}

// networkFiles tell the system about its network.
func (s *System) networkFiles(seed seed) error {
	place := s.Network.Place
	if s.Release == "bookworm" {
		var names strings.Builder
		for _, n := range place.Nameservers {
			fmt.Fprintf(&names, "nameserver %s\n", n)
		}
		return errors.Join(seed.file("etc/network/interfaces", place.Interfaces), seed.file("etc/resolv.conf", names.String()))
	}
	var err error
	for name, text := range place.Networkd {
		err = errors.Join(err, seed.file("etc/systemd/network/"+name, text))
	}
	return err
}

// writeSSHConfig is for once the machine runs: its port is known then.
func (s *System) writeSSHConfig() error {
	host, port := "", "22"
	if s.Network.Kind == network.User {
		var err error
		if host, port, err = net.SplitHostPort(s.Addr(0, 22)); err != nil {
			return err
		}
	} else {
		host = s.Network.Place.Addresses[0].String()
	}
	return s.writeConfig(s.SSHConfig, host, port, s.Network.ProxyCommand())
}

// writeConfig writes a configuration of ssh(1), and the keys that it trusts.
func (s *System) writeConfig(path, host, port, more string) error {
	known := ""
	for _, k := range s.HostKeys {
		known += s.Name + " " + string(ssh.MarshalAuthorizedKey(k))
	}
	knownPath := filepath.Join(filepath.Dir(path), "known_hosts")
	text := fmt.Sprintf("Host %s\nHostname %s\nPort %s\nHostKeyAlias %s\nUser root\nIdentityFile %s\nIdentitiesOnly yes\nBatchMode yes\nUserKnownHostsFile %s\nStrictHostKeyChecking yes\n",
		s.Name, host, port, s.Name, s.Key, knownPath) + more
	return errors.Join(os.WriteFile(knownPath, []byte(known), 0o600), os.WriteFile(path, []byte(text), 0o600))
}

// seed is an archive of files for the system.
type seed struct{ *tar.Writer }

func (s seed) file(path, content string) error { return s.entry(path, 0o644, 0, content) }

// entry adds a file, or a folder (path with a slash at the end).
func (s seed) entry(path string, mode int64, owner int, content string) error {
	h := &tar.Header{Name: path, Mode: mode, Uid: owner, Gid: owner, Size: int64(len(content))}
	if strings.HasSuffix(path, "/") {
		h.Typeflag = tar.TypeDir
	}
	if err := s.WriteHeader(h); err != nil {
		return fmt.Errorf("seed %s: %w", path, err)
	}
	_, err := s.Write([]byte(content))
	return err
}
