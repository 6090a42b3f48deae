package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/plan/storage"
)

func newCommand(stdin string) (c *command, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	return &command{stdin: strings.NewReader(stdin), stdout: stdout, stderr: stderr}, stdout, stderr
}

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"install d --disk /dev/sda":                       "d /dev/sda [] []",
		"install --disk=/dev/sda d":                       "d /dev/sda [] []",
		"install -disk /dev/sda d --yes --json --dry-run": "d /dev/sda [] [] yes json dry-run",
		"install --yes d --disk /dev/sda":                 "d /dev/sda [] [] yes",
		"install d --disk /dev/sda --phases verify,scan":  "d /dev/sda [scan verify] []",
		"install d --disk /dev/sda -s a=@x -s b=@y":       "d /dev/sda [] [a=@x b=@y]",

		"":                                      "flag: help requested",
		"--help":                                "flag: help requested",
		"install --help":                        "flag: help requested",
		"install d -h":                          "flag: help requested",
		"build debian":                          `unknown verb "build"; the RAM system has install, status, `,
		"install":                               "install needs one DIR and --disk DISK",
		"install d":                             "install needs one DIR and --disk DISK",
		"install --disk /dev/sda":               "install needs one DIR and --disk DISK",
		"install a b --disk /dev/sda":           "install needs one DIR and --disk DISK",
		"install d --disk":                      "flag needs an argument: -disk",
		"install d --dsik /dev/sda":             "unknown flag -dsik; did you mean --disk?",
		"install d --wipe":                      "unknown flag -wipe",
		"install d --disk /dev/sda --yes=maybe": `invalid boolean value "maybe" for -yes`,
		"install d --disk /dev/sda --phases copy":  `invalid value "copy" for flag -phases: phase copy needs format`,
		"install d --disk /dev/sda --phases verfy": `invalid value "verfy" for flag -phases: unknown phase "verfy"; did you mean "verify"?`,
	} {
		c, _, stderr := newCommand("")
		dir, err := c.parse(strings.Fields(in))
		got := strings.TrimSpace(fmt.Sprint(dir, " ", c.disk, " ", c.phases, " ", c.given, set(" yes", c.yes), set(" json", c.json), set(" dry-run", c.dryRun)))
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) || err == nil && got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
		if stderr.Len() > 0 {
			t.Errorf("%s: the parser prints: %s", in, stderr)
		}
	}
}

func set(name string, on bool) string {
	if on {
		return name
	}
	return ""
}

func TestHelpIsNoMistake(t *testing.T) {
	c, stdout, stderr := newCommand("")
	if err := c.run(t.Context(), []string{"install", "--help"}); !errors.Is(err, errHelp) {
		t.Errorf("got %v", err)
	}
	if stdout.String() != usageText || stderr.Len() > 0 {
		t.Errorf("got %q, %q", stdout, stderr)
	}
	if !strings.Contains(usageText, "example: vic install ") {
		t.Error("no example")
	}
}

const goodPayload = `{"version":1,"item":"debian","arch":"amd64","format":"erofs","kernel":"6.12","treeSize":1000,
 "system":{"hostname":"web1","users":[{"name":"root","passwordSecret":"password"}],"network":{"mode":"dhcp"}},
 "files":[{"name":"payload.erofs","size":5,"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}]}`

