package secret

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"

	"github.com/GehirnInc/crypt/sha512_crypt"
)

// rounds of sha512-crypt: about 0.1 s on one core. The default of 5000 is
// from 2007.
const rounds = 200_000

// The shapes of crypt(5) hashes that are taken as they are: sha512-crypt and
// yescrypt. Anything else, "$6$hunter2" included, is a password.
const (
	sha512Shape   = `\$6\$(rounds=[1-9][0-9]{3,8}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}`
	yescryptShape = `\$y\$[./0-9A-Za-z]+\$[./0-9A-Za-z]{0,86}\$[./0-9A-Za-z]{43}`
)

// HashPassword makes the second field of shadow(5): sha512-crypt with a random
// salt. A value that is already a hash ($6$ or $y$) is kept. The hash is
// itself a secret: it can be attacked offline.
func HashPassword(password Value) (Value, error) {
	text := password.Reveal()
	if regexp.MustCompile(`^(?:` + sha512Shape + `|` + yescryptShape + `)$`).MatchString(text) {
		return password, nil
	}
	switch {
	case text == "":
		return Value{}, errors.New("hash password: it is empty")
	case !password.IsText():
		return Value{}, errors.New("hash password: it has control characters or is no UTF-8, and could not be typed at a login prompt")
	}
	hash, err := sha512_crypt.New().Generate([]byte(text), fmt.Appendf(nil, "$6$rounds=%d$%s", rounds, salt()))
	if err != nil {
		return Value{}, fmt.Errorf("hash password: %w", err)
	}
	return NewValue(hash), nil
}

// salt is 16 characters of crypt's alphabet: 96 random bits.
func salt() string {
	const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := make([]byte, 16)
	rand.Read(b) // never fails: see crypto/rand
	for i := range b {
		b[i] = alphabet[b[i]%64]
	}
	return string(b)
}
