package enter

import (
	"bytes"
	"os"
	"testing"
)

func TestIdentityOfThisMachine(t *testing.T) {
	s, _, _, _ := system(t)
	id, err := s.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(s.Root + "/etc/ssh/ssh_host_ed25519_key")
	if err != nil {
		t.Fatal(err)
	}
	if got := id.Keys["/vic/ssh/ssh_host_ed25519_key"]; len(id.Keys) != 1 || !bytes.Equal(got, want) || id.Made || id.MachineID != "0123456789abcdef0123456789abcdef" {
		t.Errorf("%d keys, made %v, machine %s", len(id.Keys), id.Made, id.MachineID)
	}
}
