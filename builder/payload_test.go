package builder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/builder/deb/debtest"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/tool"
)

var baseFiles = debtest.Package{Name: "base-files", Control: "Priority: required\nEssential: yes", Files: map[string]string{"etc/debian_version": "13\n"}}

func testSpec() PayloadSpec {
	return PayloadSpec{Item: "debian", Suite: "trixie", Arch: runtime.GOARCH, System: request.System{Hostname: "web1"}}
}

// cachePayload puts a finished payload into the cache, as a build would.
func cachePayload(t *testing.T, env Env, spec PayloadSpec, image string) (dir string) {
	t.Helper()
	b := payloadBuild{env: env, spec: spec}
	if err := b.resolve(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(env.Cache, "payloads", b.key())
	writeFiles(t, dir, map[string]string{ImageFile: image, LockFile: "{}\n"})
	out := output{dir}
	described, err := out.describe(ImageFile, LockFile)
	if err != nil {
		t.Fatal(err)
	}
	p := Payload{Version: Version, Item: "another", Suite: "trixie", Arch: "amd64", Format: "erofs", Kernel: "6.12", TreeSize: 1, Files: described}
	if err := out.writeManifest(PayloadFile, p); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPayloadIsTakenFromTheCache(t *testing.T) {
	env := testEnv(t, baseFiles)
	spec := testSpec()
	cachePayload(t, env, spec, "image")
	out := t.TempDir()
	p, err := BuildPayload(t.Context(), env, spec, out)
	if err != nil {
		t.Fatal(err)
	}
	// What differs between machines is this build's, not the cached one's.
	if p.Item != "debian" || p.System.Hostname != "web1" || p.Path(ImageFile) != filepath.Join(out, ImageFile) {
		t.Errorf("got %+v", p)
	}
	again, err := OpenPayload(out)
	if err != nil || again.System.Hostname != "web1" || files(t, out) != "lock.json payload.erofs payload.json" {
		t.Errorf("got %+v, %v, %s", again, err, files(t, out))
	}
}

// A payload that was altered in the cache is not used: it is built again.
func TestAlteredPayloadInTheCacheIsNotUsed(t *testing.T) {
	for name, alter := range map[string]func(dir string) error{
		"byte":      func(dir string) error { return os.WriteFile(filepath.Join(dir, ImageFile), []byte("imagf"), 0o644) },
		"cut off":   func(dir string) error { return os.Truncate(filepath.Join(dir, ImageFile), 4) },
		"no image":  func(dir string) error { return os.Remove(filepath.Join(dir, ImageFile)) },
		"manifest":  func(dir string) error { return os.Truncate(filepath.Join(dir, PayloadFile), 20) },
		"half made": func(dir string) error { return os.Remove(filepath.Join(dir, PayloadFile)) },
	} {
		t.Run(name, func(t *testing.T) {
			env := testEnv(t, baseFiles)
			spec := testSpec()
			dir := cachePayload(t, env, spec, "image")
			if err := alter(dir); err != nil {
				t.Fatal(err)
			}
			built := errors.New("mmdebstrap was run")
			env.Host = runnerFunc(func(context.Context, tool.Cmd) (tool.Output, error) { return tool.Output{}, built })
			out := filepath.Join(t.TempDir(), "out")
			if _, err := BuildPayload(t.Context(), env, spec, out); !errors.Is(err, built) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the altered payload is still there: %v", err)
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something was written: %v", err)
			}
			if left, err := filepath.Glob(filepath.Join(env.Cache, "payload-*")); err != nil || len(left) > 0 {
				t.Errorf("left in the cache: %v, %v", left, err)
			}
		})
	}
}

func TestBuildOntoFullDiskLeavesNothing(t *testing.T) {
	env := testEnv(t, baseFiles)
	spec := testSpec()
	cachePayload(t, env, spec, strings.Repeat("x", 256<<10))
	out := smallDisk(t, "64k")
	_, err := BuildPayload(t.Context(), env, spec, out)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	wantError(t, err, "write ", ImageFile)
	if got := files(t, out); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestUnknownPackageIsRefused(t *testing.T) {
	env := testEnv(t, baseFiles)
	spec := testSpec()
	spec.Packages = []string{"base-fiels"}
	_, err := CachePayload(t.Context(), env, spec)
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	wantError(t, err, "base-fiels", "base-files")
}

// The key names the bytes: whatever changes them changes it, nothing else does.
func TestPayloadKey(t *testing.T) {
	key := func(change func(*payloadBuild)) string {
		b := payloadBuild{
			env:      Env{Time: DefaultTime},
			spec:     PayloadSpec{Item: "debian", Suite: "trixie", Arch: "amd64", Units: []string{"a.service"}},
			packages: []deb.Package{{Name: "bash", Version: "5.2", SHA256: strings.Repeat("a", 64)}},
		}
		if change != nil {
			change(&b)
		}
		return b.key()
	}
	same := key(nil)
	if len(same) != 32 || strings.Trim(same, "0123456789abcdef") != "" {
		t.Errorf("got %q", same)
	}
	for name, change := range map[string]func(*payloadBuild){
		"item":  func(b *payloadBuild) { b.spec.Item = "mine" },
		"host":  func(b *payloadBuild) { b.spec.System.Hostname = "x" },
		"cache": func(b *payloadBuild) { b.env.Cache = "/elsewhere" },
	} {
		if key(change) != same {
			t.Errorf("%s changes the key", name)
		}
	}
	seen := map[string]string{same: "nothing"}
	for name, change := range map[string]func(*payloadBuild){
		"suite":   func(b *payloadBuild) { b.spec.Suite = "forky" },
		"arch":    func(b *payloadBuild) { b.spec.Arch = "arm64" },
		"units":   func(b *payloadBuild) { b.spec.Units = nil },
		"time":    func(b *payloadBuild) { b.env.Time = b.env.Time.Add(time.Second) },
		"version": func(b *payloadBuild) { b.packages[0].Version = "5.3" },
		"hash":    func(b *payloadBuild) { b.packages[0].SHA256 = strings.Repeat("b", 64) },
		"package": func(b *payloadBuild) { b.packages = append(b.packages, deb.Package{Name: "dash"}) },
	} {
		k := key(change)
		if other, twice := seen[k]; twice {
			t.Errorf("%s and %s give the same key", name, other)
		}
		seen[k] = name
	}
}

func TestMmdebstrapCommand(t *testing.T) {
	b := payloadBuild{
		env:      Env{Time: time.Unix(1700000000, 0)},
		spec:     PayloadSpec{Suite: "trixie", Arch: "arm64", Units: []string{"a.service", "b.timer"}},
		packages: []deb.Package{{Name: "bash"}, {Name: "dash"}},
	}
	c := b.mmdebstrap("/cache/repository", "/cache/raw.tar")
	for _, want := range []string{"--include=bash,dash", "--architectures=arm64", `--customize-hook=chroot "$1" systemctl enable a.service b.timer`} {
		if !slices.Contains(c.Args, want) {
			t.Errorf("missing %q in %q", want, c.Args)
		}
	}
	if got := strings.Join(c.Args[len(c.Args)-3:], " | "); got != "trixie | /cache/raw.tar | deb [trusted=yes] copy:/cache/repository ./" {
		t.Errorf("got %s", got)
	}
	if !slices.Contains(c.Env, "SOURCE_DATE_EPOCH=1700000000") {
		t.Errorf("got %q", c.Env)
	}
	b.spec.Units = nil
	if c := b.mmdebstrap("r", "t"); strings.Contains(c.String(), "systemctl") {
		t.Errorf("no units: %s", c)
	}
}

func TestMissingMmdebstrapNamesThePackage(t *testing.T) {
	err := mmdebstrapHint(&tool.Error{Cmd: tool.Cmd{Name: "mmdebstrap"}, Err: tool.ErrNotFound})
	if !errors.Is(err, tool.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	wantError(t, err, "install the Debian package mmdebstrap")
	if err := mmdebstrapHint(nil); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestCompareReleases(t *testing.T) {
	releases := []string{"6.12.9-amd64", "6.12.10-amd64", "6.1.0-44-amd64", "6.12.10-cloud-amd64", "5.10.0-9-amd64"}
	slices.SortFunc(releases, compareReleases)
	want := "5.10.0-9-amd64 6.1.0-44-amd64 6.12.9-amd64 6.12.10-amd64 6.12.10-cloud-amd64"
	if got := strings.Join(releases, " "); got != want {
		t.Errorf("got %s", got)
	}
}

// A payload with what records the disks of the machine that makes an initramfs
// has none.
func TestPayloadInitramfs(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    payloadBuild
		want string
	}{
		{"no more than ext4", payloadBuild{packages: []deb.Package{{Name: "e2fsprogs"}}}, "ext4"},
		{"LVM", payloadBuild{spec: PayloadSpec{Features: []Feature{"lvm"}}}, ""},
		{"mdadm", payloadBuild{packages: []deb.Package{{Name: "e2fsprogs"}, {Name: "mdadm"}}}, ""},
	} {
		tt.b.spec.Suite, tt.b.spec.Arch = "trixie", "amd64"
		made := slices.ContainsFunc(tt.b.mmdebstrap("repository", "out.tar").Args, func(a string) bool { return strings.Contains(a, "update-initramfs") })
		if got := tt.b.rootFS(); got != tt.want || made != (tt.want != "") {
			t.Errorf("%s: for %q, made: %v", tt.name, got, made)
		}
	}
}
