package envscan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/disk/sysfs"
)

func TestDNS(t *testing.T) {
	const stub = "# made by resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n"
	tests := []struct {
		name string
		tree tree
		want DNS
		gaps []string
	}{
		{"plain", tree{"etc/resolv.conf": "nameserver 192.0.2.1\n nameserver\t2001:db8::1 \n;nameserver 192.0.2.9\nnameserver example.com\nsearch a.example b.example\ndomain c.example\noptions rotate\noptions timeout:1 ndots:2\n"},
			DNS{Server: []string{"192.0.2.1", "2001:db8::1"}, Search: []string{"c.example"}, Options: []string{"rotate", "timeout:1", "ndots:2"}}, nil},
		{"no domain", tree{"etc/resolv.conf": "nameserver fe80::1%eth0\nsearch .\n"}, DNS{Server: []string{"fe80::1%eth0"}, Search: []string{}, Options: []string{}}, nil},
		{"none", tree{"etc/hosts": ""}, DNS{Server: []string{}, Search: []string{}, Options: []string{}}, nil},
		{"resolved, by a link", tree{
			"etc/resolv.conf":                      "-> ../run/systemd/resolve/stub-resolv.conf",
			"run/systemd/resolve/stub-resolv.conf": stub,
			"run/systemd/resolve/resolv.conf":      "nameserver 192.0.2.1\nnameserver fe80::1%2\nsearch lan\n",
		}, DNS{Server: []string{"192.0.2.1", "fe80::1%2"}, Search: []string{"lan"}, Options: []string{"edns0", "trust-ad"}, Stub: true}, nil},
		{"a link from the root stays in the tree", tree{
			"etc/resolv.conf":       "-> /etc/other/resolv.conf",
			"etc/other":             "-> ../etc/third",
			"etc/third/resolv.conf": "nameserver 192.0.2.7\n",
		}, DNS{Server: []string{"192.0.2.7"}, Search: []string{}, Options: []string{}}, nil},
		{"dnsmasq of NetworkManager", tree{
			"etc/resolv.conf":                        "nameserver 127.0.0.1\n",
			"run/systemd/resolve/resolv.conf":        "nameserver ::1\n", // not this one
			"run/NetworkManager/no-stub-resolv.conf": "search corp.example\nnameserver 192.0.2.3\n",
		}, DNS{Server: []string{"192.0.2.3"}, Search: []string{"corp.example"}, Options: []string{}, Stub: true}, nil},
		{"a resolver that nobody knows", tree{"etc/resolv.conf": "nameserver ::1\n"}, DNS{Server: []string{}, Search: []string{}, Options: []string{}, Stub: true}, []string{"net.dns.server"}},
		{"a stub with another", tree{"etc/resolv.conf": "nameserver 127.0.0.1\nnameserver 192.0.2.1\n"}, DNS{Server: []string{"127.0.0.1", "192.0.2.1"}, Search: []string{}, Options: []string{}}, nil},
		{"not a file", tree{"etc/resolv.conf/x": ""}, DNS{Server: []string{}, Search: []string{}, Options: []string{}}, []string{"net.dns"}},
		{"a link to itself", tree{"etc/resolv.conf": "-> resolv.conf"}, DNS{Server: []string{}, Search: []string{}, Options: []string{}}, []string{"net.dns"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := scanner{root: sysfs.Root(tt.tree.write(t))}
			got := s.dns()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			var gaps []string
			for _, g := range s.gaps {
				gaps = append(gaps, g.Fact)
			}
			if diff := cmp.Diff(tt.gaps, gaps); diff != "" {
				t.Errorf("gaps %+v", s.gaps)
			}
		})
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nsearch a b\noptions x\ndomain .\n")
	f.Add("nameserver\nsearch\n\x00;#")
	f.Fuzz(func(t *testing.T, text string) {
		d := parseResolvConf(text)
		if d.Server == nil || d.Search == nil || d.Options == nil {
			t.Errorf("%+v", d)
		}
	})
}
