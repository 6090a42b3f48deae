// Package agefile reads secrets from files that age(1) encrypted. It is apart
// from package secret so that what runs on targets does not carry it.
package agefile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"github.com/goccy/go-yaml"

	"github.com/victorinix/vic/internal/secret"
)

// Reader reads such files, armored or not: YAML or JSON, a mapping of names to
// values.
//
//	age -R ~/.ssh/id_ed25519.pub -o secrets.age secrets.yaml
type Reader struct {
	// Identities are files of the keys that may decrypt: age's own, as
	// age-keygen(1) writes them, or an SSH private key without a passphrase.
	Identities []string
	// Source reads at least MaxFile of a file.
	Source secret.Source
	// Passphrase asks the person who is there for the passphrase of a file that
	// was encrypted with one; nil: nobody is there.
	Passphrase func(file string) (secret.Value, error)
}

// Read decrypts a file. Its errors do not repeat what is in it.
func (r Reader) Read(file string) (secret.Set, error) {
	sealed, err := r.Source.ReadFile(file)
	if err != nil {
		return secret.Set{}, fmt.Errorf("read secrets: %w", err)
	}
	ids, err := r.identities(file)
	if err != nil {
		return secret.Set{}, err
	}
	if len(ids) == 0 {
		return secret.Set{}, fmt.Errorf("read secrets of %s: no identity to decrypt it with: give --identity FILE (of age-keygen, or an SSH private key)", file)
	}
	body, err := unarmored(file, sealed)
	if err != nil {
		return secret.Set{}, err
	}
	clear, err := age.Decrypt(body, ids...)
	if err != nil {
		return secret.Set{}, fmt.Errorf("decrypt secrets of %s: %w", file, err)
	}
	text, err := io.ReadAll(io.LimitReader(clear, maxDocument+1))
	switch {
	case err != nil:
		return secret.Set{}, fmt.Errorf("decrypt secrets of %s: %w", file, err)
	case len(text) > maxDocument:
		return secret.Set{}, fmt.Errorf("decrypt secrets of %s: more than %d bytes", file, maxDocument)
	}
	return parseDocument(file, text)
}

// intro is how every file of age begins (C2SP age, "Header").
const intro = "age-encryption.org/v1\n"

// unarmored takes off the text form, where a file has it. It is for age to say
// what is wrong with a file of age; of others age repeats the beginning, and
// that may be secrets that somebody forgot to encrypt.
func unarmored(file string, b []byte) (io.Reader, error) {
	var r io.Reader = bytes.NewReader(b)
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte(armor.Header)) {
		r = armor.NewReader(r)
	}
	buffered := bufio.NewReader(r)
	if head, err := buffered.Peek(len(intro)); err != nil || string(head) != intro {
		return nil, fmt.Errorf("decrypt secrets of %s: it was not encrypted by age", file)
	}
	return buffered, nil
}

// parseDocument reads the mapping. YAML's own errors quote the text, and a
// value of the wrong type is a secret too: they are told by name or not at all.
func parseDocument(file string, text []byte) (secret.Set, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return secret.Set{}, fmt.Errorf("read secrets of %s: what was decrypted is no YAML mapping of names to values", file)
	}
	values := map[string]string{}
	var errs []error
	for name, v := range doc {
		if s, ok := v.(string); ok {
			values[name] = s
		} else {
			errs = append(errs, errors.New("a value is no string: put it in quotes"))
		}
	}
	set, err := secret.FromMap(values)
	if err := errors.Join(append(errs, err)...); err != nil {
		return secret.Set{}, fmt.Errorf("read secrets of %s: %w", file, err)
	}
	return set, nil
}

// maxDocument is the largest document that is read, and MaxFile the largest
// encrypted one, in bytes.
const (
	maxDocument = 1 << 20
	MaxFile     = 2 << 20
)

// identities are those of the files, and the passphrase that a person types
// when the file wants one.
func (r Reader) identities(file string) ([]age.Identity, error) {
	var ids []age.Identity
	for _, name := range r.Identities {
		b, err := r.Source.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read identity: %w", err)
		}
		found, err := parseIdentity(name, b)
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	if r.Passphrase != nil {
		ids = append(ids, passphrase{file, r.Passphrase})
	}
	return ids, nil
}

func parseIdentity(name string, b []byte) ([]age.Identity, error) {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN")) {
		id, err := agessh.ParseIdentity(b)
		if err != nil {
			return nil, fmt.Errorf("read identity %s: as an SSH private key: %w", name, sshReason(err))
		}
		return []age.Identity{id}, nil
	}
	ids, err := age.ParseIdentities(bufio.NewReader(bytes.NewReader(b)))
	if err != nil { // it may quote a line of the file
		return nil, fmt.Errorf("read identity %s: it is neither a key file of age-keygen nor an SSH private key", name)
	}
	return ids, nil
}

// sshReason tells the common case apart.
func sshReason(err error) error {
	if strings.Contains(err.Error(), "passphrase") {
		return errors.New("it is protected by a passphrase, which vic does not ask for: use an age identity")
	}
	return err
}

// passphrase asks only when the file was encrypted with one.
type passphrase struct {
	file string
	ask  func(string) (secret.Value, error)
}

func (p passphrase) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != "scrypt" {
		return nil, age.ErrIncorrectIdentity
	}
	v, err := p.ask(p.file)
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(v.Reveal())
	if err != nil {
		return nil, err
	}
	return id.Unwrap(stanzas)
}
