package sshd

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// authorizedKey is a line of authorized_keys(5):
//
//	[options] type base64 [comment]
type authorizedKey struct {
	key     ssh.PublicKey
	comment string

	from       addrPatterns // nil: from everywhere
	expires    time.Time    // zero: never
	command    string       // instead of what the client wants; "" when it may choose
	env        []string     // of environment=
	pty        bool
	forwarding bool
	permitOpen []hostPort // nil: wherever the client wants
	noTouch    bool
}

type hostPort struct{ host, port string } // "*" for all

// maxLine is what OpenSSH bounds a line to as well.
const maxLine = 16 << 10

// parseAuthorizedKeys returns the keys of the lines that can be honoured, and
// why the others cannot.
func parseAuthorizedKeys(lines []string) (authorizedKeys, []error) {
	var keys authorizedKeys
	var refused []error
	for i, line := range lines {
		if t := strings.TrimSpace(line); t == "" || t[0] == '#' {
			continue
		}
		k, err := parseAuthorizedKey(line)
		if err != nil {
			refused = append(refused, fmt.Errorf("authorized key %d is refused: %w", i+1, err))
			continue
		}
		keys = append(keys, k)
	}
	return keys, refused
}

func parseAuthorizedKey(line string) (*authorizedKey, error) {
	if len(line) > maxLine {
		return nil, fmt.Errorf("the line has %d bytes, at most %d are allowed", len(line), maxLine)
	}
	if strings.ContainsAny(line, "\n\r\x00") {
		return nil, errors.New("it is more than one line")
	}
	k := &authorizedKey{pty: true, forwarding: true}
	line = strings.Trim(line, " \t")
	if kind, _ := cutField(line); !isKeyType(kind) {
		options, rest, err := cutOptions(line)
		if err != nil {
			return nil, err
		}
		if err := k.apply(options); err != nil {
			return nil, err
		}
		line = rest
	}
	return k, k.parseKey(line)
}

// parseKey reads "type base64 [comment]".
func (k *authorizedKey) parseKey(line string) error {
	kind, rest := cutField(line)
	encoded, comment := cutField(rest)
	if !slices.Contains(keyTypes, kind) {
		return fmt.Errorf("keys of type %.40q are not supported", kind)
	}
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return fmt.Errorf("decode the %s key: %w", kind, err)
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return fmt.Errorf("parse the %s key: %w", kind, err)
	}
	if key.Type() != kind {
		return fmt.Errorf("the key says that it is of type %s, the line says %s", key.Type(), kind)
	}
	k.key, k.comment = key, comment
	return nil
}

// isKeyType reports whether a word is a type and not options: also types that
// are refused, so that the reason is not an unknown option.
func isKeyType(word string) bool {
	return slices.Contains(keyTypes, word) || strings.HasPrefix(word, "ssh-") ||
		strings.HasPrefix(word, "ecdsa-") || strings.HasPrefix(word, "sk-")
}

func cutField(s string) (field, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// option is one of the comma-separated ones.
type option struct {
	name     string // in lower case: OpenSSH does not care
	value    string // without quotes
	hasValue bool
}

// cutOptions splits the options off a line. A value is in double quotes, in
// which only \" stands for another character; a space outside of quotes ends
// the options.
func cutOptions(line string) (options []option, rest string, err error) {
	for {
		var o option
		if o, line, err = cutOption(line); err != nil {
			return nil, "", err
		}
		options = append(options, o)
		if line == "" {
			return nil, "", errors.New("it has no key")
		}
		if line[0] != ',' {
			return options, strings.TrimLeft(line, " \t"), nil
		}
		line = line[1:]
	}
}

// cutOption leaves what follows the option: a comma, a space or nothing.
func cutOption(line string) (option, string, error) {
	end := strings.IndexAny(line, "=, \t\"")
	if end < 0 {
		end = len(line)
	}
	o := option{name: strings.ToLower(line[:end])}
	if o.name == "" {
		return o, "", errors.New("an option has no name")
	}
	rest := line[end:]
	value, ok := strings.CutPrefix(rest, "=")
	if !ok {
		if strings.HasPrefix(rest, `"`) {
			return o, "", fmt.Errorf("option %.40q: a quote without =", o.name)
		}
		return o, rest, nil
	}
	o.hasValue = true
	value, ok = strings.CutPrefix(value, `"`)
	if !ok {
		return o, "", fmt.Errorf("option %.40q: its value is not in quotes", o.name)
	}
	var text strings.Builder
	for i := 0; i < len(value); i++ {
		switch {
		case strings.HasPrefix(value[i:], `\"`):
			text.WriteByte('"')
			i++
		case value[i] == '"':
			o.value = text.String()
			rest = value[i+1:]
			if rest != "" && !strings.ContainsAny(rest[:1], ", \t") {
				return o, "", fmt.Errorf("option %.40q: text follows its closing quote", o.name)
			}
			return o, rest, nil
		default:
			text.WriteByte(value[i])
		}
	}
	return o, "", fmt.Errorf("option %.40q: its quote does not end", o.name)
}
