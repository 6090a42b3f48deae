package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb/debtest"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

// scriptCommands are the commands that scripts have beside testscript's own.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"exits":       exits,
	"payload":     makePayload,
	"archive":     makeArchive,
	"flip":        flip,
	"truncate":    truncate,
	"chmodfile":   chmodFile,
	"error-event": errorEvent,
	"smalldisk":   smallDisk,
	"register":    register,
	"lock":        lockRegistrations,
}

// makePayload writes a payload whose image is no file system, for what is
// decided before it is looked at: payload DIR [version=2] [password]
// [treeSize=BYTES] [templates].
func makePayload(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: payload DIR [version=N] [password] [treeSize=BYTES] [templates]")
	}
	dir := ts.MkAbs(args[0])
	image := []byte(strings.Repeat("no file system\n", 1000))
	sum := sha256.Sum256(image)
	user := request.User{Name: "root", SSHKeys: []string{"ssh-ed25519 AAAA test"}}
	p := builder.Payload{
		Version: builder.Version, Item: "debian", Suite: "trixie", Arch: "amd64", Format: "erofs", Kernel: "6.12.0-test",
		TreeSize: 300 << 20,
		Files: []builder.File{{Name: builder.ImageFile, Size: int64(len(image)), SHA256: hex.EncodeToString(sum[:]),
			Parts: []builder.Part{{Origin: "package:bash=5.2", Size: 9000, Raw: 20000, Files: 3}, {Origin: "package:dash=0.5", Size: 6000, Raw: 9000, Files: 1}}}},
	}
	var err error
	templates := request.System{}
	for _, arg := range args[1:] {
		switch key, value, _ := strings.Cut(arg, "="); key {
		case "version":
			p.Version, err = strconv.Atoi(value)
		case "treeSize":
			p.TreeSize, err = strconv.ParseInt(value, 10, 64)
		case "password":
			user.PasswordSecret = passwordSecret
		case "templates":
			templates = templatedSystem
		default:
			ts.Fatalf("payload: unknown key %s", key)
		}
		ts.Check(err)
	}
	p.System = templates
	p.System.Hostname, p.System.Users, p.System.Network = "web1", []request.User{user}, request.Network{Mode: request.NetworkDHCP}
	doc, err := json.MarshalIndent(p, "", " ")
	ts.Check(err)
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(os.WriteFile(filepath.Join(dir, builder.ImageFile), image, 0o644))
	ts.Check(os.WriteFile(filepath.Join(dir, builder.PayloadFile), doc, 0o644))
	if user.PasswordSecret != "" {
		ts.Check(writeSecrets(dir, secret.NewSet(map[string]string{passwordSecret: "$6$abc$" + strings.Repeat("x", 86)})))
	}
}

// templatedSystem depends on the machine that it is installed onto.
var templatedSystem = request.System{
	Requires: []request.Requirement{{Fact: "hw.firmware", OneOf: []string{"uefi"}}},
	Files: []request.File{
		{Path: "/etc/app/mac", Content: `{{ env "hw.nic.0.hwaddr" }}`, Mode: 0o644, Owner: "root"},
		{Path: "/etc/app/cpu", Content: `{{ env "hw.cpu.model" }}`, Mode: 0o644, Owner: "root"},
		{Path: "/etc/app/key", Content: `{{ secret "app-key" }}`, Mode: 0o600, Owner: "root"},
	},
	Units: []request.Unit{{Name: "app.service", Content: "[Service]\n", Enabled: true}},
}

// makeArchive writes a signed Debian archive of one package, and its keyring:
// archive DIR [expired|unsigned].
func makeArchive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: archive DIR [expired|unsigned]")
	}
	a := debtest.Archive{Suite: "trixie", Arch: "amd64", Packages: []debtest.Package{{Name: "hello", Files: map[string]string{"usr/bin/hello": "#!/bin/sh\n"}}}}
	for _, arg := range args[1:] {
		switch arg {
		case "expired":
			a.ValidUntil = time.Now().Add(-time.Hour)
		case "unsigned":
			a.Unsigned = true
		default:
			ts.Fatalf("archive: unknown word %s", arg)
		}
	}
	ts.Check(a.Write(ts.MkAbs(args[0])))
}

// flip alters one byte: flip FILE OFFSET.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	path, data, offset := edited(ts, args)
	data[offset] ^= 1
	ts.Check(os.WriteFile(path, data, 0o644))
}

// truncate cuts a file off: truncate FILE SIZE.
func truncate(ts *testscript.TestScript, _ bool, args []string) {
	path, data, size := edited(ts, args)
	ts.Check(os.WriteFile(path, data[:size], 0o644))
}

func edited(ts *testscript.TestScript, args []string) (path string, data []byte, at int) {
	if len(args) != 2 {
		ts.Fatalf("usage: flip|truncate FILE OFFSET")
	}
	path = ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	at, err = strconv.Atoi(args[1])
	ts.Check(err)
	return path, data, at
}

// chmodFile is chmod(1) for one file: chmodfile MODE FILE.
func chmodFile(ts *testscript.TestScript, _ bool, args []string) {
	mode, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	ts.Check(os.Chmod(ts.MkAbs(args[1]), os.FileMode(mode)))
}

// errorEvent checks that stdout of the last command is a stream of events that
// ends with its only error, which has this exit code: error-event CODE.
func errorEvent(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	dec := event.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	var last event.Event
	failures := 0
	for {
		e, err := dec.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		if last = e; e.State == event.Failed {
			failures++
		}
	}
	if failures != 1 || last.State != event.Failed || last.Exit != want || last.Message == "" {
		ts.Fatalf("%d error events, the last event is %+v; want one, at the end, with exit code %d", failures, last, want)
	}
}

// smallDisk mounts a tmpfs until the script ends: smalldisk DIR BYTES.
func smallDisk(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+args[1]))
	ts.Defer(func() { ts.Check(syscall.Unmount(dir, 0)) })
}
