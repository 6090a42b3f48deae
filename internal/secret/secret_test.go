package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/GehirnInc/crypt/sha512_crypt"
	"github.com/goccy/go-yaml"

	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

const canary = "CANARY-c2VjcmV0"

// fakeHost is a Source of files and variables.
type fakeHost struct{ files, env map[string]string }

func (h fakeHost) ReadFile(name string) ([]byte, error) {
	if text, ok := h.files[name]; ok {
		return []byte(text), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (h fakeHost) LookupEnv(name string) (string, bool) {
	v, ok := h.env[name]
	return v, ok
}

func TestValueHidesFromEveryPrinter(t *testing.T) {
	v := secret.NewValue(canary)
	inside := struct {
		V      secret.Value
		P      *secret.Value
		hidden secret.Value
		M      map[string]secret.Value
		S      secret.Set
	}{v, &v, v, map[string]secret.Value{"k": v}, secret.NewSet(map[string]string{"n": canary})}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%10.3s"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", &v)
		fmt.Fprintf(&out, verb+"\n", inside)
	}
	fmt.Fprintln(&out, v, inside, inside.S)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v, "inside", inside)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v, "inside", inside)
	for _, encode := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := encode(inside)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	fmt.Fprintln(&out, fmt.Errorf("wrap %w, %v", errors.New("x"), v))
	for _, leak := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary))} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q got out:\n%s", leak, out.String())
		}
	}
	if v.Reveal() != canary || (secret.Value{}).Reveal() != "" {
		t.Error("Reveal does not reveal")
	}
}

func TestParse(t *testing.T) {
	host := fakeHost{
		files: map[string]string{"psk.txt": "a,b\n", "two": "x\n\n", "crlf": "x\r\n", "bytes": "\xff\x00"},
		env:   map[string]string{"PSK": "from env\n", "AT": "@file"},
	}
	for _, tt := range []struct {
		args []string
		want map[string]string
	}{
		{nil, map[string]string{}},
		{[]string{"wifi-ssid=my-wifi,wifi-psk=@psk.txt"}, map[string]string{"wifi-ssid": "my-wifi", "wifi-psk": "a,b"}},
		{[]string{"a=1", "b=2"}, map[string]string{"a": "1", "b": "2"}},
		{[]string{"a=env:PSK,b=env:AT"}, map[string]string{"a": "from env\n", "b": "@file"}}, // only files end in a newline by habit
		{[]string{"a=@two,b=@crlf,c=@bytes"}, map[string]string{"a": "x\n", "b": "x", "c": "\xff\x00"}},
		{[]string{"a==", "b=x=y"}, map[string]string{"a": "=", "b": "x=y"}},
	} {
		set, err := secret.Parse(tt.args, host)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		got := map[string]string{}
		for _, name := range set.Names() {
			v, _ := set.Get(name)
			got[name] = v.Reveal()
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%q: got %q, want %q", tt.args, got, tt.want)
		}
	}
}

func TestParseRefusesWithoutRepeatingSecrets(t *testing.T) {
	host := fakeHost{files: map[string]string{"empty": "\n", "big": strings.Repeat("x", secret.MaxSize+1)}}
	for arg, want := range map[string]string{
		canary:                        "part 1 of an argument does not begin with NAME=",
		"password=a," + canary:        "part 2 of an argument",
		"password=a," + canary + "=b": "part 2 of an argument",
		"Pass=" + canary:              "part 1",
		"=" + canary:                  "part 1",
		"":                            "part 1",
		"password=":                   "read secret password: it is empty",
		"password=@empty":             "it is empty",
		"password=@gone":              "open gone: file does not exist",
		"password=env:GONE":           "environment variable GONE is not set",
		"password=@big":               "at most 65536 are taken",
		"a=" + canary + ",a=2":        "read secret a: it is given twice",
	} {
		_, err := secret.Parse([]string{arg}, host)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", arg, err, want)
		} else if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: the error repeats the secret: %v", arg, err)
		}
	}
	_, err := secret.Parse([]string{"a=@gone,b=@gone2", "c"}, host)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not all errors at once: %v", err)
	}
}

