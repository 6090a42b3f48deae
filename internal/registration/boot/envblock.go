package boot

import (
	"errors"
	"fmt"
	"strings"
)

// BlockSize is the size of GRUB's environment block, in bytes
// (GRUB_ENVBLK_... in include/grub/lib/envblk.h, "The GRUB environment block" in
// its manual). The file is never made longer or shorter: GRUB writes to the
// sectors that it has.
//
//	# GRUB Environment Block\n
//	saved_entry=0\n
//	next_entry=vic\n
//	########...            up to 1024 bytes
//
// A backslash and a line break in a value have a backslash before them.
const BlockSize = 1024

const blockSignature = "# GRUB Environment Block\n"

// block is an environment block: lines in their order, as they are.
type block []string

// parseBlock reads the text of a block.
func parseBlock(text string) (block, error) {
	rest, ok := strings.CutPrefix(text, blockSignature)
	if !ok || len(text) != BlockSize {
		return nil, fmt.Errorf("%d bytes are no GRUB environment block", len(text))
	}
	var b block
	for rest != "" {
		n := lineEnd(rest)
		if n < 0 {
			break
		}
		if rest[0] != '#' { // a comment, as GRUB 2.12 writes one after the signature, stays too
			b = append(b, rest[:n])
		} else if strings.Trim(rest[:n], "#") != "" {
			b = append(b, rest[:n])
		}
		rest = rest[n+1:]
	}
	if strings.Trim(rest, "#") != "" {
		return nil, errors.New("the last line of the GRUB environment block has no end")
	}
	return b, nil
}

// lineEnd is where the first line ends that is not escaped; -1: nowhere.
func lineEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '\n':
			return i
		}
	}
	return -1
}

func (b block) encode() (string, error) {
	text := blockSignature
	for _, line := range b {
		text += line + "\n"
	}
	if len(text) > BlockSize {
		return "", fmt.Errorf("the GRUB environment block is full: %d bytes of %d", len(text), BlockSize)
	}
	return text + strings.Repeat("#", BlockSize-len(text)), nil
}

var (
	escape   = strings.NewReplacer(`\`, `\\`, "\n", "\\\n")
	unescape = strings.NewReplacer(`\\`, `\`, "\\\n", "\n")
)

func (b block) find(name string) int {
	for i, line := range b {
		if strings.HasPrefix(line, name+"=") {
			return i
		}
	}
	return -1
}

// get returns the value of a variable; nil: it is not set.
func (b block) get(name string) *string {
	i := b.find(name)
	if i < 0 {
		return nil
	}
	v := unescape.Replace(strings.TrimPrefix(b[i], name+"="))
	return &v
}

// set gives a variable a value in its place, or at the end; nil unsets it.
func (b block) set(name string, value *string) block {
	i := b.find(name)
	var after block
	for j, line := range b {
		if j != i {
			after = append(after, line)
		} else if value != nil {
			after = append(after, name+"="+escape.Replace(*value))
		}
	}
	if i < 0 && value != nil {
		after = append(after, name+"="+escape.Replace(*value))
	}
	return after
}
