package storage

import (
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/udev"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// programs refuses steps whose programs are not there, before the first write.
func (e *Executor) programs() error {
	var lost []string
	for _, s := range e.Steps {
		for _, name := range plan.ProgramsOf(s.Action) {
			if _, err := e.Machine.LookPath(name); err != nil && !slices.Contains(lost, name) {
				lost = append(lost, name)
			}
		}
	}
	if len(lost) > 0 {
		return Refuse("the layout needs %s, and this system does not have it", strings.Join(lost, " and "))
	}
	for _, s := range e.Steps {
		if p, ok := s.Action.(plan.CreatePool); ok && slices.ContainsFunc(p.Vdevs, onWholeDisk) && !udev.Running() {
			return Refuse("the pool %s has whole disks, of which zpool makes tables and waits for udev to see them: udev does not run here, so give it partitions", p.Pool)
		}
	}
	return nil
}

func onWholeDisk(w plan.Word) bool { return w.Device != nil && wholeDisk(*w.Device) }
