package plan_test

import (
	"slices"
	"testing"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
)

type events []event.Event

func (e *events) Emit(ev event.Event) { *e = append(*e, ev) }

// Whoever installs onto a failing disk is told, and not refused; of other disks
// nothing is said.
func TestUnhealthyDisk(t *testing.T) {
	sick := &envscan.SMART{Protocol: "nvme", Verdict: "failing", Reasons: []string{"it has become read-only", "media errors: 12"}}
	for _, test := range []struct {
		smart, other *envscan.SMART
		want         []string
	}{
		{nil, nil, nil},
		{&envscan.SMART{Verdict: "ok"}, sick, nil},
		{&envscan.SMART{Verdict: "warning", Reasons: []string{"pending sectors: 3"}}, nil, []string{"/dev/vda (serial QM0001, 8.0 GiB) is not healthy: pending sectors: 3"}},
		{sick, nil, []string{"/dev/vda (serial QM0001, 8.0 GiB) is failing: it has become read-only; media errors: 12"}},
	} {
		facts := machine("uefi", 512)
		facts.HW.Disk[0].SMART = test.smart
		facts.HW.Disk = append(facts.HW.Disk, envscan.Disk{Name: "vdb", Serial: "QM0002", Size: 8 << 30, SectorSize: 512, SMART: test.other})
		p, err := plan.New(debian(t), facts, []string{"password"})
		if err != nil || !slices.Equal(p.Warnings, test.want) {
			t.Errorf("%v, %v: %q %v, want %q", test.smart, test.other, p.Warnings, err, test.want)
		}
		var told events
		p.Warn(&told, event.Scan)
		if len(told) != len(test.want) || len(told) > 0 && (told[0].Message != test.want[0] || told[0].State != event.Done) {
			t.Errorf("told %+v", told)
		}
	}
}
