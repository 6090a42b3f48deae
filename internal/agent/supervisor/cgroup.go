package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cgroups is the folder with the control groups of all services
// (Documentation/admin-guide/cgroup-v2.rst); "": there are none.
type cgroups struct{ path string }

// groupsName is the folder's name.
const groupsName = "services"

// openCgroups makes the folder. What a supervisor before left in it is killed.
func openCgroups(parent string) (cgroups, error) {
	if parent == "" {
		return cgroups{}, nil
	}
	c := cgroups{filepath.Join(parent, groupsName)}
	if err := os.MkdirAll(c.path, 0o755); err != nil {
		return cgroups{}, fmt.Errorf("make control group: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(c.path, "*/cgroup.kill"))
	if err != nil {
		return cgroups{}, err
	}
	for _, kill := range old {
		g := &cgroup{path: filepath.Dir(kill)}
		if err := errors.Join(g.kill(), g.awaitEmpty(), g.remove()); err != nil {
			return cgroups{}, err
		}
	}
	// A kernel, or a hierarchy, without this controller bounds nothing.
	for _, dir := range []string{parent, c.path} {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+pids"), 0)
	}
	return c, nil
}

func (c cgroups) close() error {
	if c.path == "" {
		return nil
	}
	if err := os.Remove(c.path); err != nil {
		return fmt.Errorf("remove control group: %w", err)
	}
	return nil
}

// cgroup is the group of one run.
type cgroup struct {
	path string
	dir  *os.File
}

// make makes the group of a run with at most so many processes.
func (c cgroups) make(name string, processes int) (*cgroup, error) {
	if c.path == "" {
		return nil, nil
	}
	g := &cgroup{path: filepath.Join(c.path, name)}
	if err := os.Mkdir(g.path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make control group: %w", err)
	}
	err := os.WriteFile(filepath.Join(g.path, "pids.max"), []byte(strconv.Itoa(processes)), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("bound the processes of %s: %w", name, err)
	}
	g.dir, err = os.Open(g.path)
	if err != nil {
		return nil, fmt.Errorf("open control group: %w", err)
	}
	return g, nil
}

// kill ends all processes of the group, also those that are being made.
func (g *cgroup) kill() error {
	if g == nil {
		return nil
	}
	if err := os.WriteFile(filepath.Join(g.path, "cgroup.kill"), []byte("1"), 0); err != nil {
		return fmt.Errorf("kill control group: %w", err)
	}
	return nil
}

// awaitEmpty waits until the killed processes are gone.
func (g *cgroup) awaitEmpty() error {
	if g == nil {
		return nil
	}
	for end := time.Now().Add(groupPatience); ; time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(g.path, "cgroup.events"))
		if err != nil {
			return fmt.Errorf("read control group: %w", err)
		}
		if strings.Contains(string(b), "populated 0") {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("killed processes of %s do not end", filepath.Base(g.path))
		}
	}
}

// remove removes the group, unless processes are left in it: then the next run
// has to live with them.
func (g *cgroup) remove() error {
	if g == nil {
		return nil
	}
	if g.dir != nil {
		g.dir.Close()
	}
	if err := os.Remove(g.path); err != nil {
		return fmt.Errorf("remove control group: %w", err)
	}
	return nil
}
