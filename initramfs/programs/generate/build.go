package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
var stripped = []string{"-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid="}

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

// rewriteCommands makes one command, bb, of the commands pkgs, with all sources
// that it needs, in the folder gopath.
//
// gobusybox turns each command into a package (its init functions and
// variables run only when the command is chosen). Its own build would recompile
// everything each time; with -trimpath the go command's cache does not depend
// on the folder, so that buildBusybox compiles only what has changed.
func rewriteCommands(arch string, pkgs []string, gopath string) error {
	root, err := goRoot()
	if err != nil {
		return err
	}
	env := golang.Default(golang.WithGOROOT(root), golang.DisableCGO(), golang.WithGOOS("linux"), golang.WithGOARCH(arch),
		golang.WithBuildTag(strings.Split(busyboxTags, ",")...))
	if err := os.Mkdir(gopath, 0o700); err != nil {
		return err
	}
	err = bb.BuildBusybox(ulog.Null, &bb.Opts{
		Env: env, LookupEnv: &findpkg.Env{}, CommandPaths: pkgs,
		GenSrcDir: gopath, GenerateOnly: true, BinaryPath: filepath.Join(gopath, "bb"),
	})
	if err != nil {
		return fmt.Errorf("rewrite commands: %w", err)
	}
	for name, text := range map[string]string{"godebug.go": godebug, "default.go": defaultCommand} {
		if err := os.WriteFile(filepath.Join(mainPackage(gopath), name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func mainPackage(gopath string) string { return filepath.Join(gopath, "src", "bb.u-root.com", "bb") }

// buildBusybox compiles what rewriteCommands left in gopath.
func buildBusybox(arch, gopath, out string) error {
	args := append([]string{"build", "-tags=" + busyboxTags}, stripped...)
	env := append(target(arch), "GO111MODULE=off", "GOPATH="+gopath)
	if _, err := goCommand(mainPackage(gopath), env, append(args, "-o", out, ".")...); err != nil {
		return fmt.Errorf("build the busybox: %w", err)
	}
	return nil
}

// godebug gives the busybox the same defaults as a command of this module: a
// GOPATH has no go.mod to read the language version from.
const godebug = "//go:debug default=go1.26\n\npackage main\n"

// defaultCommand has the busybox be vic-init under each name that is none of its
// commands: vic-init calls itself by other names, and another machine has it in a
// file of any name. "bb ls" goes on to be ls.
const defaultCommand = `package main

import (
	"os"
	"slices"

	"bb.u-root.com/bb/pkg/bbmain"
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
