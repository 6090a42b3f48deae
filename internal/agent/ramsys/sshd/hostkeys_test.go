package sshd

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func keygen(t *testing.T, args ...string) {
	t.Helper()
	run := tooltest.Need(t, "ssh-keygen")
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "ssh-keygen", Args: append([]string{"-q"}, args...)}); err != nil {
		t.Fatal(err)
	}
}

// Keys as ssh-keygen makes them, in its formats.
func TestLoadHostKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(kind string) string { return filepath.Join(dir, "ssh_host_"+kind+"_key") }
	keygen(t, "-t", "ed25519", "-N", "", "-f", file("ed25519"))
	keygen(t, "-t", "ecdsa", "-b", "384", "-N", "", "-f", file("ecdsa"))
	keygen(t, "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", file("rsa"))
	keys, err := LoadHostKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, k := range keys {
		types = append(types, k.PublicKey().Type())
		pub, err := os.ReadFile(file(map[string]string{
			ssh.KeyAlgoED25519: "ed25519", ssh.KeyAlgoECDSA384: "ecdsa", ssh.KeyAlgoRSA: "rsa",
		}[k.PublicKey().Type()]) + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		if want := bytes.Fields(pub)[1]; !strings.Contains(keyLine(k.PublicKey()), string(want)) {
			t.Errorf("%s is not the key of its file", keyLine(k.PublicKey()))
		}
		if rsa, ok := k.(ssh.MultiAlgorithmSigner); k.PublicKey().Type() == ssh.KeyAlgoRSA &&
			(!ok || !slices.Equal(rsa.Algorithms(), []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})) {
			t.Errorf("the RSA key signs with more than SHA-2")
		}
	}
	if want := []string{ssh.KeyAlgoECDSA384, ssh.KeyAlgoED25519, ssh.KeyAlgoRSA}; !slices.Equal(types, want) {
		t.Errorf("types %s, want %s", types, want)
	}
}

// What cannot be used is said, and the rest is there all the same.
func TestHostKeysThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keygen(t, "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "ssh_host_ed25519_key"))
	keygen(t, "-t", "ecdsa", "-N", "secret", "-f", filepath.Join(dir, "ssh_host_ecdsa_key"))
	if err := os.WriteFile(filepath.Join(dir, "ssh_host_rsa_key"), []byte("-----BEGIN NOTHING-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := LoadHostKeys(dir)
	if len(keys) != 1 || keys[0].PublicKey().Type() != ssh.KeyAlgoED25519 {
		t.Errorf("got %v", keys)
	}
	if err == nil || !strings.Contains(err.Error(), "ssh_host_ecdsa_key: it is encrypted") || !strings.Contains(err.Error(), "ssh_host_rsa_key") {
		t.Errorf("got %v", err)
	}
	if _, err := LoadHostKeys(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
