package storage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool"
)

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
	var members, named, unnamed []plan.Device
	class := ""
	for _, w := range a.Vdevs {
		switch {
		case w.Device == nil:
			class = w.Text
			continue
		case class == "cache" || class == "spare": // their labels do not say whose they are
			unnamed = append(unnamed, *w.Device)
		default:
			named = append(named, *w.Device)
		}
		members = append(members, *w.Device)
	}
	ours := func(c Content) bool { return c.Type == "zfs_member" && (c.Group == a.Pool || c.Label == a.Pool) }
	nobodys := func(c Content) bool { return c.Type == "zfs_member" && c.Group == "" && c.Label == "" }
	return maker{
		on: members, name: "pool/" + a.Pool, clear: true,
		look: func(context.Context) (look, error) {
			l, err := e.lookAtMembers(named, e.vdev, ours)
			if err != nil || !l.same {
				return l, err
			}
			return e.lookAtMembers(unnamed, e.vdev, nobodys)
		},
		make: func(ctx context.Context, paths []string) error {
			if _, err := e.run(ctx, "zpool", poolArgs(a, paths, altroot)...); err != nil {
				return err
			}
			// It has mounted the pool's own file system, if that has a place: what is
			// mounted, and where, is a step's business. So it is imported by one.
			_, err := e.run(ctx, "zpool", "export", a.Pool)
			return err
		},
	}
}

// importPool mounts nothing. A pool that another system has left without exporting it,
// such as one that was cut off, is taken over: -f.
func (e *Executor) importPool(a plan.ImportPool) work {
	return always(func(ctx context.Context) error {
		if there, err := e.imported(ctx, a.Pool); err != nil || there {
			return err
		}
		args := []string{"import", "-f", "-N", "-R", altroot}
		for _, d := range a.Members {
			path, err := e.vdev(d)
			if err != nil {
				return err
			}
			args = append(args, "-d", path)
		}
		_, err := e.run(ctx, "zpool", append(args, a.Pool)...)
		return err
	})
}

func (e *Executor) imported(ctx context.Context, pool string) (bool, error) {
	return e.exists(ctx, "zpool", "list", "-H", "-o", "name", pool)
}

// altroot is where ZFS mounts what it mounts by itself, the pool's own file system
// when it is made: nobody has anything there. It does not last.
const altroot = "/run/vic/pools"

// vdev is where the label of a pool's member is. Of whole disks zpool makes a table,
// with a partition for itself.
func (e *Executor) vdev(d plan.Device) (string, error) {
	path, err := e.path(d)
	if err != nil || !wholeDisk(d) {
		return path, err
	}
	first := e.Machine.Partition(path, 1)
	_, _, err = e.Machine.Measure(first)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil // none has been made
	}
	return first, err
}

func wholeDisk(d plan.Device) bool { return d.Disk != "" && d.Partition == 0 }

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
			if imported, err := e.imported(ctx, pool(a.Dataset)); err != nil || !imported {
				return look{}, cmp.Or(err, fmt.Errorf("the pool %s is not imported", pool(a.Dataset)))
			}
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
	there, err := e.imported(ctx, name)
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
			return e.lookAtMembers(members, e.path, func(c Content) bool { return c.Type == "bcachefs" && sameUUID(c.UUID, a.UUID) })
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
