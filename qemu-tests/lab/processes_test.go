package lab

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestWatchProcesses(t *testing.T) {
	const word = "a-word-that-no-other-program-takes"
	stop := watchProcesses(word)
	c := exec.CommandContext(t.Context(), "sh", "-c", "sleep 0.3; :", word)
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if seen := stop(); len(seen) != 1 || !strings.Contains(seen[0], word) {
		t.Errorf("seen %q", seen)
	}
	stop = watchProcesses(word)
	time.Sleep(2 * lookEvery)
	if seen := stop(); len(seen) > 0 {
		t.Errorf("seen %q when nobody has it", seen)
	}
}
