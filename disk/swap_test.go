package disk

import (
	"strings"
	"testing"
)

func TestSwapFlags(t *testing.T) {
	five, none := 5, -1
	for _, tt := range []struct {
		priority *int
		options  string
		want     uintptr
	}{
		{nil, "", 0}, {&five, "", 0x8005}, {&none, "", 0}, {nil, "nofail,discard", 0x10000}, {&five, "discard=once", 0x38005}, {nil, "discard=pages", 0x50000},
	} {
		if got := swapFlags(tt.priority, strings.Split(tt.options, ",")); got != tt.want {
			t.Errorf("%q: %#x, want %#x", tt.options, got, tt.want)
		}
	}
}