func TestHostReadsFilesAndVariables(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("VIC_TEST", "from env")
	if err := os.WriteFile(filepath.Join(home, "psk"), []byte("from home\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := secret.Parse([]string{"a=@~/psk,b=env:VIC_TEST"}, secret.Host{})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := set.Get("a")
	b, _ := set.Get("b")
	if a.Reveal() != "from home" || b.Reveal() != "from env" {
		t.Errorf("got %q, %q", a.Reveal(), b.Reveal())
	}
	if _, err := secret.Parse([]string{"z=@/dev/zero"}, secret.Host{}); err == nil {
		t.Error("/dev/zero was taken")
	}
}

func TestRequireAndUnknown(t *testing.T) {
	set := secret.NewSet(map[string]string{"wifi-ssid": canary, "typo": canary})
	if err := set.Require("ap", "wifi-ssid"); err != nil {
		t.Error(err)
	}
	err := set.Require("ap", "wifi-ssid", "wifi-psk")
	var missing *secret.MissingError
	if !errors.As(err, &missing) || missing.Item != "ap" || !slices.Equal(missing.Names, []string{"wifi-psk"}) {
		t.Fatalf("got %v", err)
	}
	if want := "item ap needs the secret wifi-psk: give it with -s wifi-psk=@FILE or -s wifi-psk=env:VAR"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if got := set.Unknown([]string{"wifi-ssid", "wifi-psk"}); !slices.Equal(got, []string{"typo"}) {
		t.Errorf("got %q", got)
	}
	more := set.With("wifi-psk", secret.NewValue("x"))
	if more.Require("ap", "wifi-psk") != nil || set.Require("ap", "wifi-psk") == nil {
		t.Error("With changes the Set that it is called on, or does not add")
	}
	if (secret.Set{}).With("a", secret.NewValue("x")).Names()[0] != "a" {
		t.Error("With does not work on the zero Set")
	}
}

func TestDelivery(t *testing.T) {
	want := map[string]string{"password": canary, "psk": "\xff\x00\n", "note": "ünïcode"}
	var buf bytes.Buffer
	if err := secret.NewSet(want).EncodeForTarget(&buf); err != nil {
		t.Fatal(err)
	}
	set, err := secret.Decode(&buf)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		if v, ok := set.Get(name); !ok || v.Reveal() != text {
			t.Errorf("%s: got %q", name, v.Reveal())
		}
	}
	if len(set.Names()) != len(want) {
		t.Errorf("got %q", set.Names())
	}
}

func TestDecodeRefusesQuietly(t *testing.T) {
	for in, want := range map[string]string{
		"":              "no JSON",
		canary:          "no JSON at byte 1",
		`{"version":2}`: "version 2, this vic reads 1",
		`{"version":1,"secrets":{"` + canary + `":""}}`: "out of bounds",
		`{"version":1,"secrets":{"a":"CANARY!"}}`:       "no base64",
		`{"version":"CANARY"}`:                          "wrong JSON type",
		strings.Repeat(" ", 2<<20):                      "more than",
	} {
		_, err := secret.Decode(strings.NewReader(in))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%.40q: got %v, want %q", in, err, want)
		}
	}
}

