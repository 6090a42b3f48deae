package sshd

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// The opcodes of RFC 4254 §8 from opFirst to opLast have a number as their
// argument. Any other ends the list.
const opFirst, opLast = 1, 159

// characters are places in termios' c_cc, by opcode.
var characters = map[byte]int{
	1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
	8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT, 18: unix.VDISCARD,
}

// Bits of the four words of termios, by opcode.

var inputFlags = map[byte]uint32{
	30: unix.IGNPAR, 31: unix.PARMRK, 32: unix.INPCK, 33: unix.ISTRIP, 34: unix.INLCR, 35: unix.IGNCR,
	36: unix.ICRNL, 37: unix.IUCLC, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF, 41: unix.IMAXBEL, 42: unix.IUTF8,
}

var localFlags = map[byte]uint32{
	50: unix.ISIG, 51: unix.ICANON, 52: unix.XCASE, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK, 56: unix.ECHONL,
	57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN, 60: unix.ECHOCTL, 61: unix.ECHOKE, 62: unix.PENDIN,
}

var outputFlags = map[byte]uint32{
	70: unix.OPOST, 71: unix.OLCUC, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET,
}

var controlFlags = map[byte]uint32{92: unix.PARENB, 93: unix.PARODD}

// setModes makes the terminal behave as the client's does.
func (t *terminal) setModes(modes string) error {
	return control(t.tty, func(fd int) error {
		tio, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		if err := applyModes(tio, []byte(modes)); err != nil {
			return err
		}
		return unix.IoctlSetTermios(fd, unix.TCSETS, tio)
	})
}

// applyModes leaves out what Linux does not have, and speeds, which mean
// nothing here. 7 or 8 bits (opcodes 90, 91) are fixed for pseudoterminals.
func applyModes(tio *unix.Termios, modes []byte) error {
	for len(modes) > 0 && modes[0] >= opFirst && modes[0] <= opLast {
		if len(modes) < 5 {
			return errors.New("the modes of the terminal are cut off")
		}
		op, arg := modes[0], binary.BigEndian.Uint32(modes[1:])
		modes = modes[5:]
		if i, ok := characters[op]; ok {
			tio.Cc[i] = byte(arg) // 255, "none", is 0 for the kernel
			if arg == 255 {
				tio.Cc[i] = 0
			}
		}
		setFlag(&tio.Iflag, inputFlags[op], arg)
		setFlag(&tio.Lflag, localFlags[op], arg)
		setFlag(&tio.Oflag, outputFlags[op], arg)
		setFlag(&tio.Cflag, controlFlags[op], arg)
	}
	return nil
}

func setFlag(word *uint32, bit, on uint32) {
	*word &^= bit
	if on != 0 {
		*word |= bit
	}
}
