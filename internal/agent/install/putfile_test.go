package install

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/victorinix/vic/internal/agent/within"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/template"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// withAccounts is a target with a user and a group.
func withAccounts(t *testing.T) target {
	t.Helper()
	tooltest.Root(t)
	in := target{root: within.Root(t.TempDir())}
	for name, text := range map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1001::/home/anna:/bin/sh\nbad:x:one:1::/:/bin/sh\n",
		"/etc/group":  "root:x:0:\nssl-cert:x:110:\nanna:x:1001:\nbad:x:x:\n",
	} {
		must(t, in.put(name, file{mode: 0o644, content: strings.NewReader(text)}))
	}
	return in
}

func TestPutFileOwnerAndMode(t *testing.T) {
	in := withAccounts(t)
	secrets := secret.NewSet(map[string]string{"key": "canary\x00\xff"})
	for _, tt := range []struct {
		owner, group string
		mode         uint32
		uid, gid     uint32
	}{
		{"root", "", 0o644, 0, 0},
		{"root", "ssl-cert", 0o640, 0, 110},
		{"anna", "", 0o600, 1000, 1001},
		{"anna", "root", 0o4755, 1000, 0},
		{"12", "34", 0o444, 12, 34},
		{"12", "", 0o444, 12, 12},
	} {
		a := plan.PutFile{Path: "/etc/app/key", Mode: tt.mode, Owner: tt.owner, Group: tt.group, Content: []template.Segment{{Text: "a"}, {Secret: "key"}}}
		must(t, in.putFile(a, secrets))
		path := filepath.Join(string(in.root), a.Path)
		st, err := os.Stat(path)
		must(t, err)
		sys := st.Sys().(*syscall.Stat_t)
		if got, err := os.ReadFile(path); sys.Uid != tt.uid || sys.Gid != tt.gid || sys.Mode&0o7777 != tt.mode || err != nil || string(got) != "acanary\x00\xff" {
			t.Errorf("%+v: %d:%d %o %q %v", tt, sys.Uid, sys.Gid, sys.Mode, got, err)
		}
	}
	if l, err := os.ReadDir(filepath.Join(string(in.root), "etc/app")); err != nil || len(l) != 1 {
		t.Errorf("left behind: %v %v", l, err)
	}
}

func TestPutFileRefuses(t *testing.T) {
	in := withAccounts(t)
	for want, a := range map[string]plan.PutFile{
		"not an absolute path":                        {Path: "../x", Owner: "root"},
		"find owner nobody: there is no such account": {Path: "/x", Owner: "nobody"},
		"find owner bad: ":                            {Path: "/x", Owner: "bad"},
		"find group none: there is no such group":     {Path: "/x", Owner: "root", Group: "none"},
		"find group bad: ":                            {Path: "/x", Owner: "root", Group: "bad"},
		`secret "key": it was not delivered`:          {Path: "/x", Owner: "root", Content: []template.Segment{{Secret: "key"}}},
	} {
		if err := in.putFile(a, secret.Set{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if in.exists("/x") {
			t.Fatalf("%s: the file was written", want)
		}
	}
}

// An item's path may lead through links of the payload, but not out of it.
func TestPutFileStaysInside(t *testing.T) {
	in, outside := escapee(t, "etc", "OUTSIDE")
	if err := in.putFile(plan.PutFile{Path: "/etc/file", Mode: 0o644, Owner: "0"}, secret.Set{}); err == nil {
		t.Error("no error for a link that leads nowhere")
	}
	requireUntouched(t, outside)
}
