package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk/extent"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/enter"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/plan"
	planhandover "github.com/victorinix/vic/internal/plan/handover"
	"github.com/victorinix/vic/internal/plan/reinstall"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/staged"
	"github.com/victorinix/vic/internal/registration/storage"
	"github.com/victorinix/vic/internal/request"
)

// reinstallFlags are those of an install onto the disk that the system runs from.
type reinstallFlags struct {
	bundle string
	room   string
	enter  string
}

func (f *reinstallFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.bundle, "bundle", "", "onto the disk that this system runs from: the RAM system that vic build installer wrote to `DIR`; without it one is built for this machine")
	flags.StringVar(&f.room, "room", "", "onto the disk that this system runs from: `HOW` room for the installer is made ("+alternatives(reinstall.Rooms())+"); without it, the first that works")
	flags.StringVar(&f.enter, "enter", "", "onto the disk that this system runs from: `HOW` the installer is started ("+alternatives(reinstall.Ways())+"); without it, the first that works")
}

// asked names the first flag that was given.
func (f *reinstallFlags) asked() string {
	for _, g := range []struct{ name, value string }{{"bundle", f.bundle}, {"room", f.room}, {"enter", f.enter}} {
		if g.value != "" {
			return "--" + g.name
		}
	}
	return ""
}

// check refuses what is no room and no way.
func (f *reinstallFlags) check() error {
	if f.room != "" && !slices.Contains(reinstall.Rooms(), reinstall.Room(f.room)) {
		return usage("", "--room %s: expected one of %s", f.room, alternatives(reinstall.Rooms()))
	}
	if f.enter != "" && !slices.Contains(reinstall.Ways(), reinstall.Way(f.enter)) {
		return usage("", "--enter %s: expected one of %s", f.enter, alternatives(reinstall.Ways()))
	}
	return nil
}

func alternatives[T ~string](list []T) string {
	var all []string
	for _, w := range list {
		all = append(all, string(w))
	}
	return strings.Join(all, ", ")
}

// reinstallRun is an install onto the disk that the running system is on.
type reinstallRun struct {
	*installJob
	id     uuid.UUID
	facts  envscan.Facts
	name   string // of the disk in the layout
	disks  map[string]request.DiskSelector
	image  *builder.Payload
	bundle *builder.Bundle
	req    request.Request
	before handover.Handover // nobody may log in to the RAM system: no key is in it
	known  enter.Identity
	from   reinstall.Config // what the plan is made from
	plan   reinstall.Plan
	// piece is what is held of a file system for the stage (room Extent); held: its file
	// has its name.
	piece  *extent.Piece
	held   bool
	loaded bool // the kernel has what kexec jumps into
}

// reinstall stages the attempt, and leaves for the RAM system.
func (j *installJob) reinstall(ctx context.Context, facts envscan.Facts, disks map[string]request.DiskSelector, name string) error {
	if len(j.phases) > 0 && j.reaches(event.Verify) && !j.flags.dryRun {
		return usage("leave --phases out, or look with --dry-run", "--phases %s: from the disk that it runs from, a system is replaced as a whole or not at all", strings.Join(j.flags.phases, ","))
	}
	r := &reinstallRun{installJob: j, id: uuid.New(), facts: facts, name: name, disks: disks}
	defer r.letGo()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	switch {
	case j.flags.dryRun:
		return r.show()
	case !j.reaches(event.Verify):
		return j.stopped()
	}
	for _, w := range r.plan.Warnings {
		r.warn(w)
	}
	if !j.flags.yes {
		if err := j.app.confirm(r.plan.Loss(), r.plan.Disk.Device); err != nil {
			return err
		}
	}
	return r.run(ctx)
}

func (r *reinstallRun) warn(text string) {
	r.clock.Emit(event.Event{Phase: event.Build, Step: "warning", State: event.Done, Message: text})
}

