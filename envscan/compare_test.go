package envscan

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// These compare the facts of this machine with what the real programs say.

func TestAgainstLscpu(t *testing.T) {
	out, err := tooltest.Need(t, "lscpu").Run(t.Context(), tool.Cmd{Name: "lscpu", Args: []string{"-J", "-x"}})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Lscpu []struct{ Field, Data string }
	}
	if err := json.Unmarshal(out.Stdout, &doc); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range doc.Lscpu {
		want[strings.TrimSuffix(f.Field, ":")] = f.Data
	}
	s := newScanner(Config{})
	c := s.cpu()
	number := func(n *int64) string {
		if n == nil {
			return ""
		}
		return fmt.Sprint(*n)
	}
	got := map[string]string{
		"Vendor ID": c.Vendor, "Model name": c.Model, "CPU family": number(c.Family), "Model": number(c.ModelID), "Stepping": number(c.Stepping),
		"Thread(s) per core": fmt.Sprint(c.Threads), "Socket(s)": fmt.Sprint(c.Sockets),
		"Core(s) per socket": fmt.Sprint(c.Cores / c.Sockets),
	}
	if runtime.GOARCH != "amd64" { // where lscpu has more names, and other meanings of these
		delete(got, "Model name")
		delete(got, "Stepping")
	}
	for field, value := range got {
		if value != want[field] && want[field] != "" && want[field] != "-" {
			t.Errorf("%s: lscpu %q, here %q", field, want[field], value)
		}
	}
	flags := strings.Fields(want["Flags"])
	slices.Sort(flags)
	if diff := cmp.Diff(slices.Compact(flags), c.Flags); diff != "" || len(s.gaps) > 0 {
		t.Error(diff, s.gaps)
	}
}

// TestAgainstLoader has glibc's opinion of the level.
func TestAgainstLoader(t *testing.T) {
	const loader = "/lib64/ld-linux-x86-64.so.2"
	if _, err := os.Stat(loader); err != nil || runtime.GOARCH != "amd64" {
		t.Skip("glibc's loader for amd64 is not here")
	}
	out, err := exec.CommandContext(t.Context(), loader, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := "1"
	for _, m := range regexp.MustCompile(`x86-64-v([2-4]) \(supported`).FindAllStringSubmatch(string(out), -1) {
		want = max(want, m[1])
	}
	s := newScanner(Config{})
	if got := s.cpu().Level; got == nil || fmt.Sprint(*got) != want {
		t.Errorf("the loader says level %s", want)
	}
	if got := s.libc(); got != "glibc" {
		t.Errorf("libc %q", got)
	}
}

func TestAgainstDetectVirt(t *testing.T) {
	run := tooltest.Need(t, "systemd-detect-virt")
	s := newScanner(Config{})
	for option, got := range map[string]string{"--vm": s.vm(), "--container": s.container()} {
		out, err := run.Run(t.Context(), tool.Cmd{Name: "systemd-detect-virt", Args: []string{option}})
		want := strings.TrimSpace(string(out.Stdout)) // which fails when it is "none"
		if want == "" {
			t.Fatal(err)
		}
		if got == "" {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: systemd-detect-virt %q, here %q", option, want, got)
		}
	}
}

func TestAgainstSSHKeygen(t *testing.T) {
	run := tooltest.Need(t, "ssh-keygen")
	file := filepath.Join(t.TempDir(), "ssh_host_ed25519_key")
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "ssh-keygen", Args: []string{"-q", "-t", "ed25519", "-N", "", "-f", file}}); err != nil {
		t.Fatal(err)
	}
	out, err := run.Run(t.Context(), tool.Cmd{Name: "ssh-keygen", Args: []string{"-l", "-f", file + ".pub"}})
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	key, err := fingerprint(string(line))
	if err != nil || key.Type != "ssh-ed25519" || key.Fingerprint != strings.Fields(string(out.Stdout))[1] {
		t.Errorf("%+v %v; ssh-keygen: %s", key, err, out.Stdout)
	}
}
