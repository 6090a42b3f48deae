package flash

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	for _, tt := range []struct {
		n, left int64
		took    time.Duration
		want    string
	}{
		{480e6, 3840e6, 10 * time.Second, "48.0 MB/s, 1m20s left"},
		{480e6, 0, 10 * time.Second, "48.0 MB/s"},
		{0, 3840e6, 10 * time.Second, "0 bytes/s"},
		{1e12, -1, 500 * time.Millisecond, "2.0 TB/s"},
		{5, 5, 0, "5 bytes, 0s left"},
	} {
		if got := pace(tt.n, tt.took, tt.left); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
