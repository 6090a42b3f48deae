package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/victorinix/vic/internal/config"
)

var update = flag.Bool("update", false, "rewrite testdata/script and docs/options.md")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vic": func() {
			os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// TestScripts is the specification of the command line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir+"/home")
			// Nothing in a script reaches the network: port 9 is closed.
			env.Setenv("VIC_MIRROR", "http://127.0.0.1:9/debian")
			return nil
		},
		Cmds: scriptCommands,
	})
}

// exits runs vic and checks its exit code: exits 2 vic items --no-such-flag.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		code, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = code.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ended with exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func testApp(t *testing.T) *app {
	t.Helper()
	return &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, registry: builtIn()}
}

// testRegistry is what is built into vic.
func testRegistry(t *testing.T) *config.Registry {
	t.Helper()
	r, err := builtIn()()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryCommandHasHelpAndExample(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%q lacks a description or an example", c.CommandPath())
		}
		for _, line := range strings.Split(c.Example, "\n") {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, "vic ") {
				t.Errorf("%q: the line %q of its example runs no vic, or is not indented", c.CommandPath(), line)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(testApp(t)))
}

func TestDocsAreUpToDate(t *testing.T) {
	const file = "../../docs/options.md"
	want := optionsMarkdown(testRegistry(t))
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/options.md is old: run make docs\n%s", diff)
	}
}

// The item in the option reference has to work when it is copied.
func TestItemInTheReferenceLoads(t *testing.T) {
	_, rest, _ := strings.Cut(optionsIntro, "```yaml\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("there is no item in the reference")
	}
	file := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := testRegistry(t).Load(file, config.Layers{Options: []string{"kernel=cloud"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.String("hostname") != "web1" || !slices.Contains(c.Select("packages"), "cloud-guest-utils") || len(c.Item().Secrets) != 2 {
		t.Errorf("got %+v", c)
	}
}
