package remote

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// found runs find in this shell, after a preparation, apart from other mounts.
func found(t *testing.T, before, args string) (string, error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for mounts")
	}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("needs mount namespaces: %s", out)
	}
	script := fmt.Sprintf("set -e; mount --make-rprivate /; mount -t tmpfs -o mode=1777 shm /dev/shm; mount -t tmpfs run /run; mount -t tmpfs -o mode=1777 disk /tmp\n%s\nset +e; set -- %s\n%s", before, args, find)
	out, err := exec.Command("unshare", "-m", "/bin/sh", "-c", script).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestFind(t *testing.T) {
	t.Parallel()
	const noexec = "mount -o remount,noexec,mode=1777 /dev/shm; mount -o remount,noexec /run"
	for name, tt := range map[string]struct{ before, args, want string }{
		"new":                       {"", "ram again", "vic:folder=ram:/dev/shm/vic-0"},
		"again":                     {"mkdir -m 700 /dev/shm/vic-0", "ram again", "vic:folder=ram:/dev/shm/vic-0"},
		"apart":                     {"mkdir -m 700 /dev/shm/vic-0", "any new", "vic:folder=ram:/dev/shm/vic-0.*"},
		"somebody else's":           {"mkdir -m 700 /dev/shm/vic-0; chown 1 /dev/shm/vic-0", "ram again", "vic:folder=ram:/dev/shm/vic-0.*"},
		"open to others":            {"mkdir -m 777 /dev/shm/vic-0; chmod 777 /dev/shm/vic-0", "ram again", "vic:folder=ram:/dev/shm/vic-0.*"},
		"a link":                    {"mkdir -m 700 /dev/shm/x; ln -s x /dev/shm/vic-0", "ram again", "vic:folder=ram:/dev/shm/vic-0.*"},
		"noexec":                    {"mount -o remount,noexec,mode=1777 /dev/shm", "ram again", "vic:folder=ram:/run/vic-0"},
		"noexec everywhere":         {noexec, "ram again", "vic:folder=ram:/run/vic-0"},
		"noexec, apart":             {noexec, "ram new", "vic:folder=ram:/run/vic-0.*"},
		"noexec, and mounted":       {noexec + "; mkdir -m 700 /run/vic-0; mount -t tmpfs -o mode=0700 vic /run/vic-0", "ram again", "vic:folder=ram:/run/vic-0"},
		"no tmpfs":                  {"umount /dev/shm /run; mount -t ramfs shm /dev/shm; mount -t ramfs run /run", "ram again", "vic:folder=ram:/run/vic-0"},
		"nothing may be mounted":    {noexec + "; mount -o remount,ro /run", "any new", "vic:folder=disk:/tmp/vic-0.*"},
		"nothing, and it has to be": {noexec + "; mount -o remount,ro /run", "ram new", "no folder of this machine takes programs: tried /dev/shm and /run"},
	} {
		out, err := found(t, tt.before, tt.args)
		last := out[strings.LastIndex(out, "\n")+1:]
		if ok, matchErr := filepath.Match(tt.want, last); !ok || matchErr != nil || (err != nil) != strings.HasPrefix(tt.want, "no ") {
			t.Errorf("%s: %q %v, want %s", name, out, err, tt.want)
		}
	}
}

// What is made is removed again.
func TestFolder(t *testing.T) {
	t.Parallel()
	s, ctx := opened(t, serve(t), Host{Name: "there"}), limit(t)
	if err := s.makeFolder(ctx, ram, private); err != nil {
		t.Fatal(err)
	}
	folder := s.folder
	st, err := os.Stat(folder)
	if err != nil || st.Mode() != os.ModeDir|0o700 || !s.inRAM {
		t.Errorf("%v %v", st, err)
	}
	if err := s.makeFolder(ctx, ram, private); err != nil || s.folder != folder {
		t.Errorf("another one: %s %v", s.folder, err)
	}
	if err := s.Discard(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("left %s: %v", folder, err)
	}
	if err := s.Discard(ctx); err != nil {
		t.Error(err)
	}
}
