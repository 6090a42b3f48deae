package cli

import (
	"errors"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
)

// checkSystem refuses settings that the target would refuse, before anything is
// built. Those of a payload were checked when it was built.
func checkSystem(s installSource) error {
	if s.config == nil || !s.config.Is("linux-distro") {
		return nil
	}
	if err := notForBoards(s.config); err != nil {
		return err
	}
	return checkSettings(s)
}

// checkSettings is checkSystem for whatever the system gets onto.
func checkSettings(s installSource) error {
	if err := onlyBoards(s.config); err != nil {
		return err
	}
	return fail(exitUsage, system(s.config, s.secrets, request.APT{}).Check(), "`vic check "+s.config.Item().Name+"` says where it stands")
}

// checkRequires compares the item's requirements with the machine's facts,
// before anything is built. Those of a payload that is there already are
// compared with the rest of the plan.
func (j *installJob) checkRequires(facts envscan.Facts) error {
	if j.source.config == nil {
		return nil
	}
	return fail(exitRefused, plan.Unmet(j.source.config.Requires(), facts), "this item is for another machine; nothing was built and nothing written")
}

func (j *installJob) checkRequiresInVM(disks vmDisks) error {
	if j.source.config == nil || len(j.source.config.Requires()) == 0 {
		return nil
	}
	facts, err := j.facts(j.source.config.String("arch"), disks)
	if err != nil {
		return err
	}
	return j.checkRequires(facts)
}

// knownFact refuses the path of a fact that no machine can have.
func knownFact(path string) error {
	err := envscan.KnownPath(path)
	var p *envscan.PathError
	if errors.As(err, &p) {
		return errors.New("unknown fact: " + p.Why)
	}
	return err
}
