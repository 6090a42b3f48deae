package enter

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// The public half is what ssh-keygen says.
func TestPublicKey(t *testing.T) {
	for _, args := range [][]string{{"-t", "ed25519"}, {"-t", "rsa", "-b", "2048"}, {"-t", "ecdsa", "-b", "384"}, {"-t", "ed25519", "-C", "a comment of some length"}} {
		file := filepath.Join(t.TempDir(), "key")
		want := keygen(t, file, args...)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := publicKey(text); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", args, got, err, want)
		}
	}
}

func TestIdentity(t *testing.T) {
	s, _, _, ed25519 := system(t)
	dir := s.Root + "/elsewhere"
	// As a machine has them that was installed long ago.
	rsa := keygen(t, dir+"/host rsa", "-t", "rsa", "-b", "2048", "-m", "PEM")
	keygen(t, dir+"/locked", "-t", "ecdsa", "-N", "secret")
	keygen(t, dir+"/old locked", "-t", "ecdsa", "-m", "PEM", "-N", "secret")
	keygen(t, dir+"/second", "-t", "ed25519")
	write(t, dir, map[string]string{"text": "no key", "card": "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"})
	s.Tools = &tools{answers: map[string]string{"sshd": "port 22\nhostkeyagent none\nhostkey /elsewhere/host rsa\nhostkey /elsewhere/none\nhostkey /elsewhere/locked\n" +
		"hostkey /elsewhere/old locked\nhostkey /etc/ssh/ssh_host_ed25519_key\nhostkey /elsewhere/second\nhostkey /elsewhere/text\nhostkey /elsewhere/card\nhostkeyalgorithms hostkey x\n"}}
	id, err := s.identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names, public []string
	for _, k := range id.keys {
		names, public = append(names, k.name), append(public, k.public)
		if _, err := ssh.ParsePrivateKey(k.private); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	if !slices.Equal(names, []string{"ssh_host_rsa_key", "ssh_host_ed25519_key"}) || !slices.Equal(public, []string{rsa, ed25519}) || id.made {
		t.Errorf("%q %q %v", names, public, id.made)
	}
	text := strings.Join(id.warnings, "\n")
	for _, want := range []string{"locked is not handed over: encrypted with \"aes", "old locked is not handed over: run ssh-keygen", "text is not handed over: no private key", "card is not handed over: no private key of OpenSSH"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if len(id.warnings) != 4 {
		t.Error(text)
	}
}

// The server that is asked is the one through which the client came.
func TestServer(t *testing.T) {
	s, _, _, _ := system(t)
	write(t, s.Root, map[string]string{
		"proc/42/status": "PPid:\t41\n", "proc/41/status": "PPid:\t40\n", "proc/40/status": "PPid:\t30\n", "proc/30/status": "PPid:\t1\n",
		"proc/30/cmdline": "sshd: /nix/store/x-openssh/bin/sshd -D -f /etc/other [listener] 0 of 10-100 startups\x00",
	})
	for pid, exe := range map[string]string{"42": "/dev/shm/vic/vic-env", "41": "/usr/bin/dash", "40": "/nix/store/x-openssh/libexec/sshd-session", "30": "/nix/store/x-openssh/bin/sshd (deleted)", "1": "/nix/store/y/systemd"} {
		if err := os.Symlink(exe, s.Root+"/proc/"+pid+"/exe"); err != nil {
			t.Fatal(err)
		}
	}
	run := &tools{answers: map[string]string{"/nix/store/x-openssh/bin/sshd": "hostkey /var/key\n"}}
	s.Tools = run
	files, err := s.keyFiles(t.Context())
	if err != nil || !slices.Equal(files, []string{"/var/key"}) {
		t.Errorf("%q %v %q", files, err, run.ran)
	}
	if !slices.Equal(run.ran, []string{"/nix/store/x-openssh/bin/sshd -T -f /etc/other"}) {
		t.Errorf("%q", run.ran)
	}
	write(t, s.Root, map[string]string{"proc/30/status": "Name: x\n"})
	if _, err := s.keyFiles(t.Context()); err == nil || !strings.Contains(err.Error(), "has no PPid") {
		t.Error(err)
	}
	// Processes of others may be hidden.
	if err := os.RemoveAll(s.Root + "/proc/30"); err != nil {
		t.Fatal(err)
	}
	if files, err := s.keyFiles(t.Context()); err != nil || !slices.Equal(files, []string{"/etc/ssh/ssh_host_ed25519_key"}) {
		t.Errorf("%q %v", files, err)
	}
}

func TestServerOptions(t *testing.T) {
	for cmdline, want := range map[string][]string{
		"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups":                              nil,
		"sshd: /usr/sbin/sshd -D -oHostKey=/k -h /k2 -e -p 22 [listener] 1 of 10-100 startups": {"-oHostKey=/k", "-h", "/k2"},
		"/usr/sbin/sshd\x00-D\x00-f\x00/a b\x00":                                               {"-f", "/a b"},
		"sshd: anna [priv]":                                                                    nil,
		"sshd: -f [net]":                                                                       nil,
		"/usr/sbin/sshd\x00-f":                                                                 nil,
		"":                                                                                     nil,
	} {
		if got := serverOptions(cmdline); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", cmdline, got, want)
		}
	}
}

// A machine without keys of OpenSSH gets one that OpenSSH can read.
func TestNewHostKey(t *testing.T) {
	run := tooltest.Need(t, "ssh-keygen")
	s, _, _, _ := system(t)
	if err := os.RemoveAll(s.Root + "/etc/ssh"); err != nil {
		t.Fatal(err)
	}
	id, err := s.identity(t.Context())
	if err != nil || !id.made || len(id.keys) != 1 || len(id.warnings) != 1 {
		t.Fatalf("%+v %v", id, err)
	}
	k := id.keys[0]
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, k.private, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run.Run(t.Context(), tool.Cmd{Name: "ssh-keygen", Args: []string{"-y", "-f", file}})
	if err != nil || strings.TrimSpace(string(out.Stdout)) != k.public {
		t.Errorf("%q %v, want %q", out.Stdout, err, k.public)
	}
	signer, err := ssh.ParsePrivateKey(k.private)
	if err != nil || strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) != k.public {
		t.Error(err)
	}
	if again, err := newHostKey(); err != nil || again.public == k.public {
		t.Error("the same key again", err)
	}
}

func TestWithoutComment(t *testing.T) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if got, err := withoutComment(key + " me@here\n"); err != nil || got != key {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{"", "ssh-ed25519", "ssh-ed25519 ???", "ssh-ed25519 AAAA", "x AAAABHggeQo="} {
		if got, err := withoutComment(bad); err == nil {
			t.Errorf("%q is %q", bad, got)
		}
	}
}

func FuzzPublicKey(f *testing.F) {
	k, err := newHostKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.private)
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		public, err := publicKey(file)
		if err != nil {
			return
		}
		// It goes into a known_hosts file.
		if strings.ContainsAny(public, "\n\r\x00") || len(strings.Fields(public)) != 2 {
			t.Errorf("%q", public)
		}
		if again, err := withoutComment(public); err != nil || again != public {
			t.Errorf("%q is read as %q, %v", public, again, err)
		}
	})
}
