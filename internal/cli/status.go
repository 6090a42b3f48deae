package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan/reinstall"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/storage"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/volume"
)

func newStatus(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell how an attempt to reinstall this machine stands",
		Long: `Tell what became of an attempt to install onto the disk that this system runs
from: what was changed for it, how far the RAM system came, why it gave up, and
what can be done.

It reads the journal on the stage, the folder of files that were left for the RAM
system, and the registrations of this host. It changes nothing.`,
		Example: `  vic status
  vic status --json`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write it as JSON on stdout")
	return cmd
}

// attemptStatus is what is known of one.
type attemptStatus struct {
	ID uuid.UUID `json:"id"`
	// Where the stage is, or the files for it.
	Stage string `json:"stage,omitempty"`
	// State is that of the last record, or "staged" when the RAM system has never
	// started; Error is why it gave up.
	State   journal.State   `json:"state"`
	Error   string          `json:"error,omitempty"`
	History journal.History `json:"history,omitempty"`
	// Changes are those of this host that are left.
	Changes []attemptChange `json:"changes"`
	Todo    string          `json:"todo"`
}

type attemptChange struct {
	ID       string                `json:"id"`
	Title    string                `json:"title"`
	Standing registration.Standing `json:"standing"`
}

func (a *app) status(ctx context.Context, asJSON bool) error {
	if os.Geteuid() != 0 {
		return fail(exitRefused, errors.New("read the stage: not root"), "run it with sudo")
	}
	list, err := attempts(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return a.writeJSON(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(a.stdout, "nothing is under way on this machine")
		return err
	}
	for _, s := range list {
		if _, err := io.WriteString(a.stdout, s.describe()); err != nil {
			return err
		}
	}
	return nil
}

// attempts are those of which something is left on this machine.
func attempts(ctx context.Context) ([]attemptStatus, error) {
	list := []attemptStatus{}
	at := func(id uuid.UUID) *attemptStatus {
		i := slices.IndexFunc(list, func(s attemptStatus) bool { return s.ID == id })
		if i < 0 {
			list, i = append(list, attemptStatus{ID: id, State: journal.Staged, Changes: []attemptChange{}}), len(list)
		}
		return &list[i]
	}
	store, err := known()
	if err != nil {
		return nil, err
	}
	found, err := stages(ctx)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	for _, reg := range store.List(ctx) {
		text, ok := strings.CutPrefix(reg.Group, attemptGroup)
		if id, err := uuid.Parse(text); ok && err == nil && reg.State != registration.Reverted && reg.State != registration.Forgotten {
			s := at(id)
			s.Changes = append(s.Changes, attemptChange{reg.ID, reg.Title, reg.Standing})
			if err := stageInFile(reg, found); err != nil {
				return nil, errors.Join(err, store.Close())
			}
		}
	}
	if err := store.Close(); err != nil {
		return nil, err
	}
	for device, f := range found {
		at(f.Document.ID).onStage(device, f)
	}
	ended, err := outcomes(reinstall.Folder)
	if err != nil {
		return nil, err
	}
	for folder, e := range ended {
		s := at(e.ID)
		s.Stage, s.State, s.Error = folder, journal.Failed, e.Error
	}
	for i := range list {
		list[i].Todo = list[i].todo()
	}
	return list, nil
}

func (s *attemptStatus) onStage(device string, a journal.Attempt) {
	s.Stage, s.History, s.Error = device, a.History, a.Failure()
	if n := len(a.History); n > 0 {
		s.State = a.History[n-1].State
	}
}

// stages are the attempts on the partitions of all disks.
func stages(ctx context.Context) (map[string]journal.Attempt, error) {
	facts, err := envscan.Scan(ctx, envscan.Config{Root: "/", Only: []string{"hw.disk"}})
	if err != nil {
		return nil, err
	}
	found := map[string]journal.Attempt{}
	for _, d := range facts.HW.Disk {
		for _, p := range d.Partition {
			fat := slices.ContainsFunc(p.Content, func(c probe.Result) bool { return c.Type == "vfat" })
			if !fat || p.Name == "" {
				continue
			}
			a, err := journal.Read("/dev/" + p.Name)
			switch {
			case err == nil:
				found["/dev/"+p.Name] = a
			case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, volume.ErrNone):
				return nil, err
			}
		}
	}
	return found, nil
}

// stageInFile adds the attempt whose stage is in the file of a registration.
func stageInFile(reg registration.Registration, found map[string]journal.Attempt) error {
	if reg.Kind != storage.StageFileKind || reg.Standing.Is != registration.Stands && reg.Standing.Is != registration.Partly {
		return nil
	}
	var file storage.StageFile
	if err := json.Unmarshal(reg.Change, &file); err != nil {
		return fmt.Errorf("read %s: %w", reg.ID, err)
	}
	if file.Offset == 0 { // it was not finished
		return nil
	}
	device, err := file.Place.Volume.Find()
	if err != nil {
		return err
	}
	for _, skip := range []int64{0, reinstall.CoreSize} { // GRUB's core image may come first
		a, err := journal.ReadAt(device, file.Offset+skip, file.Size-skip)
		switch {
		case err == nil:
			found[file.Place.Host] = a
			return nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, volume.ErrNone):
			return err
		}
	}
	return nil
}

// outcomes are what RAM systems have left in the folders of their files.
func outcomes(folder string) (map[string]stage.Ended, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*", stage.Outcome))
	if err != nil {
		return nil, err
	}
	found := map[string]stage.Ended{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		var e stage.Ended
		if err == nil {
			err = json.Unmarshal(text, &e)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		found[filepath.Dir(path)] = e
	}
	return found, nil
}

// todo is what a person can do.
func (s attemptStatus) todo() string {
	const undo = "`vic undo --all` takes back what was changed"
	switch {
	case s.History.Has(journal.Installed):
		return "the new system is installed: the next boot starts it"
	case s.History.Has(journal.Committed):
		return "reboot: the installer goes on; it is what this machine starts"
	case s.State == journal.Failed:
		return undo + "; then it can be tried again"
	case s.State == journal.Staged && len(s.History) > 0:
		return "the RAM system has not started: " + undo + "; `vic install --enter` starts it in another way"
	}
	return undo
}

func (s attemptStatus) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "attempt %s: %s\n", s.ID, s.State)
	if s.Stage != "" {
		fmt.Fprintf(&b, "  on %s\n", s.Stage)
	}
	if s.Error != "" {
		fmt.Fprintf(&b, "  it gave up: %s\n", strings.ReplaceAll(s.Error, "\n", "\n    "))
	}
	for _, r := range s.History {
		fmt.Fprintf(&b, "  %s  %s %s\n", r.Time.Format("2006-01-02 15:04:05"), r.State, r.Phase)
	}
	for _, c := range s.Changes {
		fmt.Fprintf(&b, "  %s  %s: %s %s\n", c.ID, c.Title, c.Standing.Is, c.Standing.Detail)
	}
	fmt.Fprintf(&b, "  %s\n", s.Todo)
	return b.String()
}
