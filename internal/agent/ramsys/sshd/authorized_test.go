package sshd

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// A key made for these tests; nobody has its other half.
const testKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFRhaXMgaXMgYSBrZXkgdGhhdCBub2JvZHkgaGFzIQEB"

func TestParseAuthorizedKey(t *testing.T) {
	for _, tt := range []struct {
		line string
		want authorizedKey // without key
	}{
		{testKey, authorizedKey{pty: true, forwarding: true}},
		{"  " + testKey + "  me on my laptop ", authorizedKey{pty: true, forwarding: true, comment: "me on my laptop"}},
		{"restrict " + testKey, authorizedKey{}},
		{"restrict,pty " + testKey, authorizedKey{pty: true}},
		{"RESTRICT,Port-Forwarding\t" + testKey, authorizedKey{forwarding: true}},
		{"no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc " + testKey, authorizedKey{}},
		{"agent-forwarding,X11-forwarding,user-rc,permitlisten=\"8080\",tunnel=\"0\" " + testKey, authorizedKey{pty: true, forwarding: true}},
		{`command="echo \"a, b\" c" ` + testKey, authorizedKey{pty: true, forwarding: true, command: `echo "a, b" c`}},
		{`command="C:\dir" ` + testKey, authorizedKey{pty: true, forwarding: true, command: `C:\dir`}},
		{`command="internal-sftp",restrict ` + testKey, authorizedKey{command: internalSFTP}},
		{`environment="A=1",environment="B=x y" ` + testKey, authorizedKey{pty: true, forwarding: true, env: []string{"A=1", "B=x y"}}},
		{`permitopen="db:5432",permitopen="[::1]:*" ` + testKey, authorizedKey{pty: true, forwarding: true,
			permitOpen: []hostPort{{"db", "5432"}, {"::1", "*"}}}},
		{`expiry-time="20300102Z" ` + testKey, authorizedKey{pty: true, forwarding: true,
			expires: time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)}},
		{`expiry-time="203001021530" ` + testKey, authorizedKey{pty: true, forwarding: true,
			expires: time.Date(2030, 1, 2, 15, 30, 0, 0, time.Local)}},
		{"no-touch-required " + testKey, authorizedKey{pty: true, forwarding: true, noTouch: true}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			got, err := parseAuthorizedKey(tt.line)
			if err != nil {
				t.Fatal(err)
			}
			if keyLine(got.key) != testKey {
				t.Errorf("the key is %s", keyLine(got.key))
			}
			w := tt.want
			if got.pty != w.pty || got.forwarding != w.forwarding || got.command != w.command || got.comment != w.comment ||
				got.noTouch != w.noTouch || !got.expires.Equal(w.expires) || got.from != nil ||
				!slices.Equal(got.env, w.env) || !slices.Equal(got.permitOpen, w.permitOpen) {
				t.Errorf("got  %+v\nwant %+v", got, w)
			}
		})
	}
}

// What cannot be honoured is refused: a key with less than it was given is a
// nuisance, a key with more is a hole.
func TestRefusedLines(t *testing.T) {
	dss := "ssh-dss AAAAB3NzaC1kc3MAAAAA"
	for _, tt := range []struct{ line, want string }{
		{"cert-authority " + testKey, "cert-authority: it is not supported"},
		{`principals="root" ` + testKey, "principals: it is not supported"},
		{"verify-required " + testKey, "verify-required: it is not supported"},
		{"no-such-option " + testKey, "no-such-option: it is not supported"},
		{`no-such-option="x" ` + testKey, "no-such-option: it is not supported"},
		{`restrict="yes" ` + testKey, "restrict: it is not supported"},
		{"command " + testKey, "command: it is not supported"},
		{`command="" ` + testKey, "empty"},
		{`command="internal-sftp -R" ` + testKey, "arguments"},
		{`command="a",command="b" ` + testKey, "twice"},
		{`command="a ` + testKey, "does not end"},
		{`command=a ` + testKey, "not in quotes"},
		{`command="a"b ` + testKey, "follows its closing quote"},
		{`command"a" ` + testKey, "a quote without ="},
		{`,restrict ` + testKey, "no name"},
		{`restrict,, ` + testKey, "no name"},
		{`from="*.example.org" ` + testKey, "not a pattern of addresses"},
		{`from="!evil,*" ` + testKey, "not a pattern of addresses"},
		{`from="10.0.0.1/8" ` + testKey, "bits set"},
		{`from="" ` + testKey, "not a pattern"},
		{`expiry-time="2030" ` + testKey, "YYYYMMDD"},
		{`expiry-time="tomorrow" ` + testKey, "cannot parse"},
		{`expiry-time="20301302" ` + testKey, "month"},
		{`permitopen="8080" ` + testKey, "missing port"},
		{`permitopen="host:http" ` + testKey, "must be a number"},
		{`permitopen=":80" ` + testKey, "no host"},
		{`environment="nonsense" ` + testKey, "NAME=value"},
		{"restrict", "no key"},
		{"restrict ", "no key"},
		{"restrict,pty", "no key"},
		{dss, `"ssh-dss" are not supported`},
		{"ssh-rsa-cert-v01@openssh.com AAAA", "not supported"},
		{"ssh-ed25519", "parse the ssh-ed25519 key"},
		{"ssh-ed25519 !!!", "decode"},
		{"ssh-rsa " + strings.Fields(testKey)[1], "of type ssh-ed25519, the line says ssh-rsa"},
		{testKey + "\n" + testKey, "more than one line"},
		{testKey + strings.Repeat(" x", 9000), "at most"},
	} {
		t.Run(tt.line[:min(40, len(tt.line))], func(t *testing.T) {
			if k, err := parseAuthorizedKey(tt.line); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v, want %q", k, err, tt.want)
			}
		})
	}
}

