package install

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/tool"
)

const sshDir = "/etc/ssh"

// hostKeys makes new SSH host keys, so that no two machines share those of the
// payload, and returns the public halves without comment. Those of the system
// before, in the directory dir, are taken over if a says so.
func (t target) hostKeys(ctx context.Context, a plan.HostKeys, dir string) ([]string, error) {
	if err := t.removeHostKeys(); err != nil {
		return nil, fmt.Errorf("remove the payload's SSH host keys: %w", err)
	}
	if a.AsBefore {
		if err := t.takeHostKeys(dir); err != nil {
			return nil, err
		}
	}
	err := t.inside(ctx, func() error {
		_, err := t.run(ctx, tool.Cmd{Name: "ssh-keygen", Args: []string{"-A"}})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make SSH host keys: %w", err)
	}
	return t.publicKeys()
}

func hostKeyFile(name string) bool { return strings.HasPrefix(name, "ssh_host_") }

func (t target) removeHostKeys() error {
	names, err := t.names(sshDir)
	if err != nil || len(names) == 0 {
		return err
	}
	dir, err := t.root.OpenDir(sshDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, name := range names {
		if hostKeyFile(name) {
			err = errors.Join(err, unix.Unlinkat(int(dir.Fd()), name, 0))
		}
	}
	return err
}

func (t target) publicKeys() ([]string, error) {
	names, err := t.names(sshDir)
	if err != nil {
		return nil, fmt.Errorf("read SSH host keys: %w", err)
	}
	slices.Sort(names)
	var keys []string
	for _, name := range names {
		if !hostKeyFile(name) || path.Ext(name) != ".pub" {
			continue
		}
		b, err := t.read(path.Join(sshDir, name))
		if err != nil {
			return nil, fmt.Errorf("read SSH host key: %w", err)
		}
		fields := strings.Fields(string(b))
		if len(fields) < 2 {
			return nil, fmt.Errorf("read SSH host key %s: not a public key", name)
		}
		keys = append(keys, fields[0]+" "+fields[1])
	}
	if len(keys) == 0 {
		return nil, errors.New("read SSH host keys: there are none")
	}
	return keys, nil
}
