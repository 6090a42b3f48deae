package sshd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// LoadHostKeys reads the private keys ssh_host_*_key of dir, in any format that
// ssh-keygen(1) writes. Keys that cannot be used (encrypted, DSA, damaged) are
// in the error, one each; the others are returned all the same, as a machine
// that one of them identifies can still be reached.
func LoadHostKeys(dir string) ([]ssh.Signer, error) {
	names, err := filepath.Glob(filepath.Join(dir, "ssh_host_*_key"))
	if err != nil {
		return nil, fmt.Errorf("load host keys: %w", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("load host keys: no ssh_host_*_key in %s: %w", dir, fs.ErrNotExist)
	}
	var keys []ssh.Signer
	var errs []error
	for _, name := range names {
		key, err := loadHostKey(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("load host key %s: %w", name, err))
			continue
		}
		keys = append(keys, key)
	}
	return keys, errors.Join(errs...)
}

func loadHostKey(name string) (ssh.Signer, error) {
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, errors.New("it is encrypted, and nobody is there to decrypt it")
	}
	if err != nil {
		return nil, err
	}
	return modernSigner(key)
}

// modernSigner is key without the signatures that nobody should rely on.
func modernSigner(key ssh.Signer) (ssh.Signer, error) {
	kind := key.PublicKey().Type()
	switch kind {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return key, nil
	case ssh.KeyAlgoRSA:
		signer, ok := key.(ssh.AlgorithmSigner)
		if !ok {
			return nil, errors.New("this RSA key cannot sign with SHA-2")
		}
		return ssh.NewSignerWithAlgorithms(signer, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
	}
	return nil, fmt.Errorf("host keys of type %s are not supported", kind)
}
