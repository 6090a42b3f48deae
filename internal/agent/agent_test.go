package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/ramsys"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

func testRequest(t *testing.T) request.Request {
	t.Helper()
	doc, err := images.Layout(images.DefaultLayout, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	l, err := layout.Parse("default.yaml", doc)
	if err != nil {
		t.Fatal(err)
	}
	return request.Request{
		Version: request.Version, Item: "debian", Layout: l, Finish: request.FinishStay,
		Disks: map[string]request.DiskSelector{"main": {Serial: "no-such-disk"}},
		Payload: request.Payload{Format: "erofs", Size: 1, SHA256: strings.Repeat("a", 64), TreeSize: 1, Arch: "amd64", Kernel: "6.12",
			Source: request.Source{Path: "/x"}},
		System: request.System{Hostname: "web1", Network: request.Network{Mode: request.NetworkDHCP}},
	}
}

// put writes a request, changed as text, and secrets.
func put(t *testing.T, change func(string) string, secrets string) (requestPath, secretsPath string) {
	t.Helper()
	var doc bytes.Buffer
	if err := testRequest(t).Encode(&doc); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	requestPath, secretsPath = filepath.Join(dir, "request.json"), filepath.Join(dir, "secrets.json")
	if err := os.WriteFile(requestPath, []byte(change(doc.String())), 0o600); err != nil {
		t.Fatal(err)
	}
	if secrets != "" {
		if err := os.WriteFile(secretsPath, []byte(secrets), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return requestPath, secretsPath
}

func asItIs(s string) string { return s }

func TestReadTakesTheSecretsAway(t *testing.T) {
	var doc bytes.Buffer
	if err := secret.NewSet(map[string]string{"password": "hunter2"}).EncodeForTarget(&doc); err != nil {
		t.Fatal(err)
	}
	r, s := put(t, asItIs, doc.String())
	req, secrets, err := read(r, s)
	if err != nil || req.Item != "debian" || fmt.Sprint(secrets.Names()) != "[password]" {
		t.Errorf("got %+v, %v, %v", req, secrets, err)
	}
	if _, err := os.Stat(s); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the secrets are still there: %v", err)
	}
	// Without secrets, and a second time.
	if _, secrets, err := read(r, s); err != nil || len(secrets.Names()) != 0 {
		t.Errorf("got %v, %v", secrets, err)
	}
}

func TestReadRefuses(t *testing.T) {
	const noSecrets = `{"version":1,"secrets":{}}`
	for name, tt := range map[string]struct {
		change  func(string) string
		secrets string
		want    string
	}{
		"newer":         {func(s string) string { return strings.Replace(s, `"version": 2`, `"version": 3`, 1) }, noSecrets, "version 3, this vic reads version 2"},
		"cut off":       {func(s string) string { return s[:len(s)/2] }, noSecrets, "decode request"},
		"unknown field": {func(s string) string { return strings.Replace(s, `"item"`, `"itme": "x", "item"`, 1) }, noSecrets, "itme"},
		"empty":         {func(string) string { return "" }, noSecrets, "decode request"},
		"bad secrets":   {asItIs, `{"version":1,"secrets":{"password":"hunter2!"}}`, "decode secrets: no base64"},
		"newer secrets": {asItIs, `{"version":2}`, "decode secrets: version 2"},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := put(t, tt.change, tt.secrets)
			_, _, err := read(r, s)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if _, err := os.Stat(s); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the secrets are still there: %v", err)
			}
		})
	}
	dir := t.TempDir()
	if _, _, err := read(dir+"/none", dir+"/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// What a request is refused for ends the run with 3, before anything else.
func TestRunRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(string) string
		want   string
	}{
		"newer":   {func(s string) string { return strings.Replace(s, `"version": 2`, `"version": 3`, 1) }, "version 3"},
		"phases":  {func(s string) string { return strings.Replace(s, `"finish"`, `"phases": ["copy"], "finish"`, 1) }, "phase copy needs format"},
		"no disk": {asItIs, "no single disk matches serial no-such-disk"},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := put(t, tt.change, "")
			var writes []event.Event
			sink := event.SinkFunc(func(e event.Event) {
				if e.Phase != event.Scan {
					writes = append(writes, e)
				}
			})
			finish, err := Run(t.Context(), ramsys.Env{RequestPath: r, SecretsPath: s, Sink: sink})
			if err == nil || !strings.Contains(err.Error(), tt.want) || ExitCode(err) != exitRefused || finish != "" {
				t.Errorf("got %q, %v (exit code %d), want %q", finish, err, ExitCode(err), tt.want)
			}
			if len(writes) > 0 {
				t.Errorf("it went on: %v", writes)
			}
		})
	}
}

func TestExitCode(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		err  error
		want int
	}{
		{broken, exitInternal},
		{refused(broken), exitRefused},
		{fmt.Errorf("wrapped: %w", refused(broken)), exitRefused},
		{errors.Join(broken, codeError{exitUsage, broken}), exitUsage},
		{codeError{storage.ExitPartial, &install.Error{Err: broken}}, storage.ExitPartial},
	} {
		if got := ExitCode(tt.err); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.err, got, tt.want)
		}
		if !errors.Is(tt.err, broken) {
			t.Errorf("%v lost its cause", tt.err)
		}
	}
	if err := refused(nil); err != nil {
		t.Errorf("got %v", err)
	}
}
