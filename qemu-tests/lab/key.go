package lab

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"os"
	"testing"

	"golang.org/x/crypto/ssh"
)

// MakeKey makes an SSH key in a file, and its public half in the file with .pub
// behind its name.
func MakeKey(t *testing.T, path string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(key), 0o644), os.WriteFile(path, pem.EncodeToMemory(block), 0o600)); err != nil {
		t.Fatal(err)
	}
}
