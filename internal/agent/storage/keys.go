package storage

import (
	"fmt"
	"strings"

	plan "github.com/victorinix/vic/internal/plan/storage"
)

// key is the part of a secret that a container is opened with.
func (e *Executor) key(k plan.KeyFile) ([]byte, error) {
	v, ok := e.Secrets.Get(k.Secret)
	if !ok {
		return nil, fmt.Errorf("the secret %s is not given", k.Secret)
	}
	b, err := keyBytes(k, v.Reveal())
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", k.Secret, err)
	}
	return b, nil
}

func (e *Executor) keys(list []plan.KeyFile) ([][]byte, error) {
	var all [][]byte
	for _, k := range list {
		b, err := e.key(k)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// keyBytes cuts the key out of a key file, as cryptsetup does with
// --keyfile-offset and --keyfile-size; line breaks at the end of a password
// are its editor's.
func keyBytes(k plan.KeyFile, text string) ([]byte, error) {
	if k.Password {
		text = strings.TrimRight(text, "\r\n")
	}
	if k.Offset > len(text) || k.Size > len(text)-k.Offset {
		return nil, fmt.Errorf("it has %d bytes, %d from byte %d on are wanted", len(text), max(k.Size, 1), k.Offset)
	}
	text = text[k.Offset:]
	if k.Size > 0 {
		text = text[:k.Size]
	}
	if text == "" {
		return nil, fmt.Errorf("it is empty")
	}
	return []byte(text), nil
}
