package oldsystem

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/remote/network"
)

// What ssh(1) makes of the configuration: one host, its keys and no others.
func TestSSHConfig(t *testing.T) {
	tooltest.Need(t, "ssh", "ssh-keygen")
	dir := t.TempDir()
	s := &System{Config: Config{Network: network.Start(t, network.User)}.withDefaults(), SSHConfig: filepath.Join(dir, "ssh_config"), Key: filepath.Join(dir, "key")}
	if err := s.identity(seed{tar.NewWriter(&bytes.Buffer{})}); err != nil {
		t.Fatal(err)
	}
	config, err := s.Through("127.0.0.1:2022")
	if err != nil {
		t.Fatal(err)
	}
	got := tooltest.Run(t, "ssh", "-F", config, "-G", "-l", Admin, "old")
	for _, want := range []string{"hostname 127.0.0.1\n", "port 2022\n", "user admin\n", "hostkeyalias old\n", "identityfile " + s.Key + "\n", "stricthostkeychecking true\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("ssh lacks %q:\n%s", want, got)
		}
	}
	known := tooltest.Run(t, "ssh-keygen", "-l", "-F", "old", "-f", filepath.Join(dir, "known_hosts"))
	for _, k := range s.HostKeys {
		if !strings.Contains(known, ssh.FingerprintSHA256(k)) {
			t.Errorf("%s %s is not known:\n%s", k.Type(), ssh.FingerprintSHA256(k), known)
		}
	}
	if len(s.HostKeys) != 3 {
		t.Errorf("%d host keys", len(s.HostKeys))
	}
}

// What is written into a disk is there, with owner and mode.
func TestSeed(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "mke2fs", "debugfs", "unshare")
	disk := tooltest.Image(t, 16<<20)
	tooltest.Run(t, "mke2fs", "-q", "-t", "ext4", "-E", "offset=1048576", disk, "12M")
	s := &System{Config: Config{}.withDefaults(), Disk: disk}
	var b bytes.Buffer
	w := seed{tar.NewWriter(&b)}
	if err := errors.Join(w.entry("home/", 0o755, 0, ""), w.entry("home/key", 0o600, adminID, "secret\n"), w.file("name", "old\n"), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.unpack(t, &b); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"stat /home/key": "Mode:  0600", "stat home/key": "User:  1000", "cat /home/key": "secret\n", "cat /name": "old\n",
	} {
		if got := tooltest.Run(t, "debugfs", "-R", command, disk+"?offset=1048576"); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	if loops, err := os.ReadFile("/proc/mounts"); err != nil || strings.Contains(string(loops), disk) {
		t.Errorf("%s is still mounted, %v", disk, err)
	}
}
