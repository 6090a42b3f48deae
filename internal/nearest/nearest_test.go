package nearest_test

import (
	"testing"

	"github.com/victorinix/vic/internal/nearest"
)

func TestName(t *testing.T) {
	names := []string{"hostname", "username", "locale", "suite", "cpus", "kernel", "kernel-params", "-x"}
	for in, want := range map[string]string{
		"hostnme":      "hostname",
		"hsotname":     "hostname", // a swapped pair is one mistake
		"Hostname":     "hostname",
		"CPUS":         "cpus",
		"usrname":      "username",
		"loacl":        "locale",
		"siute":        "suite",
		"kernelparams": "kernel-params",
		"kernl":        "kernel",
		"cpu":          "cpus",
		"firmware":     "",
		"zzz":          "",
		"":             "",
	} {
		if got := nearest.Name(in, names); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "abxc", 1},
		{"abc", "xyz", 3}, {"größe", "grösse", 2}, {"kitten", "sitting", 3},
	} {
		if got := nearest.Distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := nearest.Distance(tt.b, tt.a); got != tt.want {
			t.Errorf("%q, %q: got %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}
