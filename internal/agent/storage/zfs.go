package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool"
)

// rare are programs that a RAM system need not have, by the step that runs
// them. The steps of a plan are refused before the first write without them.
func rare(a plan.Action) string {
	switch a.(type) {
	case plan.CreatePool:
		return "zpool"
	case plan.CreateDataset:
		return "zfs"
	case plan.MkfsBcachefs:
		return "bcachefs"
	}
	return ""
}

// programs refuses steps whose programs are not there.
func (e *Executor) programs() error {
	var lost []string
	for _, s := range e.Steps {
		name := rare(s.Action)
		if name == "" || slices.Contains(lost, name) {
			continue
		}
		if _, err := e.Machine.LookPath(name); err != nil {
			lost = append(lost, name)
		}
	}
	if len(lost) > 0 {
		return Refuse("the layout needs %s, and this system does not have it", strings.Join(lost, " and "))
	}
	return nil
}

// pool is the pool of a dataset.
func pool(dataset string) string {
	name, _, _ := strings.Cut(dataset, "/")
	return name
}

func (e *Executor) run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := e.Tools.Run(ctx, tool.Cmd{Name: name, Args: args})
	return string(out.Stdout), err
}

// exists runs a command that lists one thing, and fails when it is not there.
func (e *Executor) exists(ctx context.Context, name string, args ...string) (bool, error) {
	_, err := e.run(ctx, name, args...)
	var te *tool.Error
	if errors.As(err, &te) && te.Exit > 0 {
		return false, nil
	}
	return err == nil, err
}

func (e *Executor) createPool(a plan.CreatePool) maker {
	var members []plan.Device
	for _, w := range a.Vdevs {
		if w.Device != nil {
			members = append(members, *w.Device)
		}
	}
	return maker{
		on: members, name: "pool/" + a.Pool, clear: true,
		look: func(context.Context) (look, error) {
			return e.lookAtMembers(members, func(c Content) bool { return c.Type == "zfs_member" && (c.Group == a.Pool || c.Label == a.Pool) })
		},
		make: func(ctx context.Context, paths []string) error {
			_, err := e.run(ctx, "zpool", poolArgs(a, paths, e.Root)...)
			return err
		},
		ready: func(ctx context.Context) error {
			if there, err := e.exists(ctx, "zpool", "list", "-H", "-o", "name", a.Pool); err != nil || there {
				return err
			}
			_, err := e.run(ctx, "zpool", "import", "-N", "-R", e.Root, "-d", "/dev", a.Pool)
			return err
		},
	}
}

// poolArgs are zpool create's. paths are those of the devices in Vdevs.
func poolArgs(a plan.CreatePool, paths []string, root string) []string {
	args := []string{"create", "-f", "-R", root}
	for _, k := range slices.Sorted(maps.Keys(a.Options)) {
		args = append(args, "-o", k+"="+a.Options[k])
	}
	if a.Mountpoint != "" && a.RootOptions["mountpoint"] == "" {
		args = append(args, "-O", "mountpoint="+a.Mountpoint)
	}
	for _, k := range slices.Sorted(maps.Keys(a.RootOptions)) {
		args = append(args, "-O", k+"="+a.RootOptions[k])
	}
	args = append(args, a.Pool)
	for _, w := range a.Vdevs {
		if w.Device == nil {
			args = append(args, w.Text)
			continue
		}
		args, paths = append(args, paths[0]), paths[1:]
	}
	return args
}

func (e *Executor) createDataset(a plan.CreateDataset) maker {
	return maker{
		on: []plan.Device{{Zvol: a.Dataset}}, name: "zvol/" + a.Dataset, noPath: true,
		look: func(ctx context.Context) (look, error) {
			there, err := e.exists(ctx, "zfs", "list", "-H", "-o", "name", a.Dataset)
			return look{same: there}, err
		},
		make: func(ctx context.Context, _ []string) error {
			// One that is there is of a run that was cut short.
			if there, err := e.exists(ctx, "zfs", "list", "-H", "-o", "name", a.Dataset); err != nil {
				return err
			} else if there {
				if _, err := e.run(ctx, "zfs", "destroy", "-r", a.Dataset); err != nil {
					return err
				}
			}
			_, err := e.run(ctx, "zfs", datasetArgs(a)...)
			return err
		},
	}
}

func datasetArgs(a plan.CreateDataset) []string {
	args := []string{"create", "-p"}
	if a.Size == "" {
		args = append(args, "-u") // mounted by its own step
	} else {
		args = append(args, "-V", a.Size)
	}
	for _, k := range slices.Sorted(maps.Keys(a.Options)) {
		args = append(args, "-o", k+"="+a.Options[k])
	}
	return append(append(args, a.Args...), a.Dataset)
}

func (e *Executor) exportPool(ctx context.Context, name string) error {
	if _, err := e.Machine.LookPath("zpool"); err != nil {
		return nil // nobody can have imported it
	}
	there, err := e.exists(ctx, "zpool", "list", "-H", "-o", "name", name)
	if err != nil || !there {
		return err
	}
	_, err = e.run(ctx, "zpool", "export", name)
	return err
}

func (e *Executor) mkfsBcachefs(a plan.MkfsBcachefs) maker {
	var members []plan.Device
	for _, m := range a.Members {
		members = append(members, m.Device)
	}
	return maker{
		on: members, clear: true,
		look: func(context.Context) (look, error) {
			return e.lookAtMembers(members, func(c Content) bool { return c.Type == "bcachefs" && sameUUID(c.UUID, a.UUID) })
		},
		make: func(ctx context.Context, paths []string) error {
			c := tool.Cmd{Name: "bcachefs", Args: bcachefsArgs(a, paths)}
			if a.Key != nil {
				key, err := e.key(*a.Key)
				if err != nil {
					return err
				}
				c.Stdin = bytes.NewReader(append(key, '\n'))
			}
			if _, err := e.Tools.Run(ctx, c); err != nil {
				return err
			}
			return e.bcachefsSubvolumes(ctx, a, paths)
		},
	}
}

// bcachefsArgs are bcachefs format's: the options of a member come before it.
func bcachefsArgs(a plan.MkfsBcachefs, paths []string) []string {
	args := []string{"format", "--force", "--uuid=" + a.UUID}
	if a.Key != nil {
		args = append(args, "--encrypted")
	}
	args = append(args, a.Args...)
	for i, m := range a.Members {
		if m.Label != "" {
			args = append(args, "--label="+m.Label)
		}
		args = append(append(args, m.Args...), paths[i])
	}
	return args
}

// bcachefsSubvolumes makes the subvolumes in the file system, mounted for that.
func (e *Executor) bcachefsSubvolumes(ctx context.Context, a plan.MkfsBcachefs, paths []string) (err error) {
	if len(a.Subvolumes) == 0 {
		return nil
	}
	return e.Machine.WithMount(ctx, strings.Join(paths, ":"), "bcachefs", func(dir string) error {
		for _, v := range a.Subvolumes {
			if _, err := e.run(ctx, "bcachefs", append(append([]string{"subvolume", "create"}, v.Args...), dir+"/"+v.Path)...); err != nil {
				return fmt.Errorf("make subvolume %s: %w", v.Path, err)
			}
		}
		return nil
	})
}
