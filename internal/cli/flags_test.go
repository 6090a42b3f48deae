package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// itemCommand is a verb that takes an item with secrets, as install does.
func itemCommand(t *testing.T, args ...string) (a *app, seen string, err error) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	a = testApp(t)
	var flags itemFlags
	root := newRoot(a)
	cmd := &cobra.Command{Use: "try ITEM", RunE: func(_ *cobra.Command, args []string) error {
		c, secrets, err := flags.load(a, args[0])
		if err != nil {
			return err
		}
		seen = c.Item().Name
		for _, name := range secrets.Names() {
			v, _ := secrets.Get(name)
			seen += " " + name + "=" + v.Reveal()
		}
		return nil
	}}
	flags.add(a, cmd)
	flags.addSecrets(cmd)
	root.AddCommand(cmd)
	root.SetArgs(append([]string{"try"}, args...))
	err = root.ExecuteContext(t.Context())
	return a, seen, err
}

func TestLoadChecksSecrets(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"pw":        "from a file\n",
		"item.yaml": "from: debian\nsecrets:\n  tls-key: {description: a key, required: true}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := filepath.Join(dir, "item.yaml")
	for name, tt := range map[string]struct {
		args []string
		seen string
		want []string // in the error
	}{
		"none":      {[]string{"debian"}, "debian", nil},
		"a file":    {[]string{"debian", "-s", "password=@" + dir + "/pw"}, "debian password=from a file", nil},
		"misspelt":  {[]string{"debian", "-s", "pasword=hunter2"}, "", []string{`unknown secret "pasword" of item debian; did you mean "password"?`}},
		"missing":   {[]string{own}, "", []string{"item item needs the secret tls-key: give it with -s tls-key=@FILE or -s tls-key=env:VAR"}},
		"given":     {[]string{own, "-s", "tls-key=k"}, "item tls-key=k", nil},
		"every one": {[]string{own, "-o", "suit=x", "-s", "hunter2", "-o", "cpus=x"}, "", []string{`unknown option "suit"`, "part 1 of an argument", "-o cpus=x"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, seen, err := itemCommand(t, tt.args...)
			if seen != tt.seen {
				t.Errorf("got %q, want %q", seen, tt.seen)
			}
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				return
			}
			var exit *exitError
			if !errors.As(err, &exit) || exit.Code != exitUsage || exit.Hint == "" {
				t.Errorf("not a usage error with a hint: %#v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("missing %q in:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a secret: %v", err)
			}
			if a.report(err) != exitUsage {
				t.Error("report has another exit code")
			}
		})
	}
}

// archive parses the flags as a verb does.
func archive(t *testing.T, args ...string) *archiveFlags {
	t.Helper()
	var f archiveFlags
	cmd := &cobra.Command{Use: "try", RunE: func(*cobra.Command, []string) error { return nil }}
	f.add(cmd)
	cmd.SetArgs(args)
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	return &f
}

func TestArchiveFlags(t *testing.T) {
	t.Setenv("VIC_MIRROR", "http://from.env.example/debian")
	t.Setenv("HOME", "/home/anna")
	t.Setenv("XDG_CACHE_HOME", "")
	f := archive(t, "--offline")
	if err := f.check(); err != nil || f.mirror != "http://from.env.example/debian" || !f.offline {
		t.Errorf("got %+v, %v", f, err)
	}
	if dir, err := f.cacheDir(); err != nil || dir != "/home/anna/.cache/vic" {
		t.Errorf("got %q, %v", dir, err)
	}
	if dir, err := archive(t, "--cache", "/var/cache/../vic").cacheDir(); err != nil || dir != "/var/vic" {
		t.Errorf("got %q, %v", dir, err)
	}
	t.Setenv("HOME", "")
	var exit *exitError
	if _, err := f.cacheDir(); !errors.As(err, &exit) || exit.Hint == "" {
		t.Errorf("no home, no hint: %v", err)
	}
}

func TestArchiveFlagsAreCheckedFirst(t *testing.T) {
	err := archive(t, "--mirror", "deb.example", "--keyring", "/none.gpg", "--lock", "/none.json").check()
	var exit *exitError
	if !errors.As(err, &exit) || exit.Code != exitUsage {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"read --keyring: stat /none.gpg", "read --lock: stat /none.json", `"deb.example" is no URL`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in:\n%v", want, err)
		}
	}
}
