package plan

import (
	"fmt"
	"strings"

	"github.com/victorinix/vic/envscan/smart"
	"github.com/victorinix/vic/internal/event"
)

// unhealthy says which disks should not be installed onto, in their own words.
// It is no refusal: there may be no other disk.
func (t target) unhealthy() []string {
	var w []string
	for _, p := range t.storage.Disks {
		for _, d := range t.facts.HW.Disk {
			if "/dev/"+d.Name != p.Disk.Device || d.SMART == nil {
				continue
			}
			why := strings.Join(d.SMART.Reasons, "; ")
			switch d.SMART.Verdict {
			case smart.Failing:
				w = append(w, fmt.Sprintf("%s is failing: %s", p.Disk, why))
			case smart.Warning:
				w = append(w, fmt.Sprintf("%s is not healthy: %s", p.Disk, why))
			}
		}
	}
	return w
}

// Warn tells the warnings as events, for those who do not read the plan.
func (p Plan) Warn(sink event.Sink, phase event.Phase) {
	for _, w := range p.Warnings {
		sink.Emit(event.Event{Phase: phase, Step: "warning", State: event.Done, Message: w})
	}
}