// prepare builds everything that needs no place on the disk, and plans.
func (r *reinstallRun) prepare(ctx context.Context) (err error) {
	if err := r.handOver(ctx); err != nil {
		return err
	}
	if r.image, err = r.payload(ctx); err != nil {
		return err
	}
	if r.bundle, err = r.ramBundle(ctx); err != nil {
		return err
	}
	if r.req, err = r.wanted(); err != nil {
		return err
	}
	disk, err := r.disk()
	if err != nil {
		return err
	}
	running, err := lookAround(ctx, disk, r.facts)
	if err != nil {
		return err
	}
	if running.Attempt, err = openAttempt(); err != nil {
		return err
	}
	sizes, err := r.sizes()
	if err != nil {
		return err
	}
	err = r.choose(reinstall.Config{
		ID: r.id, Facts: r.facts, Running: running, Request: r.req, Disk: r.name, Secrets: r.source.secrets.Names(), Sizes: sizes,
		Room: reinstall.Room(r.flags.reinstall.room), Way: reinstall.Way(r.flags.reinstall.enter),
	})
	return fail(exitRefused, err, "nothing was changed")
}

// choose plans. Where the stage's place is what a file system offers, that is held
// first: a file without a name, which is gone when this program ends. Where files have
// to have one, it is held when the attempt has begun: see hold.
func (r *reinstallRun) choose(c reinstall.Config) (err error) {
	c.Running.Piece, c.Running.NoPiece = map[string]int64{}, map[string]string{}
	r.from = c
	for {
		r.plan, err = reinstall.New(c)
		if err != nil || r.plan.Room.Piece == nil || r.plan.Room.Piece.Named || r.flags.dryRun || !r.reaches(event.Verify) {
			return err
		}
		room := r.plan.Room
		r.letGo()
		if r.piece, err = allocate(*room.Piece, func(w extent.Want) (*extent.Piece, error) { return extent.Allocate(room.Mountpoint, w) }); err != nil {
			c.Running.NoPiece[room.Device] = err.Error()
		} else {
			c.Running.Piece[room.Device] = room.Piece.Origin + r.piece.Offset
		}
	}
}

// allocate finds a piece, as far behind as it is wanted.
func allocate(p reinstall.Piece, make func(extent.Want) (*extent.Piece, error)) (found *extent.Piece, err error) {
	for _, from := range slices.Compact([]int64{p.Best, (p.Best + p.From) / 2, p.From}) {
		found, err = make(extent.Want{Size: p.Size, From: from, To: p.To, Align: p.Align, Origin: p.Origin, Spare: p.Spare})
		if !errors.Is(err, extent.ErrNone) {
			break
		}
	}
	return found, err
}

// hold makes the file whose place the plan does not know yet, and plans with that.
func (r *reinstallRun) hold(ctx context.Context, to *staged.Records) error {
	room := r.plan.Room
	if room.Piece == nil {
		return nil
	}
	c := storage.MakePiece(room.File, room.Piece.Size, func(path string) (*extent.Piece, error) {
		return allocate(*room.Piece, func(w extent.Want) (*extent.Piece, error) { return extent.AllocateAt(path, w) })
	})
	if _, err := to.Do(ctx, c); err != nil {
		return err
	}
	r.piece, r.held = c.Piece(), true
	r.from.Running.Piece[room.Device] = room.Piece.Origin + r.piece.Offset
	p, err := reinstall.New(r.from)
	if err == nil && p.Room.File != room.File {
		err = fmt.Errorf("the free piece that %s has is not where it would serve", room.Mountpoint)
	}
	r.plan = p
	return err
}

// letGo gives back the piece, unless it has got a name.
func (r *reinstallRun) letGo() {
	if r.piece != nil {
		_ = r.piece.Close() // nothing was written by it
		r.piece = nil
	}
}

// disk is the one that is reinstalled, among the facts.
func (r *reinstallRun) disk() (envscan.Disk, error) {
	d, err := plan.Select(r.disks[r.name], r.facts)
	if err != nil {
		return envscan.Disk{}, err
	}
	i := slices.IndexFunc(r.facts.HW.Disk, func(f envscan.Disk) bool { return "/dev/"+f.Name == d.Device })
	return r.facts.HW.Disk[i], nil
}

// handOver collects what the RAM system, and the new one, are known by.
func (r *reinstallRun) handOver(ctx context.Context) (err error) {
	if r.known, err = enter.Running().Identity(ctx); err != nil {
		return err
	}
	for _, w := range r.known.Warnings {
		r.warn(w)
	}
	network, warnings := planhandover.Network(r.facts)
	for _, w := range warnings {
		r.warn(w)
	}
	keys, err := ownKeys("/", cmp.Or(os.Getenv("SUDO_USER"), "root"))
	r.before = handover.Handover{
		Version: handover.Version, Hostname: r.facts.OS.Hostname, MachineID: r.facts.OS.MachineID,
		AuthorizedKeys: keys, Network: network, Probation: int64(r.flags.on.enter.probation.Seconds()), Port: 22,
	}
	return err
}

