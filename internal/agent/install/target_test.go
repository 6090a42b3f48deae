package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/agent/within"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// escapees are trees in which a link leads out of the target.
func escapee(t *testing.T, link, to string) (in target, outside string) {
	t.Helper()
	tooltest.Root(t)
	base := t.TempDir()
	in, outside = target{root: within.Root(filepath.Join(base, "target"))}, filepath.Join(base, "outside")
	must(t, os.MkdirAll(filepath.Join(string(in.root), filepath.Dir(link)), 0o755))
	must(t, os.MkdirAll(outside, 0o755))
	must(t, os.WriteFile(filepath.Join(outside, "file"), []byte("host"), 0o644))
	must(t, os.Symlink(strings.ReplaceAll(to, "OUTSIDE", outside), filepath.Join(string(in.root), link)))
	return in, outside
}

func requireUntouched(t *testing.T, outside string) {
	t.Helper()
	l, err := os.ReadDir(outside)
	must(t, err)
	b, err := os.ReadFile(filepath.Join(outside, "file"))
	must(t, err)
	if len(l) != 1 || string(b) != "host" {
		t.Errorf("outside the target: %v, file %q", l, b)
	}
}

func TestWriteFileStaysInside(t *testing.T) {
	for _, test := range []struct {
		name, link, to, write string
		inside                string // where the file is then; empty: an error
	}{
		{"absolute link to a directory", "etc", "OUTSIDE", "/etc/file", ""},
		{"relative link to a directory", "etc", "../outside", "/etc/file", "outside/file"},
		{"link at the end", "etc/file", "OUTSIDE/file", "/etc/file", "etc/file"},
		{"relative link at the end", "etc/file", "../../outside/file", "/etc/file", "etc/file"},
		{"link in the middle", "etc/net", "../../outside", "/etc/net/new/file", "outside/new/file"},
		{"link within", "lib", "usr/lib", "/lib/file", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			in, outside := escapee(t, test.link, test.to)
			if test.inside != "" {
				must(t, os.MkdirAll(filepath.Join(string(in.root), "outside"), 0o755))
			}
			err := in.writeFile(plan.WriteFile{Path: test.write, Mode: 0o640, Content: "new"})
			requireUntouched(t, outside)
			if test.inside == "" {
				if err == nil {
					t.Error("no error for a link that leads nowhere")
				}
				return
			}
			must(t, err)
			st, err := os.Lstat(filepath.Join(string(in.root), test.inside))
			must(t, err)
			if st.Mode() != 0o640 || st.Size() != 3 {
				t.Errorf("%v, %d bytes", st.Mode(), st.Size())
			}
		})
	}
}

func TestSymlinkReplaces(t *testing.T) {
	in, outside := escapee(t, "etc/localtime", "OUTSIDE/file")
	for _, to := range []string{"/usr/share/zoneinfo/UTC", "../x"} {
		must(t, in.symlink(plan.Symlink{Path: "/etc/localtime", Target: to}))
		if got, err := os.Readlink(filepath.Join(string(in.root), "etc/localtime")); err != nil || got != to {
			t.Errorf("%q, %v", got, err)
		}
	}
	requireUntouched(t, outside)
}

func TestAuthorizeStaysInside(t *testing.T) {
	in, outside := escapee(t, "root", "OUTSIDE")
	must(t, in.put("/etc/passwd", file{mode: 0o644, content: strings.NewReader("root:x:0:0:root:/root:/bin/bash\n")}))
	if err := in.authorize(request.User{Name: "root", SSHKeys: []string{"k"}}); err == nil {
		t.Error("no error for a home outside the target")
	}
	requireUntouched(t, outside)

	in, outside = escapee(t, "root/.ssh", "OUTSIDE")
	must(t, in.put("/etc/passwd", file{mode: 0o644, content: strings.NewReader("root:x:0:0:root:/root:/bin/bash\n")}))
	if err := in.authorize(request.User{Name: "root", SSHKeys: []string{"k"}}); err == nil {
		t.Error("no error for a .ssh outside the target")
	}
	requireUntouched(t, outside)
}

func TestMountPointRefusesLinks(t *testing.T) {
	for _, to := range []string{"OUTSIDE", "etc"} {
		in, _ := escapee(t, "run", to)
		must(t, os.MkdirAll(filepath.Join(string(in.root), "etc"), 0o755))
		if dir, err := in.root.MountPoint("/run"); err == nil {
			t.Errorf("link to %s: mount on %s", to, dir)
		}
	}
}

func TestPathsArePlain(t *testing.T) {
	in := target{root: within.Root(t.TempDir())}
	for _, p := range []string{"", "/", "etc/x", "/etc/../x", "/etc//x", "/etc/", "../x"} {
		if err := in.writeFile(plan.WriteFile{Path: p}); err == nil {
			t.Errorf("%q was written", p)
		}
		if err := in.symlink(plan.Symlink{Path: p, Target: "x"}); err == nil {
			t.Errorf("%q was linked", p)
		}
	}
}

func TestWriteFileLeavesNothingBehind(t *testing.T) {
	tooltest.Root(t)
	in := target{root: within.Root(t.TempDir())}
	must(t, os.MkdirAll(filepath.Join(string(in.root), "etc/x/y"), 0o755))
	if err := in.writeFile(plan.WriteFile{Path: "/etc/x", Mode: 0o644}); err == nil {
		t.Error("a directory was replaced")
	}
	if l, _ := os.ReadDir(filepath.Join(string(in.root), "etc")); len(l) != 1 {
		t.Errorf("left behind: %v", l)
	}
}

func TestStableName(t *testing.T) {
	for _, test := range []struct {
		d    plan.Disk
		want string
	}{
		{plan.Disk{Device: "/dev/vda", Serial: "QM0001"}, "/dev/disk/by-id/virtio-QM0001"},
		{plan.Disk{Device: "/dev/vda"}, ""},
		{plan.Disk{Device: "/dev/vda", Serial: "with space"}, ""},
		{plan.Disk{Device: "/dev/sda", Serial: "S1", WWN: "0x5002538d40a1b2c3"}, "/dev/disk/by-id/wwn-0x5002538d40a1b2c3"},
		{plan.Disk{Device: "/dev/sda", Serial: "S1"}, ""},
		{plan.Disk{Device: "/dev/nvme0n1", WWN: "eui.0025385b11b2c3d4"}, "/dev/disk/by-id/nvme-eui.0025385b11b2c3d4"},
	} {
		if got := stableName(test.d); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.d, got, test.want)
		}
		selections, note := grubSelections([]plan.Disk{test.d})
		if empty := strings.Contains(selections, "install_devices_empty boolean true"); empty != (test.want == "") || empty != (note != "") {
			t.Errorf("%+v: %q %q", test.d, selections, note)
		}
	}
}

func TestLocaleThatCannotBeMade(t *testing.T) {
	in := target{root: within.Root(t.TempDir())}
	if err := in.locale(t.Context(), "de_DE.UTF-8"); err == nil || !strings.Contains(err.Error(), "needs the package locales") {
		t.Errorf("got %v", err)
	}
	if err := in.locale(t.Context(), "C.UTF-8"); err != nil {
		t.Error(err)
	}
}
