package accesspoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// SNTPSize is the length of a message in bytes (RFC 4330 §4).
const SNTPSize = 48

// unixEpoch is 1970 in seconds since 1900.
const unixEpoch = 2208988800

// SNTPRequest is a question. The transmit time is a number that nobody can guess:
// an answer has to repeat it, and a time would tell which clock this machine has.
func SNTPRequest(cookie uint64) []byte {
	b := make([]byte, SNTPSize)
	b[0] = 4<<3 | 3 // version 4, client
	binary.BigEndian.PutUint64(b[40:], cookie)
	return b
}

// SNTPOffset reads the answer to a question with a cookie, sent and received at
// these times of this machine's clock: how far that is behind.
func SNTPOffset(b []byte, cookie uint64, sent, received time.Time) (time.Duration, error) {
	if len(b) < SNTPSize {
		return 0, fmt.Errorf("read answer of a time server: it has %d bytes", len(b))
	}
	leap, mode, stratum := b[0]>>6, b[0]&7, b[1]
	switch {
	case mode != 4:
		return 0, fmt.Errorf("read answer of a time server: its mode is %d", mode)
	case binary.BigEndian.Uint64(b[24:]) != cookie:
		return 0, errors.New("read answer of a time server: it answers another question")
	case stratum == 0:
		return 0, fmt.Errorf("read answer of a time server: it refuses (%q)", b[12:16])
	case leap == 3 || stratum > 15:
		return 0, errors.New("read answer of a time server: it does not know the time")
	}
	arrived, left := ntpTime(b[32:]), ntpTime(b[40:])
	if arrived.IsZero() || left.Before(arrived) {
		return 0, errors.New("read answer of a time server: its times make no sense")
	}
	offset := (arrived.Sub(sent) + left.Sub(received)) / 2
	if received.Sub(sent) < 0 || offset == math.MaxInt64 {
		return 0, errors.New("read answer of a time server: the clock was set meanwhile")
	}
	return offset, nil
}

// ntpTime is a timestamp: seconds since 1900 and a fraction. Their 32 bits are over
// in 2036; small numbers are of the era after that (RFC 4330 §3).
func ntpTime(b []byte) time.Time {
	sec, frac := int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:]))
	if sec == 0 && frac == 0 {
		return time.Time{}
	}
	if sec < 1<<31 {
		sec += 1 << 32
	}
	return time.Unix(sec-unixEpoch, frac*1e9>>32)
}

// Median is the one in the middle: of several servers, the majority is believed.
func Median(offsets []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(offsets))
	return sorted[len(sorted)/2]
}
