package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// look is what is seen where a content shall be.
type look struct {
	same bool   // it is of the right kind, and has the identity that the step gives it
	what string // is there instead; "": nothing
}

// verdict looks, and says whether a content is done, is to be made, or must not be
// made: see the package comment.
func (e *Executor) verdict(s plan.Step, on []plan.Device, see func() (look, error)) (done bool, err error) {
	g, err := e.ground(on...)
	if err != nil || g.lost { // what is there is not of interest
		return false, err
	}
	l, err := see()
	switch {
	case err != nil:
		return false, err
	case g.fresh, g.bare && (l.same || l.what == ""):
		return l.same && e.Journal.done(s), nil
	case l.same:
		return true, nil
	}
	what := l.what
	if what == "" {
		what = "nothing that is known"
	}
	why := "its partition table says that everything on it was finished"
	if g.bare {
		why = "the plan does not wipe it"
	}
	return false, Refuse("%s holds %s, and %s: it is left as it is; wipe it, or put the right content there", names(on), what, why)
}

func names(devices []plan.Device) string {
	var list []string
	for _, d := range devices {
		list = append(list, d.String())
	}
	return strings.Join(list, ", ")
}

// maker is how one kind of content is made.
type maker struct {
	on   []plan.Device
	name string // the thing that is made; "": the content of on
	look func(context.Context) (look, error)
	// clear: what is on the devices goes before. noPath: they
	// are a group or a pool, which has no node.
	clear, noPath bool
	make          func(ctx context.Context, paths []string) error
	ready         func(context.Context) error
}

// content finds how a content is made.
func (e *Executor) content(s plan.Step) (work, error) {
	var m maker
	switch a := s.Action.(type) {
	case plan.Mkfs:
		m = e.mkfs(a)
	case plan.Subvolumes:
		m = e.subvolumes(a)
	case plan.LUKSFormat:
		m = e.luksFormat(a)
	case plan.CreateVG:
		m = e.createVG(a)
	case plan.CreateLV:
		m = e.createLV(a)
	case plan.CreateArray:
		m = e.createArray(a)
	case plan.CreatePool:
		m = e.createPool(a)
	case plan.CreateDataset:
		m = e.createDataset(a)
	case plan.MkfsBcachefs:
		m = e.mkfsBcachefs(a)
	default:
		return work{}, fmt.Errorf("no way to make %q", a.Kind())
	}
	return e.making(s, m), nil
}

func (e *Executor) making(s plan.Step, m maker) work {
	return work{
		probe: func(ctx context.Context) (bool, error) {
			return e.verdict(s, m.on, func() (look, error) { return m.look(ctx) })
		},
		do: func(ctx context.Context) error { return e.makeContent(ctx, m) },
		seen: func(ctx context.Context) (bool, error) {
			l, err := m.look(ctx)
			return l.same, err
		},
		ready: m.ready,
	}
}

// makeContent makes a content on devices that nothing stands on any more, and
// has them write it.
func (e *Executor) makeContent(ctx context.Context, m maker) error {
	if err := e.sure(m.on...); err != nil {
		return err
	}
	var paths []string
	if !m.noPath {
		var err error
		if paths, err = e.paths(m.on); err != nil {
			return err
		}
	}
	e.written = true
	if m.name != "" {
		e.made[m.name] = true
	}
	for i, d := range m.on {
		if m.name == "" {
			e.made[thing(d)] = true
		}
		if m.clear && !e.cleared[d.Disk] { // then it was cleared as a whole
			if err := e.clear(ctx, paths[i]); err != nil {
				return err
			}
		}
	}
	if err := m.make(ctx, paths); err != nil {
		return err
	}
	for _, p := range paths {
		if err := e.Machine.Flush(p); err != nil {
			return fmt.Errorf("flush %s: %w", p, err)
		}
	}
	return nil
}

// clear removes what an earlier run, or somebody before it, left on a device.
func (e *Executor) clear(ctx context.Context, device string) error {
	users, err := e.Machine.Users(device, nil)
	if err != nil {
		return fmt.Errorf("see who uses %s: %w", device, err)
	}
	if len(users) > 0 {
		return Refuse("%s is in use: %s", device, strings.Join(users, "; "))
	}
	if _, err := e.Machine.Release(ctx, device, nil); err != nil {
		return fmt.Errorf("release %s: %w", device, err)
	}
	if err := e.Machine.Wipe(ctx, device, nil, nil); err != nil {
		return fmt.Errorf("wipe %s: %w", device, err)
	}
	return nil
}

// sameKind compares types of content. ext2, ext3 and ext4 are one format: which
// of them it is depends on features that may have been given or taken.
func sameKind(a, b string) bool {
	ext := []string{"ext2", "ext3", "ext4"}
	return a == b || slices.Contains(ext, a) && slices.Contains(ext, b)
}

// sameUUID compares without what programs write differently.
func sameUUID(a, b string) bool {
	plain := strings.NewReplacer("-", "", ":", "")
	return strings.EqualFold(plain.Replace(a), plain.Replace(b))
}

// lookAt looks for a content on a device; an empty uuid is any.
func (e *Executor) lookAt(device, typ, uuid string) (look, error) {
	found, err := e.Machine.Content(device)
	if err != nil {
		return look{}, fmt.Errorf("look at %s: %w", device, err)
	}
	return lookFor(found, typ, uuid), nil
}

func lookFor(found []Content, typ, uuid string) look {
	var l look
	var what []string
	for _, c := range found {
		l.same = l.same || sameKind(c.Type, typ) && (uuid == "" || sameUUID(c.UUID, uuid))
		name := c.Type
		if c.UUID != "" {
			name += " " + c.UUID
		}
		what = append(what, name)
	}
	l.what = strings.Join(what, " and ")
	return l
}

func (e *Executor) lookOn(d plan.Device, typ, uuid string) (look, error) {
	path, err := e.path(d)
	if err != nil {
		return look{}, err
	}
	return e.lookAt(path, typ, uuid)
}

func (e *Executor) mkfs(a plan.Mkfs) maker {
	return maker{
		on: append([]plan.Device{a.Device}, a.Also...), clear: true,
		look: func(context.Context) (look, error) { return e.lookOn(a.Device, a.Format, a.UUID) },
		make: func(ctx context.Context, paths []string) error {
			size, sector, err := e.Machine.Measure(paths[0])
			if err != nil {
				return fmt.Errorf("measure %s: %w", paths[0], err)
			}
			return e.Machine.Mkfs(ctx, disk.Filesystem{
				Format: a.Format, UUID: a.UUID, Label: a.Label, Args: append(slices.Clone(a.Args), paths[1:]...), Start: a.Start, Size: size, SectorSize: sector,
			}, paths[0])
		},
	}
}

func (e *Executor) subvolumes(a plan.Subvolumes) maker {
	return maker{
		on: []plan.Device{a.Device}, name: "subvolumes/" + thing(a.Device),
		look: func(ctx context.Context) (look, error) {
			l, err := e.lookOn(a.Device, "btrfs", a.UUID)
			if err != nil || !l.same {
				return l, err
			}
			path, err := e.path(a.Device)
			if err != nil {
				return look{}, err
			}
			l.same, err = e.Machine.HasSubvolumes(ctx, path, a.Subvolumes, a.SwapFiles)
			l.what += " without all of its subvolumes"
			return l, err
		},
		make: func(ctx context.Context, paths []string) error {
			return e.Machine.Subvolumes(ctx, paths[0], a.Subvolumes, a.SwapFiles)
		},
	}
}