// ramBundle is the RAM system: the one that was given, or one for this machine.
func (r *reinstallRun) ramBundle(ctx context.Context) (*builder.Bundle, error) {
	if dir := r.flags.reinstall.bundle; dir != "" {
		b, err := builder.OpenBundle(dir)
		return b, fail(exitRefused, err, "`vic build installer --out DIR` makes a bundle")
	}
	machine := &ramFor{facts: r.facts, layout: r.layout, modules: linkModules(r.before.Network)}
	if r.flags.on.enter.generic {
		machine = nil
	}
	options := toolsOption(r.layout)
	return r.ramSystem(ctx, r.flags.archive, r.clock, r.facts.HW.Arch, machine, options...)
}

// wanted is the request: this machine goes on as the one that it is.
func (r *reinstallRun) wanted() (request.Request, error) {
	req, err := r.request(r.image, request.Source{Path: "/vic/payload.erofs"}, r.disks, request.FinishReboot)
	if err != nil {
		return req, err
	}
	if r.flags.on.network == networkKeep {
		req.System.Network.Mode, req.System.Network.Config = request.NetworkAsBefore, &r.before.Network
	}
	req.System.Cmdline = keepConsoles(req.System, r.facts)
	if !r.flags.on.anew {
		req.System.Identity = &request.Identity{MachineID: r.before.MachineID, HostKeys: true}
		req.System.Users, _ = keepLogin(req.System.Users, cmp.Or(os.Getenv("SUDO_USER"), "root"), r.before.AuthorizedKeys)
	}
	return req, fail(exitRefused, req.Validate(), "nothing was changed")
}

// documentRoom is what the documents of an attempt take of the initrd.
const documentRoom = 256 << 10

func (r *reinstallRun) sizes() (reinstall.Sizes, error) {
	memory, err := r.bundle.Memory()
	if err != nil {
		return reinstall.Sizes{}, err
	}
	s := reinstall.Sizes{Payload: r.req.Payload.Size, Load: memory.Load, Total: memory.Total, Initrd: documentRoom}
	for _, f := range r.bundle.Files {
		switch f.Name {
		case builder.KernelFile:
			s.Kernel = f.Size
		case builder.InitramfsFile, builder.SystemFile:
			s.Initrd += f.Size
		}
	}
	return s, nil
}

// show is what --dry-run prints.
func (r *reinstallRun) show() error {
	if r.flags.json {
		return r.writeJSON(r.plan)
	}
	_, err := io.WriteString(r.stdout, r.plan.Describe())
	return err
}

// attemptGroup begins the group of an attempt's registrations.
const attemptGroup = "reinstall "

// registrations opens the host's record of changes.
func registrations(group, command string) (*registration.Store, error) {
	c := registrationConfig([]string{registration.DefaultDir})
	c.Group, c.Command = group, command
	return registration.Open(c)
}

// known opens the host's record of changes for reading, with what its stages have
// of it.
func known() (*staged.Records, error) {
	c := registrationConfig([]string{registration.DefaultDir})
	c.ReadOnly = true
	return staged.OpenHost(c, func(error) {})
}

// openAttempt is the ID of an earlier attempt of which something is left.
func openAttempt() (string, error) {
	s, err := known()
	if err != nil {
		return "", err
	}
	list := s.List(context.Background())
	if err := s.Close(); err != nil {
		return "", err
	}
	for _, reg := range list {
		if id, ok := strings.CutPrefix(reg.Group, attemptGroup); ok && reg.State != registration.Reverted && reg.State != registration.Forgotten {
			return id, nil
		}
	}
	return "", nil
}

// undoAttempt takes back what an attempt that fails has changed, whatever else has
// happened.
func undoAttempt(ctx context.Context, s *registration.Store, group string) error {
	list, err := s.Undo(context.WithoutCancel(ctx), registration.Selection{Group: group})
	errs := []error{err}
	for _, o := range list {
		if !o.Undone() {
			errs = append(errs, fmt.Errorf("%s (%s): %s: %s", o.ID, o.Title, o.Did, o.Reason))
		}
	}
	return errors.Join(errs...)
}
