package agefile_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/agefile"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var host = secret.Host{Limit: agefile.MaxFile}

const canary = "CANARY-c2VjcmV0"

// seal encrypts text to a file in dir.
func seal(t *testing.T, dir, text string, armored bool, to age.Recipient) string {
	t.Helper()
	var b bytes.Buffer
	var out io.WriteCloser = struct {
		io.Writer
		io.Closer
	}{&b, io.NopCloser(nil)}
	if armored {
		out = armor.NewWriter(&b)
	}
	w, err := age.Encrypt(out, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if armored {
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return write(t, dir, "secrets.age", b.String())
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestRead(t *testing.T) {
	dir, id := t.TempDir(), identity(t)
	key := write(t, dir, "key", "# created by a test\n"+id.String()+"\n")
	for _, armored := range []bool{false, true} {
		file := seal(t, dir, "password: "+canary+"\nwifi-psk: |\n  two\n  lines\n", armored, id.Recipient())
		set, err := agefile.Reader{Identities: []string{key}, Source: host}.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := set.Get("password")
		w, _ := set.Get("wifi-psk")
		if v.Reveal() != canary || w.Reveal() != "two\nlines\n" || len(set.Names()) != 2 {
			t.Errorf("armored %v: wrong values of %v", armored, set)
		}
	}
}

func TestSSHKey(t *testing.T) {
	dir := t.TempDir()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	to, err := agessh.NewEd25519Recipient(pub)
	if err != nil {
		t.Fatal(err)
	}
	file := seal(t, dir, `{"password": "`+canary+`"}`, false, to)
	key := write(t, dir, "id_ed25519", string(pem.EncodeToMemory(block)))
	set, err := agefile.Reader{Identities: []string{key}, Source: host}.Read(file)
	if v, _ := set.Get("password"); err != nil || v.Reveal() != canary {
		t.Error(err)
	}
	block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	key = write(t, dir, "locked", string(pem.EncodeToMemory(block)))
	_, err = agefile.Reader{Identities: []string{key}, Source: host}.Read(file)
	if err == nil || !strings.Contains(err.Error(), "protected by a passphrase") {
		t.Error(err)
	}
}

func TestPassphrase(t *testing.T) {
	to, err := age.NewScryptRecipient("open sesame")
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(10)
	file := seal(t, t.TempDir(), "a: "+canary, false, to)
	r := agefile.Reader{Source: host, Passphrase: func(f string) (secret.Value, error) {
		if f != file {
			t.Errorf("asked for %s", f)
		}
		return secret.NewValue("open sesame"), nil
	}}
	set, err := r.Read(file)
	if v, _ := set.Get("a"); err != nil || v.Reveal() != canary {
		t.Error(err)
	}
	r.Passphrase = func(string) (secret.Value, error) { return secret.NewValue("wrong"), nil }
	if _, err := r.Read(file); err == nil {
		t.Error("a wrong passphrase opened it")
	}
	gone := errors.New("nobody is there any more")
	r.Passphrase = func(string) (secret.Value, error) { return secret.Value{}, gone }
	if _, err := r.Read(file); !errors.Is(err, gone) {
		t.Error(err)
	}
}

// TestRefuses: no error repeats anything of a file.
func TestRefuses(t *testing.T) {
	dir, id := t.TempDir(), identity(t)
	key := write(t, dir, "key", id.String()+"\n")
	other := write(t, dir, "other", identity(t).String()+"\n")
	bad := write(t, dir, "bad", canary+"\n")
	good := "password: x"
	for name, tt := range map[string]struct {
		text, key string
		want      string
	}{
		"wrong key":    {good, other, "did not match any"},
		"no key":       {good, "", "give --identity"},
		"bad key":      {good, bad, "neither a key file of age-keygen"},
		"missing key":  {good, dir + "/none", "no such file"},
		"no mapping":   {"- " + canary, key, "no YAML mapping"},
		"broken":       {"{" + canary, key, "no YAML mapping"},
		"a number":     {"password: 12345", key, "a value is no string: put it in quotes"},
		"nested":       {"password: {" + canary + ": 1}", key, "a value is no string"},
		"name":         {canary + ": x", key, "a name is not made of"},
		"empty":        {"password: ''", key, "secret password: it is empty"},
		"large":        {"password: " + strings.Repeat("x", secret.MaxSize+1), key, "at most"},
		"enormous":     {"password: " + strings.Repeat("x", 1<<20), key, "more than"},
		"twice":        {"a: " + canary + "\na: " + canary, key, "no YAML mapping"},
		"not for age ": {"", key, "it was not encrypted by age"},
	} {
		file := seal(t, dir, tt.text, false, id.Recipient())
		if tt.text == "" {
			file = write(t, dir, "secrets.age", canary)
		}
		r := agefile.Reader{Source: host}
		if tt.key != "" {
			r.Identities = []string{tt.key}
		}
		set, err := r.Read(file)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), canary) || len(set.Names()) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTool reads what age(1) itself wrote.
func TestTool(t *testing.T) {
	tooltest.Need(t, "age")
	tooltest.Need(t, "age-keygen")
	dir := t.TempDir()
	key, file := filepath.Join(dir, "key"), filepath.Join(dir, "s.age")
	if out, err := exec.Command("age-keygen", "-o", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	encrypt := exec.Command("age", "-e", "-i", key, "-o", file)
	encrypt.Stdin = strings.NewReader("password: " + canary + "\n")
	if out, err := encrypt.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	set, err := agefile.Reader{Identities: []string{key}, Source: host}.Read(file)
	if v, _ := set.Get("password"); err != nil || v.Reveal() != canary {
		t.Error(err)
	}
}
