// Package keyring reads files of OpenPGP public keys.
package keyring

import (
	"bytes"
	"errors"
	"os"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// Read reads a file with at least one key, binary or armoured.
func Read(path string) (openpgp.EntityList, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN PGP")) {
		read = openpgp.ReadArmoredKeyRing
	}
	keys, err := read(bytes.NewReader(b))
	if err == nil && len(keys) == 0 {
		err = errors.New("no keys in it")
	}
	return keys, err
}
