package efi

import "encoding/binary"

// checksum is an io.Writer that sums a PE image the way CheckSum in its
// optional header wants it: the 16-bit little-endian words with end-around
// carry, plus the length of the file. The field itself counts as zero.
type checksum struct {
	sum  uint64
	size int64
	odd  bool // the last byte seen was the lower half of a word
}

func (c *checksum) Write(p []byte) (int, error) {
	n := len(p)
	c.size += int64(n)
	if c.odd && len(p) > 0 {
		c.sum += uint64(p[0]) << 8
		c.odd = false
		p = p[1:]
	}
	// A 32-bit word adds as much as its halves do: 2^16 is 1 modulo 2^16-1.
	for ; len(p) >= 4; p = p[4:] {
		c.sum += uint64(binary.LittleEndian.Uint32(p))
	}
	if len(p) >= 2 {
		c.sum += uint64(binary.LittleEndian.Uint16(p))
		p = p[2:]
	}
	if len(p) == 1 {
		c.sum += uint64(p[0])
		c.odd = true
	}
	return n, nil
}

// value folds the carries in and adds the length. A 64-bit sum of 32-bit
// words cannot overflow for files of less than 2^34 bytes.
func (c *checksum) value() uint32 {
	s := c.sum
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint32(s) + uint32(c.size)
}
