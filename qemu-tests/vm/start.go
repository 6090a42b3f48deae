package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// TB is what this package uses of testing.TB.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	TempDir() string
	Name() string
	Failed() bool
}

// Start runs a machine for a test, and kills it when the test ends. If the
// test has failed then, it logs the end of the console and the command that
// repeats the run, and keeps both, with the whole console, in the folder
// $VIC_TEST_OUT/NAME or, without that variable, out/test/NAME of the
// repository.
func Start(t TB, c Config) *Machine {
	t.Helper()
	if c.Name == "" {
		c.Name = t.Name()
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	m, err := Run(ctx, c)
	if err != nil {
		cancel(nil)
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(func() {
		t.Helper()
		m.Kill()
		cancel(nil)
		if err := m.Err(); err != nil {
			t.Errorf("event port: %v", err)
		}
		if t.Failed() {
			m.report(t)
		}
		if err := m.Close(); err != nil {
			t.Errorf("%v", err)
		}
	})
	return m
}

// report tells what is known about a failed run.
func (m *Machine) report(t TB) {
	t.Helper()
	t.Logf("console of %s ends:\n%s", m.setup.Name, m.ConsoleTail(60))
	if m.end != nil && !errors.Is(m.end, ErrKilled) {
		t.Logf("machine %s ended: %v", m.setup.Name, m.end)
	}
	t.Logf("to repeat the run by hand:\n%s", m.Command())
	name := t.Name()
	if m.setup.Name != name {
		name += "-" + m.setup.Name
	}
	dir, err := keep(m.setup.Dir, name)
	if err != nil {
		t.Logf("keep console: %v", err)
		return
	}
	t.Logf("console and command kept in %s", dir)
}

// keep copies the lasting files of a run folder to where people look.
func keep(run, name string) (string, error) {
	dir, err := outDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, strings.NewReplacer("/", "-", " ", "_").Replace(name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder for failed runs: %w", err)
	}
	for _, f := range []string{"console.log", "command.sh"} {
		b, err := os.ReadFile(filepath.Join(run, f))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f), b, 0o644)
		}
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}

// outDir is $VIC_TEST_OUT, or out/test beside the go.mod above this folder.
func outDir() (string, error) {
	if dir := os.Getenv("VIC_TEST_OUT"); dir != "" {
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if isFile(filepath.Join(d, "go.mod")) {
			return filepath.Join(d, "out", "test"), nil
		}
		if d == filepath.Dir(d) {
			return filepath.Join(dir, "out", "test"), nil
		}
	}
}
