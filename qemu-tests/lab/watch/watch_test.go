package watch

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

const lookEvery = 50 * time.Millisecond

func TestProcesses(t *testing.T) {
	const word = "a-word-that-no-other-program-takes"
	for name, change := range map[string]func(*exec.Cmd){
		"argument":    func(c *exec.Cmd) { c.Args = append(c.Args, word) },
		"environment": func(c *exec.Cmd) { c.Env = append(c.Environ(), "SECRET="+word) },
	} {
		stop := Processes(word, lookEvery)
		c := exec.CommandContext(t.Context(), "sh", "-c", "sleep 0.3; :")
		change(c)
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
		if seen := stop(); len(seen) == 0 || !strings.HasPrefix(seen[0], "sh -c") {
			t.Errorf("%s: seen %q", name, seen)
		}
	}
	stop := Processes(word, lookEvery)
	time.Sleep(2 * lookEvery)
	if seen := stop(); len(seen) > 0 {
		t.Errorf("seen %q when nobody has it", seen)
	}
}
