package config_test

import (
	"testing"

	"github.com/victorinix/vic/internal/config"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "4096": 4096, "1B": 1, "512K": 512 << 10, "512M": 512 << 20, "8GiB": 8 << 30, "1T": 1 << 40,
		"8388607T": 8388607 << 40,
	} {
		if got, err := config.ParseSize(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "M", "-1", "1.5G", "8 G", "8g", "1MB", "1KK", "8388608T", "9223372036854775808", "0x10"} {
		if got, err := config.ParseSize(in); err == nil {
			t.Errorf("%q: accepted as %d", in, got)
		}
	}
}
