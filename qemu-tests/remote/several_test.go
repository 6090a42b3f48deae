package remote

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
)

// Three machines by one inventory, each with its own options, side by side: two are
// installed and prove it, and that the third is not there stops neither.
func TestSeveral(t *testing.T) {
	if !matrix() {
		t.Skip("installs two machines: VIC_TEST_MATRIX=1")
	}
	lab.Need(t)
	ctx, cancel := context.WithTimeout(t.Context(), installLimit)
	defer cancel()
	var all []*oldsystem.System
	config := "Host third\n  HostName 127.0.0.1\n  Port 1\n"
	inventory := "- on: third\n  disk: /dev/vda\n"
	for _, name := range []string{"first", "second"} {
		old := oldsystem.Start(t, oldsystem.Config{Name: name, Serial: "DISK-" + name, MemoryMiB: 256})
		all = append(all, old)
		text, err := os.ReadFile(old.SSHConfig)
		if err != nil {
			t.Fatal(err)
		}
		config += string(text)
		inventory += fmt.Sprintf("- on: %s\n  disk: match:serial=%s\n  options: {hostname: new-%s}\n", name, old.Serial, name)
	}
	dir := t.TempDir()
	list, together := filepath.Join(dir, "inventory.yaml"), *all[0]
	together.SSHConfig = filepath.Join(dir, "config")
	for path, text := range map[string]string{list: inventory, together.SSHConfig: config} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, old := range all {
		if _, err := old.Answered(ctx); err != nil {
			t.Fatal(err)
		}
	}
	c := vic(ctx, t, &together, "install", "debian", "-o", "kernel=cloud", "--inventory", list, "--prove-timeout", "15m", "--yes")
	exit, _ := c.end(t)
	said := c.stderr.String()
	if exit == 0 || !strings.Contains(said, "third: connect to third") {
		t.Errorf("exit code %d:\n%s", exit, said)
	}
	for _, old := range all {
		out, err := old.SSH(ctx, "root", "hostname; cat /etc/machine-id; findmnt -no FSTYPE /; ls /run/vic 2>&1; :", "")
		if err != nil || !strings.HasPrefix(out, "new-"+old.Name+"\n"+old.MachineID+"\next4\n") || strings.Contains(out, "events.jsonl") {
			t.Errorf("%s says %q, %v\nconsole ends:\n%s", old.Name, out, err, old.ConsoleTail(20))
		}
	}
	if t.Failed() {
		t.Logf("%s", said)
	}
}
