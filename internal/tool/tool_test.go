package tool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool"
)

func TestRunCollectsOutput(t *testing.T) {
	out, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "sh", Args: []string{"-c", "cat; echo warn >&2"}, Stdin: strings.NewReader("in")})
	if err != nil || string(out.Stdout) != "in" || string(out.Stderr) != "warn\n" {
		t.Fatalf("got %q %q %v", out.Stdout, out.Stderr, err)
	}
}

func TestRunErrorSaysWhatAndWhy(t *testing.T) {
	_, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "sh", Args: []string{"-c", "echo no space >&2; exit 3"}})
	var te *tool.Error
	if !errors.As(err, &te) || te.Exit != 3 {
		t.Fatalf("got %v", err)
	}
	if want := "run sh -c 'echo no space >&2; exit 3': exit status 3: no space"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestRunNotFound(t *testing.T) {
	_, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "no-such-program"})
	if !errors.Is(err, tool.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
}

func TestRunKillsTheWholeGroup(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	// The grandchild holds the pipe open: only killing the group ends it.
	_, err := tool.Exec{}.Run(ctx, tool.Cmd{Name: "sh", Args: []string{"-c", "sleep 60 & sleep 60"}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestEnvironmentIsMinimal(t *testing.T) {
	t.Setenv("VIC_CANARY", "leak")
	out, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "env", Env: []string{"A=b"}})
	if err != nil {
		t.Fatal(err)
	}
	if s := string(out.Stdout); strings.Contains(s, "leak") || !strings.Contains(s, "A=b\n") {
		t.Errorf("got %s", s)
	}
}

func TestLongCommandsAreShortened(t *testing.T) {
	_, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "false", Args: []string{strings.Repeat("package,", 1000), "last"}})
	if err == nil || len(err.Error()) > 400 || !strings.Contains(err.Error(), "last: exit status 1") {
		t.Errorf("got %v", err)
	}
}
