package vm

import (
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

func TestWatchFindsWordsAcrossReads(t *testing.T) {
	text := strings.Repeat("noise ", 9000) + panicWords + " and " + panicWords
	for name, count := range map[string]int{text: 2, panicWords[:10]: 0, panicWords: 1, "": 0} {
		t.Run(fmt.Sprint(len(name)), func(t *testing.T) {
			n := 0
			watch(iotest.OneByteReader(strings.NewReader(name)), panicWords, func() { n++ })
			if n != count {
				t.Errorf("found %d, want %d", n, count)
			}
			n = 0
			watch(strings.NewReader(name), panicWords, func() { n++ })
			if n != count {
				t.Errorf("in one read: found %d, want %d", n, count)
			}
		})
	}
}

func TestLastLines(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\nc\n":                           "b\nc",
		"\x1bc\x1b[?7l\x1b[2J\x1b[0mBIOS\r\n": "BIOS",
		"\x1b[01;31mred\x1b[0m \x00x\tz":      "red x\tz",
		"":                                    "",
	} {
		if got := lastLines(in, 2); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
