package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/u-root/gobusybox/src/pkg/bb"
	"github.com/u-root/gobusybox/src/pkg/bb/findpkg"
	"github.com/u-root/gobusybox/src/pkg/golang"
	"github.com/u-root/uio/ulog"
)

// target are the settings of the go command that could change the result,
// pinned so that the caller's own do not.
func target(arch string) []string {
	return []string{
		"GOOS=linux", "GOARCH=" + arch, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off",
	}
}

// goCommand runs the go command for a target and returns what it prints.
func goCommand(dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// stripped are the flags that make a build small, and the same everywhere.
// Functions are not inlined, but for inner loops: it makes a sixth of the size, as
// it is sent and as the kernel has to unpack it, and what runs once at a start is
// not faster for it.
var stripped = append([]string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-gcflags=all=-l"}, optimized()...)

// optimized are the flags for packages with inner loops: the runtime's memory
// management, sums, ciphers, compression.
func optimized() (flags []string) {
	for _, pkgs := range []string{
		"runtime", "internal/runtime/...", "sync/...", "internal/bytealg", "internal/byteorder", "unicode/utf8",
		"encoding/binary", "math/...", "hash/...", "compress/...", "crypto/internal/...",
		"golang.org/x/crypto/chacha20", "golang.org/x/crypto/internal/...", "vendor/golang.org/x/crypto/...",
		"github.com/klauspost/...", "github.com/therootcompany/...",
	} {
		flags = append(flags, "-gcflags="+pkgs+"=")
	}
	return flags
}

// buildStatic compiles the commands pkgs into the folder dir, each named as the
// last part of its package.
func buildStatic(arch, dir string, pkgs ...string) error {
	args := append([]string{"build"}, stripped...)
	args = append(args, "-o", dir+string(filepath.Separator))
	if _, err := goCommand("", target(arch), append(args, pkgs...)...); err != nil {
		return fmt.Errorf("build %s: %w", strings.Join(pkgs, ", "), err)
	}
	return nil
}

// busyboxTags leave out gosh's own line editor, which asks the terminal for its
// position and draws the line again at every key: on a serial line that is
// slow, and on one that nobody answers, broken. The kernel's line discipline
// echoes and edits instead. HTTP/2 is left out: one download at a time gains
// nothing from it, and it is 120 kB in every bundle.
const busyboxTags = "goshsmall,nethttpomithttp2"

// busyboxPkg is the busybox's package: it is in no folder, but laid over this
// module when it is compiled (-overlay of the go command).
const busyboxPkg = outputPkg + "/busybox"

// registryPkg is what gobusybox's output knows its registry of commands as.
const registryPkg = "bb.u-root.com/bb/pkg/bbmain"

// rewriteCommands makes one command of the commands pkgs in the empty folder
// dir, and returns an overlay with which buildBusybox finds it.
//
// gobusybox turns each command into a package (its init functions and
// variables run only when the command is chosen), in a GOPATH with a copy of all
// that they need. Of that only the rewritten commands are used, as packages of
// this module: compiled in a GOPATH, everything else would be compiled a second
// time.
func rewriteCommands(arch string, pkgs []string, dir string) (overlay string, err error) {
	root, err := goRoot()
	if err != nil {
		return "", err
	}
	env := golang.Default(golang.WithGOROOT(root), golang.DisableCGO(), golang.WithGOOS("linux"), golang.WithGOARCH(arch),
		golang.WithBuildTag(strings.Split(busyboxTags, ",")...))
	err = bb.BuildBusybox(ulog.Null, &bb.Opts{
		Env: env, LookupEnv: &findpkg.Env{}, CommandPaths: pkgs,
		GenSrcDir: dir, GenerateOnly: true, BinaryPath: filepath.Join(dir, "bb"),
	})
	if err != nil {
		return "", fmt.Errorf("rewrite commands: %w", err)
	}
	places := map[string]string{path.Dir(path.Dir(registryPkg)): busyboxPkg, registryPkg: busyboxPkg + "/registry"}
	for _, pkg := range pkgs {
		places[pkg] = busyboxPkg + "/" + path.Base(pkg)
	}
	main := filepath.Join(dir, "src", "bb.u-root.com", "bb", "default.go")
	if err := os.WriteFile(main, []byte(defaultCommand), 0o644); err != nil {
		return "", err
	}
	return overlayPackages(filepath.Join(dir, "src"), places)
}

// overlayPackages has the packages of the GOPATH folder src be packages of this
// module: places says which.
func overlayPackages(src string, places map[string]string) (overlay string, err error) {
	module, err := goCommand("", []string{"GOWORK=off", "GOFLAGS="}, "list", "-m", "-f", "{{.Path}}\n{{.Dir}}")
	if err != nil {
		return "", err
	}
	name, root, _ := strings.Cut(strings.TrimSpace(string(module)), "\n")
	var imports []string // with quotes: as a file has them
	for from, to := range places {
		imports = append(imports, strconv.Quote(from), strconv.Quote(to))
	}
	renamed := strings.NewReplacer(imports...)
	files := map[string]string{}
	for from, to := range places {
		sources, err := filepath.Glob(filepath.Join(src, from, "*.go"))
		if err != nil {
			return "", err
		}
		for _, file := range sources {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			if err := os.WriteFile(file, []byte(renamed.Replace(string(text))), 0o644); err != nil {
				return "", err
			}
			files[filepath.Join(root, strings.TrimPrefix(to, name), filepath.Base(file))] = file
		}
	}
	doc, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(src, "overlay.json")
	return overlay, os.WriteFile(overlay, doc, 0o644)
}

// buildBusybox compiles what rewriteCommands made.
func buildBusybox(arch, overlay, out string) error {
	args := append([]string{"build", "-tags=" + busyboxTags, "-overlay", overlay}, stripped...)
	if _, err := goCommand("", target(arch), append(args, "-o", out, busyboxPkg)...); err != nil {
		return fmt.Errorf("build the busybox: %w", err)
	}
	return nil
}

// defaultCommand has the busybox be vic-init under each name that is none of its
// commands: vic-init calls itself by other names, and another machine has it in a
// file of any name. "bb ls" goes on to be ls.
const defaultCommand = `package main

import (
	"os"
	"slices"

	"` + registryPkg + `"
)

func init() {
	bbmain.RegisterDefault(bbmain.Noop, func() {
		name := "vic-init"
		if len(os.Args) > 1 && slices.Contains(bbmain.ListCmds(), os.Args[1]) {
			os.Args = os.Args[1:]
			name = os.Args[0]
		}
		if err := bbmain.Run(name); err != nil {
			panic(err)
		}
	})
}
`

func goRoot() (string, error) {
	out, err := goCommand("", nil, "env", "GOROOT")
	return strings.TrimSpace(string(out)), err
}
