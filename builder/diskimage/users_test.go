package diskimage

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// accounts is a tree with the accounts of a small Debian.
func accounts(t *testing.T) []sample {
	t.Helper()
	return append(folders("", "etc", "etc/skel", "etc/skel/.config", "root", "home"),
		file("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
		sample{"etc/shadow", "root:*:20089:0:99999:7:::\nnobody:*:20089:0:99999:7:::\n", tar.TypeReg, 0o640},
		file("etc/group", "root:x:0:\nsudo:x:27:\nusers:x:100:\nnogroup:x:65534:\n"),
		sample{"etc/gshadow", "root:*::\nsudo:*::\nusers:*::\nnogroup:*::\n", tar.TypeReg, 0o640},
		file("etc/subuid", ""), file("etc/subgid", ""),
		file("etc/skel/.profile", "profile\n"), file("etc/skel/.config/x", "x\n"),
		file("etc/login.defs", "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\nHOME_MODE 0700\nUSERGROUPS_ENAB yes\nSUB_UID_MIN 100000\nSUB_UID_MAX 600100000\nSUB_UID_COUNT 65536\nSUB_GID_MIN 100000\nSUB_GID_MAX 600100000\nSUB_GID_COUNT 65536\nPASS_MAX_DAYS 99999\nPASS_MIN_DAYS 0\nPASS_WARN_AGE 7\n"))
}

func testBuild(t *testing.T, list []sample) *build {
	return &build{tree: testTree(t, list...), time: epoch, tmp: t.TempDir(), config: Config{
		Secret: func(name string) (string, bool) { return "$6$salt$hash", name == "password" },
	}}
}

// The databases become what useradd, usermod and chpasswd make of them.
func TestAccountsAgreeWithShadow(t *testing.T) {
	run := tooltest.Need(t, "useradd", "usermod")
	tooltest.Root(t)
	b := testBuild(t, accounts(t))
	users := []request.User{
		{Name: "anna", Sudo: true, PasswordSecret: "password"},
		{Name: "bert", SSHKeys: []string{"ssh-ed25519 AAAA bert"}},
		{Name: "root"},
	}
	for _, u := range users {
		if err := b.addUser(u); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	for _, s := range accounts(t) {
		at := filepath.Join(root, s.name)
		if s.kind == tar.TypeDir {
			if err := os.MkdirAll(at, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(at, []byte(s.content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch.Unix())}
	for _, c := range []tool.Cmd{
		{Name: "useradd", Args: []string{"--prefix", root, "--create-home", "--shell", "/bin/bash", "--groups", "sudo", "anna"}},
		{Name: "usermod", Args: []string{"--prefix", root, "--password", "$6$salt$hash", "anna"}}, // chpasswd has --prefix since 4.14
		{Name: "useradd", Args: []string{"--prefix", root, "--create-home", "--shell", "/bin/bash", "bert"}},
		{Name: "usermod", Args: []string{"--prefix", root, "--lock", "root"}},
	} {
		c.Env = env
		if _, err := run.Run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"} {
		want, err := os.ReadFile(root + name)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.tree.text(t, name); got != string(want) {
			t.Errorf("%s has\n%s\nand those programs make\n%s", name, got, want)
		}
	}
	if got := b.tree.text(t, "/etc/subuid"); got != "anna:100000:65536\nbert:165536:65536\n" {
		t.Errorf("subuid has %s", got)
	}
}

func TestHome(t *testing.T) {
	b := testBuild(t, accounts(t))
	if err := b.addUser(request.User{Name: "anna", SSHKeys: []string{"ssh-ed25519 AAAA anna", "ssh-ed25519 BBBB anna"}, Sudo: true}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		mode    int64
		uid     int
		content string
	}{
		"home/anna":                      {0o700, 1000, ""},
		"home/anna/.profile":             {0o644, 1000, "profile\n"},
		"home/anna/.config/x":            {0o644, 1000, "x\n"},
		"home/anna/.config":              {0o755, 1000, ""},
		"home/anna/.ssh":                 {0o700, 1000, ""},
		"home/anna/.ssh/authorized_keys": {0o600, 1000, "ssh-ed25519 AAAA anna\nssh-ed25519 BBBB anna\n"},
		"etc/sudoers.d/90-vic-anna":      {0o440, 0, "anna ALL=(ALL:ALL) NOPASSWD: ALL\n"},
		"etc/shadow":                     {0o640, 0, "root:*:20089:0:99999:7:::\nnobody:*:20089:0:99999:7:::\nanna:!:20089:0:99999:7:::\n"},
	} {
		e := b.tree.entries[name]
		if e == nil || e.Mode != want.mode || e.Uid != want.uid || e.Gid != want.uid {
			t.Errorf("%s is %+v", name, e)
			continue
		}
		if e.Typeflag == tar.TypeReg && b.tree.text(t, name) != want.content {
			t.Errorf("%s has %q", name, b.tree.text(t, name))
		}
	}
}

func TestAccountsRefuse(t *testing.T) {
	for want, u := range map[string]request.User{
		"there is a group users":           {Name: "users"},
		`secret "other": it was not given`: {Name: "root", PasswordSecret: "other"},
		"/etc/group has no sudo":           {Name: "carl", Sudo: true},
		"home/dora/.ssh: there is a file":  {Name: "dora", SSHKeys: []string{"k"}},
	} {
		b := testBuild(t, accounts(t))
		switch u.Name {
		case "carl":
			if err := b.edit("/etc/group", func(lines []string) []string { return lines[:1] }); err != nil {
				t.Fatal(err)
			}
		case "dora":
			if err := b.tree.put("/etc/skel/.ssh", owner{mode: 0o600}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.addUser(u); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", u.Name, err, want)
		}
	}
}

func TestOwnerOfAFile(t *testing.T) {
	b := testBuild(t, accounts(t))
	for _, tt := range []struct {
		user, group string
		uid, gid    int
		want        string
	}{
		{"root", "", 0, 0, ""}, {"root", "sudo", 0, 27, ""}, {"12", "", 12, 12, ""}, {"12", "13", 12, 13, ""}, {"nobody", "users", 65534, 100, ""},
		{"none", "", 0, 0, "find owner none: there is no such account"}, {"root", "none", 0, 0, "find group none: there is no such account"},
	} {
		uid, gid, err := b.tree.ids(tt.user, tt.group)
		if tt.want != "" {
			if err == nil || err.Error() != tt.want {
				t.Errorf("%s:%s: got %v", tt.user, tt.group, err)
			}
			continue
		}
		if err != nil || uid != tt.uid || gid != tt.gid {
			t.Errorf("%s:%s: got %d:%d, %v", tt.user, tt.group, uid, gid, err)
		}
	}
}
