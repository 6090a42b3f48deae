package cli

import (
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/event"
)

func TestCheckNICs(t *testing.T) {
	const answer = "nic lan0 52:54:00:00:00:0a pci-0000:00:09.0\nnic enp0s5 52:54:00:00:00:0b pci-0000:00:05.0\nnic wwan0  \n"
	lan := event.NIC{Name: "lan0", Wished: true, HWAddr: "52:54:00:00:00:0a", Path: "pci-0000:00:03.0"}
	second := event.NIC{Name: "enp0s5", HWAddr: "52:54:00:00:00:0b", Path: "pci-0000:00:05.0"}
	for name, tt := range map[string]struct {
		want event.NIC
		err  string
	}{
		"asked for, and in another slot": {lan, ""},
		"as predicted":                   {second, ""},
		"asked for, and called otherwise": {event.NIC{Name: "wan0", Wished: true, HWAddr: lan.HWAddr, Path: lan.Path},
			"is called lan0, not wan0"},
		"asked for, and not there":   {event.NIC{Name: "wan0", Wished: true, HWAddr: "52:54:00:00:00:0c"}, "is not there"},
		"predicted wrongly":          {event.NIC{Name: "ens5", HWAddr: second.HWAddr, Path: second.Path}, "is called enp0s5, not ens5"},
		"predicted for another slot": {event.NIC{Name: "enp0s3", HWAddr: second.HWAddr, Path: "pci-0000:00:03.0"}, ""},
		"by path":                    {event.NIC{Name: "enp0s5", Path: second.Path}, ""},
		"by path, wrongly":           {event.NIC{Name: "dmz", Wished: true, Path: second.Path}, "is called enp0s5, not dmz"},
	} {
		err := checkNICs([]event.NIC{tt.want}, answer)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