func TestHashPassword(t *testing.T) {
	a, err := secret.HashPassword(secret.NewValue(canary))
	if err != nil {
		t.Fatal(err)
	}
	if err := sha512_crypt.New().Verify(a.Reveal(), []byte(canary)); err != nil {
		t.Errorf("%s: %v", a.Reveal(), err)
	}
	b, err := secret.HashPassword(secret.NewValue(canary))
	if err != nil || a.Reveal() == b.Reveal() {
		t.Errorf("the salt is not random: %s twice (%v)", a.Reveal(), err)
	}
	again, err := secret.HashPassword(a)
	if err != nil || again.Reveal() != a.Reveal() {
		t.Errorf("a hash was hashed again: %v", err)
	}
	const yescrypt = "$y$j9T$z7lNWyBfW4ZruGHCsFzDz/$Sz1GtrDDnsf0KfUE8mQHNJqGyG32TDWC287DdU97dz."
	if kept, err := secret.HashPassword(secret.NewValue(yescrypt)); err != nil || kept.Reveal() != yescrypt {
		t.Errorf("a yescrypt hash was not kept: %v", err)
	}
	if h, err := secret.HashPassword(secret.NewValue("$6$hunter2")); err != nil || h.Reveal() == "$6$hunter2" {
		t.Errorf("a password that looks a little like a hash was taken for one (%v)", err)
	}
	for _, bad := range []string{"", "a\nb", "a\x00b", "\xff"} {
		if _, err := secret.HashPassword(secret.NewValue(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// The C library of a real login has to agree.
func TestHashAgreesWithCrypt(t *testing.T) {
	run := tooltest.Need(t, "perl")
	for _, password := range []string{"x", "pässwörd, with spaces, " + strings.Repeat("long", 50)} {
		hash, err := secret.HashPassword(secret.NewValue(password))
		if err != nil {
			t.Fatal(err)
		}
		out, err := run.Run(t.Context(), tool.Cmd{
			Name:  "perl",
			Args:  []string{"-e", `my $p = <STDIN>; my $h = <STDIN>; chomp($p, $h); print crypt($p, $h)`},
			Stdin: strings.NewReader(password + "\n" + hash.Reveal() + "\n"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if string(out.Stdout) != hash.Reveal() {
			t.Errorf("%q: crypt(3) says %s, we say %s", password, out.Stdout, hash.Reveal())
		}
	}
}

func TestRedactorFindsSplitSecrets(t *testing.T) {
	set := secret.NewSet(map[string]string{
		"long": "abcdef", "short": "abcd", "quote": `pa"ss\word`, "tiny": "x", "repeat": "aaab",
	})
	for in, want := range map[string]string{
		"":                           "",
		"nothing here":               "nothing here",
		"-abcdef-abcd-abcde-abc-":    "-[secret]-[secret]-[secret]e-abc-",
		"abcdabcdef":                 "[secret][secret]",
		"xyz":                        "xyz",
		`{"m":"pa\"ss\\word"}`:       `{"m":"[secret]"}`,
		`pa"ss\word`:                 "[secret]",
		"aaaab aaaaab aaa":           "a[secret] aa[secret] aaa",
		"ends in the beginning: abc": "ends in the beginning: abc",
		"ends in the shorter: abcde": "ends in the shorter: [secret]e",
	} {
		if got := set.Redact(in); got != want {
			t.Errorf("%q: Redact gives %q, want %q", in, got, want)
		}
		for size := 1; size <= len(in)+1; size++ {
			var out bytes.Buffer
			r := secret.NewRedactor(&out, set)
			for chunk := range slices.Chunk([]byte(in), size) {
				if n, err := r.Write(chunk); n != len(chunk) || err != nil {
					t.Fatalf("got %d, %v", n, err)
				}
			}
			if err := r.Flush(); err != nil || out.String() != want {
				t.Errorf("%q by %d: got %q, want %q (%v)", in, size, out.String(), want, err)
			}
		}
	}
}

func TestRedactorReportsWriteErrors(t *testing.T) {
	f, err := os.Open(os.DevNull) // not writable
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := secret.NewRedactor(f, secret.NewSet(map[string]string{"a": canary}))
	if _, err := r.Write([]byte("text")); err == nil {
		t.Error("the error was swallowed")
	}
}

func FuzzRedactor(f *testing.F) {
	f.Add("hunter2", "my password is hunter2, hunt", 3)
	f.Add("aaaa", "aaaaaaaaa", 1)
	f.Fuzz(func(t *testing.T, s, text string, size int) {
		if len(s) < 4 || strings.Contains(secret.Redacted, s) || size < 1 || len(text) > 1000 {
			return
		}
		var out bytes.Buffer
		r := secret.NewRedactor(&out, secret.NewSet(map[string]string{"a": s}))
		for chunk := range slices.Chunk([]byte(text), size) {
			if _, err := r.Write(chunk); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Flush(); err != nil {
			t.Fatal(err)
		}
		quoted, _ := json.Marshal(s)
		if string(quoted) == `"`+s+`"` && out.String() != strings.ReplaceAll(text, s, secret.Redacted) {
			t.Errorf("got %q", out.String())
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"secrets":{"a":"YQ=="}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := secret.Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		var buf bytes.Buffer
		if err := set.EncodeForTarget(&buf); err != nil {
			t.Fatal(err)
		}
		again, err := secret.Decode(&buf)
		if err != nil || !slices.Equal(again.Names(), set.Names()) {
			t.Errorf("got %v, %v", again, err)
		}
	})
}
