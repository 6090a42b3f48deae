package request

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseNICNames(t *testing.T) {
	want := []NICName{
		{Name: "lan0", MAC: "52:54:00:12:34:56"},
		{Name: "wan0", Path: "pci-0000:00:03.0", Driver: "e1000e"},
		{Name: "dmz", Driver: "igb"},
	}
	for _, texts := range [][]string{
		{"lan0=mac:52:54:00:12:34:56,wan0=path:pci-0000:00:03.0,driver:e1000e,dmz=driver:igb"},
		{"lan0=mac:52-54-00-12-34-56", "wan0=path:pci-0000:00:03.0", "driver:e1000e", " dmz=driver:igb "},
	} {
		got, err := ParseNICNames(texts...)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", texts, diff)
		}
	}
	if got, err := ParseNICNames(); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
}

func TestRefusedNICNames(t *testing.T) {
	for text, why := range map[string]string{
		"eth0=driver:x":                    "the kernel gives",
		"usb7=driver:x":                    "the kernel gives",
		"lo=driver:x":                      "the kernel gives",
		"enp0s3=driver:x":                  "udev's own",
		"wlan9=driver:x":                   "udev's own",
		"ib0=driver:x":                     "udev's own",
		"slip=driver:x":                    "udev's own",
		"all=driver:x":                     "/proc/sys/net",
		"0123=driver:x":                    "begin with a letter",
		"a/b=driver:x":                     "begin with a letter",
		"a b=driver:x":                     "begin with a letter",
		"lan0123456789012=driver:x":        "at most 15 characters",
		"=driver:x":                        "begin with a letter",
		"lan0=driver:x,lan0=driver:y":      "twice",
		"lan0=driver:x,lan1=driver:x":      "the same",
		"lan0=driver:x,driver:y":           "driver is given twice",
		"lan0=mac:52:54:00":                "must be a MAC address",
		"lan0=mac:":                        "expected mac:ADDRESS",
		"lan0=":                            "expected mac:ADDRESS",
		"lan0=52:54:00:12:34:56":           "expected mac:ADDRESS",
		"lan0":                             "expected NAME=mac:ADDRESS",
		"lan0=path:pci-*":                  "must be a bus path",
		"lan0=path:pci-0000:00:03.0\nName": "must be a bus path",
		"lan0=driver:a b":                  "must be the name of a driver",
	} {
		if _, err := ParseNICNames(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
}

func FuzzParseNICNames(f *testing.F) {
	f.Add("lan0=mac:52:54:00:12:34:56,wan0=path:pci-0000:00:03.0,driver:e1000e")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseNICNames(text)
		if err != nil {
			return
		}
		var again []string
		for _, n := range list {
			again = append(again, n.String())
		}
		back, err := ParseNICNames(again...)
		if err != nil || !cmp.Equal(list, back) {
			t.Errorf("%q: %v, %v, %v", text, list, back, err)
		}
	})
}
