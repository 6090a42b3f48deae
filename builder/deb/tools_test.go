package deb

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/tool"
)

// newTestTools unpacks a package made of files of this machine.
func newTestTools(t *testing.T, files ...tarFile) (*Tools, *Archive, *testArchive) {
	t.Helper()
	a := newTestArchive(t)
	control := completeControl("Package: tools")
	control = strings.Replace(control, "amd64", debArch(t), 1)
	content := makeDeb(t, control, files, "zst")
	a.files["pool/tools.deb"] = content
	a.setPackages(control + "\nFilename: pool/tools.deb\nSize: " + strconv.Itoa(len(content)) + "\nSHA256: " + hexSum(content) + "\n")
	cfg := a.config()
	cfg.Arch = debArch(t)
	if cfg.Arch != "amd64" {
		t.Skip("the test archive serves amd64")
	}
	archive := a.open(cfg)
	tools, err := OpenTools(t.Context(), archive, "tools")
	if err != nil {
		t.Fatal(err)
	}
	return tools, archive, a
}

func debArch(t *testing.T) string {
	t.Helper()
	for deb, golang := range goArch {
		if golang == runtime.GOARCH {
			return deb
		}
	}
	t.Skipf("Debian has no %s", runtime.GOARCH)
	return ""
}

func hostProgram(t *testing.T, path string) tarFile {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return tarFile{name: "./usr/bin/" + filepath.Base(path), data: string(b), mode: 0o755}
}

func TestToolsCommandGoesThroughTheLoader(t *testing.T) {
	self, err := os.Executable() // static or not, depending on how tests are built
	if err != nil {
		t.Fatal(err)
	}
	tools, _, _ := newTestTools(t, hostProgram(t, "/bin/true"), hostProgram(t, self),
		tarFile{name: "./usr/lib64/ld-2.so", data: "loader"}, tarFile{name: "./lib64/ld-linux-x86-64.so.2", kind: '2', link: "/usr/lib64/ld-2.so"},
		tarFile{name: "./usr/lib/x86_64-linux-gnu/libc.so.6", data: "libc"}, tarFile{name: "./usr/lib/x86_64-linux-gnu/gconv/"},
		tarFile{name: "./usr/sbin/script", data: "#!/bin/sh\n", mode: 0o755})
	cmd, err := tools.command(tool.Cmd{Name: "true", Args: []string{"-x"}, Env: []string{"A=b"}})
	if err != nil {
		t.Fatal(err)
	}
	lib := tools.Path("usr/lib/x86_64-linux-gnu") + ":" + tools.Path("usr/lib64") + ":" + tools.Path("usr/lib")
	want := []string{"--library-path", lib, "--argv0", "true", tools.Path("usr/bin/true"), "-x"}
	if cmd.Name != tools.Path("usr/lib64/ld-2.so") || !slices.Equal(cmd.Args, want) {
		t.Errorf("got  %s %q\nwant %q", cmd.Name, cmd.Args, want)
	}
	if !slices.Equal(cmd.Env, []string{"GCONV_PATH=" + tools.Path("usr/lib/x86_64-linux-gnu/gconv"), "A=b"}) {
		t.Errorf("environment %q", cmd.Env)
	}
	for says, c := range map[string]tool.Cmd{
		"not an ELF program": {Name: "script"}, "not found": {Name: "absent"}, "another root": {Name: "true", Root: "/mnt"},
	} {
		_, err := tools.Run(t.Context(), c)
		wantError(t, err, c.Name, says)
		var te *tool.Error
		if !errors.As(err, &te) || te.Exit != -1 {
			t.Errorf("%v is not a *tool.Error", err)
		}
	}
}

func TestToolsAreUnpackedOnceAndMended(t *testing.T) {
	tools, archive, a := newTestTools(t, tarFile{name: "./usr/share/x/file", data: "content"}, tarFile{name: "./usr/share/x/abs", kind: '2', link: "/usr/share/x/file"},
		tarFile{name: "./usr/share/doc/x/README", data: "left out"}, tarFile{name: "./dev/null", kind: '3', major: 1, minor: 3}, tarFile{name: "./usr/bin/suid", data: "x", mode: 0o4755, uid: 7})
	if b, err := os.ReadFile(tools.Path("/usr/share/x/abs")); err != nil || string(b) != "content" {
		t.Errorf("through an absolute link: %q, %v", b, err)
	}
	for _, gone := range []string{"usr/share/doc/x/README", "dev/null"} {
		if fileExists(tools.Path(gone)) {
			t.Errorf("%s is there", gone)
		}
	}
	if st, err := os.Stat(tools.Path("usr/bin/suid")); err != nil || st.Mode() != 0o755 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	before := len(a.requests())
	if _, err := OpenTools(t.Context(), archive, "tools"); err != nil || len(a.requests()) != before {
		t.Errorf("opened again: %v, %d requests", err, len(a.requests())-before)
	}
	if err := os.WriteFile(tools.Path("usr/share/x/file"), []byte("cut"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTools(t.Context(), archive, "tools"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(tools.Path("usr/share/x/file")); err != nil || string(b) != "content" {
		t.Errorf("a damaged file was not mended: %q, %v", b, err)
	}
	left, err := filepath.Glob(filepath.Join(archive.cfg.CacheDir, "tools", ".unpack-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestToolsOfAnotherArchitecture(t *testing.T) {
	other := "arm64"
	if runtime.GOARCH == "arm64" {
		other = "amd64"
	}
	_, err := OpenTools(t.Context(), &Archive{cfg: Config{Arch: other}, index: newIndex(other)}, "x")
	wantError(t, err, other, "do not run on this machine")
}