func payloadDir(t *testing.T, doc string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "payload.json"), []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRequestOfAPayload(t *testing.T) {
	c := command{disk: "/dev/sda"}
	dir := payloadDir(t, goodPayload)
	req, err := c.request(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := req.Validate(); err != nil {
		t.Error(err)
	}
	if req.Payload.Source.Path != filepath.Join(dir, "payload.erofs") || req.Disks["main"].Device != "/dev/sda" || req.System.Hostname != "web1" || req.Payload.Size != 5 {
		t.Errorf("got %+v", req)
	}
}

// Whatever is wrong with the payload or the disk ends with exit code 3 and, with
// --json, with one event that says so.
func TestCommandRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		doc  string
		want string
	}{
		"newer":    {strings.Replace(goodPayload, `"version":1`, `"version":2`, 1), "version 2, this vic reads version 1"},
		"cut off":  {goodPayload[:50], "decode "},
		"arch":     {strings.Replace(goodPayload, "amd64", "vax", 1), "vax"},
		"no image": {strings.Replace(goodPayload, "payload.erofs", "other", 1), "payload.source"},
		"no disk":  {goodPayload, "no single disk matches"},
		"a field":  {strings.Replace(goodPayload, `"hostname"`, `"futureField":1,"hostname"`, 1), `unknown field "futureField": the payload was built by another vic`},
	} {
		t.Run(name, func(t *testing.T) {
			c, stdout, _ := newCommand("")
			err := c.run(t.Context(), []string{"install", payloadDir(t, tt.doc), "--disk", "/dev/no-such-disk", "--json", "--yes"})
			if err == nil || !strings.Contains(err.Error(), tt.want) || ExitCode(err) != exitRefused {
				t.Fatalf("got %v (exit code %d), want %q", err, ExitCode(err), tt.want)
			}
			dec := event.NewDecoder(stdout)
			e, err := dec.Next()
			if err != nil || e.State != event.Failed || e.Exit != exitRefused || !strings.Contains(e.Message, tt.want) {
				t.Errorf("got %+v, %v", e, err)
			}
			if e, err := dec.Next(); err == nil {
				t.Errorf("and then %+v", e)
			}
		})
	}
	c, _, _ := newCommand("")
	err := c.run(t.Context(), []string{"install", t.TempDir(), "--disk", "/dev/sda"})
	if !errors.Is(err, os.ErrNotExist) || ExitCode(err) != exitRefused {
		t.Errorf("no payload: got %v", err)
	}
	c, stdout, _ := newCommand("")
	if err := c.run(t.Context(), []string{"install", "d", "--json"}); ExitCode(err) != exitUsage || !strings.Contains(stdout.String(), `"exit":2`) {
		t.Errorf("usage: got %v, %s", err, stdout)
	}
}

func TestSecretsGivenWin(t *testing.T) {
	dir := payloadDir(t, goodPayload)
	const built = `{"version":1,"secrets":{"password":"YnVpbHQ=","other":"eA=="}}`
	if err := os.WriteFile(filepath.Join(dir, "secrets.json"), []byte(built), 0o600); err != nil {
		t.Fatal(err)
	}
	c := command{given: []string{"password=given"}}
	all, err := c.secrets(dir)
	if err != nil || fmt.Sprint(all.Names()) != "[other password]" {
		t.Fatalf("got %v, %v", all, err)
	}
	if v, _ := all.Get("password"); v.Reveal() != "given" {
		t.Errorf("got %s", v.Reveal())
	}
	c = command{given: []string{"hunter2"}}
	if _, err := c.secrets(dir); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets.json"), []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = command{}
	if _, err := c.secrets(dir); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestConfirm(t *testing.T) {
	p := plan.Plan{Storage: plan.Storage{Disks: []storage.DiskPlan{{Disk: plan.Disk{Device: "/dev/sda", Size: 1 << 30}}}}}
	for in, ok := range map[string]bool{"/dev/sda\n": true, " /dev/sda ": true, "yes\n": false, "": false, "/dev/sdb\n": false, "\n/dev/sda\n": false} {
		c, _, stderr := newCommand(in)
		if err := c.confirm(p); (err == nil) != ok {
			t.Errorf("%q: got %v", in, err)
		}
		if !strings.Contains(stderr.String(), "Everything on /dev/sda") {
			t.Errorf("%q: it asks %q", in, stderr)
		}
		c, _, _ = newCommand(in)
		c.yes = true
		if err := c.confirm(p); err != nil {
			t.Errorf("--yes: %v", err)
		}
	}
}