// ssh-keygen(1) reads the same key from the same line.
func TestKeysAsOpenSSHReadsThem(t *testing.T) {
	run := tooltest.Need(t, "ssh-keygen")
	name := filepath.Join(t.TempDir(), "authorized_keys")
	lines := []string{
		testKey, testKey + " comment", "restrict,pty " + testKey, `command="echo \"a, b\"",no-pty ` + testKey + " c",
		`from="10.0.0.0/8,!10.0.0.1" ` + testKey, "\trestrict\t" + testKey,
	}
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run.Run(t.Context(), tool.Cmd{Name: "ssh-keygen", Args: []string{"-l", "-f", name}})
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Split(strings.TrimSpace(string(out.Stdout)), "\n")
	keys, refused := parseAuthorizedKeys(lines)
	if len(refused) > 0 || len(theirs) != len(keys) {
		t.Fatalf("%d keys, ssh-keygen reads %d; refused: %v", len(keys), len(theirs), refused)
	}
	for i, k := range keys {
		if !strings.Contains(theirs[i], ssh.FingerprintSHA256(k.key)) {
			t.Errorf("line %d: %s, ssh-keygen says %s", i+1, ssh.FingerprintSHA256(k.key), theirs[i])
		}
	}
}

func TestFrom(t *testing.T) {
	for _, tt := range []struct {
		patterns string
		yes, no  []string
	}{
		{"192.0.2.1", []string{"192.0.2.1", "::ffff:192.0.2.1"}, []string{"192.0.2.10", "2001:db8::1"}},
		{"192.0.2.0/24,!192.0.2.7", []string{"192.0.2.1"}, []string{"192.0.2.7", "192.0.3.1"}},
		{"!192.0.2.7,*", []string{"192.0.2.1", "2001:db8::1"}, []string{"192.0.2.7"}},
		{"192.0.2.?", []string{"192.0.2.1"}, []string{"192.0.2.10"}},
		{"10.*", []string{"10.1.2.3"}, []string{"110.1.2.3"}},
		{"2001:DB8::/32", []string{"2001:db8::1"}, []string{"2001:db9::1"}},
		{"2001:0DB8:0::1", []string{"2001:db8::1"}, []string{"2001:db8::2"}},
		{"fe80::*", []string{"fe80::1%eth0"}, []string{"fe81::1"}},
		{"!10.0.0.1", nil, []string{"10.0.0.1", "10.0.0.2"}}, // nothing is allowed, only forbidden
	} {
		t.Run(tt.patterns, func(t *testing.T) {
			list, err := parseAddrPatterns(tt.patterns)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range tt.yes {
				if !list.allows(netip.MustParseAddr(a).Unmap()) {
					t.Errorf("%s is not allowed", a)
				}
			}
			for _, a := range tt.no {
				if list.allows(netip.MustParseAddr(a).Unmap()) {
					t.Errorf("%s is allowed", a)
				}
			}
			if list.allows(netip.Addr{}) {
				t.Error("a connection without an address is allowed")
			}
		})
	}
}

func TestFindKey(t *testing.T) {
	keys, refused := parseAuthorizedKeys([]string{
		`from="192.0.2.1",command="first" ` + testKey,
		`expiry-time="20300101Z",command="second" ` + testKey,
		`from="192.0.2.*",command="third" ` + testKey,
	})
	if len(refused) > 0 {
		t.Fatal(refused)
	}
	before, after := time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		from string
		now  time.Time
		want string // "" for a refusal
	}{
		{"192.0.2.1", before, "first"},
		{"192.0.2.2", before, "second"},
		{"192.0.2.2", after, "third"},
		{"198.51.100.1", before, "second"},
		{"198.51.100.1", after, ""},
	} {
		k, err := keys.find(keys[0].key, netip.MustParseAddr(tt.from), tt.now)
		if (err != nil) != (tt.want == "") || err == nil && k.command != tt.want {
			t.Errorf("%s at %s: %+v, %v, want %q", tt.from, tt.now, k, err, tt.want)
		}
	}
}

// Whatever a line is: what is read from it is a key that may be used, the same
// one that x/crypto reads, with as many options, and without options nothing is
// different from the default.
func FuzzAuthorizedKey(f *testing.F) {
	for _, line := range []string{
		testKey, "restrict " + testKey, `command="echo \"a, b\"",from="10.0.0.0/8,!10.0.0.1" ` + testKey + " me",
		`permitopen="[::1]:80",environment="A=1",expiry-time="20300102Z" ` + testKey, `from="fe80::*,?.*" ` + testKey,
		"ssh-rsa AAAA", `command="`, "=", ",", `a="\"`,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		checkLine(t, line)
		checkLine(t, line+" "+testKey) // options that are hard to find by chance
	})
}

func checkLine(t *testing.T, line string) {
	k, err := parseAuthorizedKey(line)
	if err != nil {
		return
	}
	if !slices.Contains(keyTypes, k.key.Type()) {
		t.Errorf("a key of type %s", k.key.Type())
	}
	theirs, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatalf("x/crypto does not read it: %v", err)
	}
	if keyLine(theirs) != keyLine(k.key) {
		t.Errorf("x/crypto reads %s, and this %s", keyLine(theirs), keyLine(k.key))
	}
	if len(options) == 0 && (!k.pty || !k.forwarding || k.command != "" || k.from != nil || k.permitOpen != nil || k.env != nil) {
		t.Errorf("x/crypto reads no options, and this %+v", k)
	}
	k.from.allows(netip.MustParseAddr("192.0.2.1"))
}
