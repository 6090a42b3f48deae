package deb

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// realArchive opens Debian 13 on the mirror that this machine's apt uses, with
// vic's own cache, so that only the first run downloads much.
func realArchive(t *testing.T) *Archive {
	t.Helper()
	if testing.Short() {
		t.Skip("downloads from the Debian mirror")
	}
	mirror, err := HostMirror("/")
	if err != nil {
		tooltest.Missing(t, err.Error())
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(t.Context(), Config{Mirror: mirror, Suite: "trixie", Arch: "amd64", CacheDir: filepath.Join(cache, "vic")})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// aptSandbox is an apt with a state of its own and an empty dpkg status, which
// sees the same index as a.
func aptSandbox(t *testing.T, a *Archive) (options []string) {
	t.Helper()
	dir, repo := t.TempDir(), t.TempDir()
	index := a.store.path(a.release.files["main/binary-amd64/Packages"].sha256)
	if err := linkOrCopy(index, filepath.Join(repo, "Packages")); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"lists/partial", "archives/partial", "etc/apt.conf.d", "etc/preferences.d"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"status": "", "sources.list": "deb [trusted=yes] copy:" + repo + " ./\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range map[string]string{
		"Dir::State": dir, "Dir::State::lists": dir + "/lists", "Dir::State::status": dir + "/status", "Dir::Cache": dir, "Dir::Etc": dir + "/etc",
		"Dir::Etc::sourcelist": dir + "/sources.list", "Dir::Etc::sourceparts": "-", "APT::Architecture": "amd64", "APT::Architectures": "amd64",
		"APT::Install-Recommends": "false", "APT::Sandbox::User": "root", "Acquire::Languages": "none",
	} {
		options = append(options, "-o", key+"="+value)
	}
	return options
}

func TestResolvesLikeApt(t *testing.T) {
	apt := tooltest.Need(t, "apt-get")
	a := realArchive(t)
	options := aptSandbox(t, a)
	if _, err := apt.Run(t.Context(), tool.Cmd{Name: "apt-get", Args: append(slices.Clone(options), "update")}); err != nil {
		t.Fatal(err)
	}
	// So that each simulation does not parse the index again.
	if _, err := apt.Run(t.Context(), tool.Cmd{Name: "apt-cache", Args: append(slices.Clone(options), "gencaches")}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"bootable": {"systemd-sysv", "linux-image-cloud-amd64", "openssh-server", "grub-pc", "systemd-boot", "apt"},
		"server":   {"nginx", "postgresql", "php-fpm", "certbot", "network-manager"},
		"sysvinit": {"sysvinit-core", "openssh-server"},
	} {
		t.Run(name, func(t *testing.T) {
			req := Request{Packages: append(a.index.required(), want...)}
			pkgs, err := a.Resolve(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range pkgs {
				got = append(got, p.String())
			}
			out, err := apt.Run(t.Context(), tool.Cmd{Name: "apt-get", Args: slices.Concat(options, []string{"-s", "-y", "install"}, req.Packages)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(aptInstalls(string(out.Stdout)), got); diff != "" {
				t.Errorf("apt (-) and vic (+) differ:\n%s", diff)
			}
		})
	}
}

// aptInstalls reads lines "Inst NAME (VERSION ORIGIN [ARCH]) ...".
func aptInstalls(out string) []string {
	var list []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "Inst" {
			list = append(list, words[1]+"="+strings.TrimPrefix(words[2], "("))
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		a, _, _ = strings.Cut(a, "=")
		b, _, _ = strings.Cut(b, "=")
		return strings.Compare(a, b)
	})
	return list
}

// mmdebstrap installs exactly the packages of the local repository, without
// root where user namespaces can be had.
func TestMmdebstrapTakesLocalRepository(t *testing.T) {
	run := tooltest.Need(t, "mmdebstrap")
	a := realArchive(t)
	pkgs, err := a.Resolve(t.Context(), Request{Packages: []string{"apt"}, Required: true})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "vic-repo-") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	repo := filepath.Join(dir, "repo")
	if err := a.LocalRepository(t.Context(), repo, pkgs); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	list := filepath.Join(dir, "list")
	_, err = run.Run(ctx, tool.Cmd{Name: "mmdebstrap", Dir: dir, Args: []string{
		"--variant=minbase", "--format=null",
		"--customize-hook=chroot \"$1\" dpkg-query -W -f '${Package}=${Version}\\n' >" + list,
		"trixie", "-", "deb [trusted=yes] copy:" + repo + " ./",
	}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(b))
	var want []string
	for _, p := range pkgs {
		want = append(want, p.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resolved (-) and installed (+) differ:\n%s", diff)
	}
}

func TestRealPackagesUnpackAsWithDpkgDeb(t *testing.T) {
	dpkg := tooltest.Need(t, "dpkg-deb")
	a := realArchive(t)
	// Owners, hard links, capabilities or long names in each.
	pkgs := resolveAll(t, a, "perl-base", "iputils-ping", "ncurses-base", "git-man", "mailcap", "man-db")
	paths, err := a.Fetch(t.Context(), pkgs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pkgs {
		if slices.Contains([]string{"perl-base", "iputils-ping", "ncurses-base", "git-man", "man-db", "libc6"}, pkgs[i].Name) {
			compareWithDpkgDeb(t, dpkg, paths[i])
		}
	}
}

func TestToolsRunFromPackages(t *testing.T) {
	a := realArchive(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("the archive is opened for amd64")
	}
	tools, err := OpenTools(t.Context(), a, "erofs-utils", "systemd-boot-efi", "mtools", "dosfstools", "busybox-static")
	if err != nil {
		t.Fatal(err)
	}
	out, err := tools.Run(t.Context(), tool.Cmd{Name: "mkfs.erofs", Args: []string{"--version"}})
	if err != nil || !strings.Contains(string(out.Stdout)+string(out.Stderr), "1.8.") {
		t.Errorf("mkfs.erofs: %q %q %v", out.Stdout, out.Stderr, err)
	}
	if out, err = tools.Run(t.Context(), tool.Cmd{Name: "busybox", Args: []string{"echo", "static"}}); err != nil || string(out.Stdout) != "static\n" {
		t.Errorf("static program: %q %v", out.Stdout, err)
	}
	if st, err := os.Stat(tools.Path("usr/lib/systemd/boot/efi/linuxx64.efi.stub")); err != nil || st.Size() < 10_000 {
		t.Errorf("stub: %v", err)
	}
	// The tree written by vic, made a file system by the unpacked program.
	tree := NewTree()
	mustAdd(t, tree, "Package: aa", richFiles...)
	image := filepath.Join(t.TempDir(), "x.erofs")
	tarball, err := os.Create(image + ".tar")
	if err != nil {
		t.Fatal(err)
	}
	defer tarball.Close()
	if err := tree.WriteTar(tarball, testNow); err != nil {
		t.Fatal(err)
	}
	if _, err := tools.Run(t.Context(), tool.Cmd{Name: "mkfs.erofs", Args: []string{"--tar=f", image, tarball.Name()}}); err != nil {
		t.Fatal(err)
	}
	if _, err := tools.Run(t.Context(), tool.Cmd{Name: "fsck.erofs", Args: []string{image}}); err != nil {
		t.Error(err)
	}
	// mtools need glibc's converters, of the same version.
	fat := filepath.Join(t.TempDir(), "fat.img")
	for _, c := range []tool.Cmd{
		{Name: "mkfs.vfat", Args: []string{"-C", fat, "4096"}},
		{Name: "mmd", Args: []string{"-i", fat, "::EFI"}},
	} {
		if _, err := tools.Run(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
	before, err := os.Stat(tools.dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenTools(t.Context(), a, "erofs-utils", "systemd-boot-efi", "mtools", "dosfstools", "busybox-static")
	if err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(again.dir); err != nil || !os.SameFile(before, after) {
		t.Errorf("unpacked again: %v", err)
	}
}
