package accesspoint

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// answer is what a server says whose clock shows now.
func answer(cookie uint64, now time.Time) []byte {
	b := make([]byte, SNTPSize)
	b[0], b[1] = 4<<3|4, 2
	copy(b[12:], "TEST")
	binary.BigEndian.PutUint64(b[24:], cookie)
	for _, at := range []int{32, 40} {
		binary.BigEndian.PutUint32(b[at:], uint32(now.Unix()+unixEpoch))
		binary.BigEndian.PutUint32(b[at+4:], uint32(uint64(now.Nanosecond())<<32/1e9))
	}
	return b
}

func TestSNTPOffset(t *testing.T) {
	sent := time.Unix(1e9, 0) // 2001: this machine's clock
	received := sent.Add(20 * time.Millisecond)
	for name, server := range map[string]time.Time{
		"the same": sent.Add(10 * time.Millisecond),
		"25 years": time.Unix(1795339200, 500e6),
		"2040":     time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC),
		"before":   sent.Add(-time.Hour),
	} {
		got, err := SNTPOffset(answer(7, server), 7, sent, received)
		want := server.Sub(sent.Add(10 * time.Millisecond))
		if err != nil || (got-want).Abs() > time.Microsecond {
			t.Errorf("%s: got %v %v, want %v", name, got, err, want)
		}
	}
	for want, change := range map[string]func(b []byte) []byte{
		"it has 47 bytes":         func(b []byte) []byte { return b[:47] },
		"its mode is 3":           func(b []byte) []byte { b[0] = 4<<3 | 3; return b },
		"answers another":         func(b []byte) []byte { b[31]++; return b },
		`it refuses ("TEST")`:     func(b []byte) []byte { b[1] = 0; return b },
		"does not know the time":  func(b []byte) []byte { b[0] |= 3 << 6; return b },
		"its times make no sense": func(b []byte) []byte { clear(b[32:40]); return b },
	} {
		if _, err := SNTPOffset(change(answer(7, sent)), 7, sent, received); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestMedian(t *testing.T) {
	if got := Median([]time.Duration{time.Hour, 2, 1}); got != 2 {
		t.Error(got)
	}
}

func FuzzSNTPOffset(f *testing.F) {
	f.Add(answer(7, time.Unix(1e9, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = SNTPOffset(b, 7, time.Unix(1e9, 0), time.Unix(1e9, 1))
	})
}
