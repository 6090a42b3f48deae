package ramsys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
)

// fallbackProbation is how long a machine waits, in seconds, whose handover
// cannot be read: somebody may reach its console.
const fallbackProbation = 300

// readHandover reads what the system before left; nil when this one was not
// entered from another. Where it cannot be read, there is a probation all the
// same, and the error: a machine that cannot be reached must go back.
func readHandover(path string) (*handover.Handover, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		defer f.Close()
		var h handover.Handover
		if h, err = handover.Decode(f); err == nil {
			return &h, nil
		}
	}
	return &handover.Handover{Probation: fallbackProbation}, fmt.Errorf("%s: %w", path, err)
}

// writtenMark is there as soon as a disk may have been written to. It is for a
// new life of init, see lastResort: there is no way back then.
const writtenMark = runDir + "/written"

// onProbation says whether the system before is to come back unless a client
// acknowledges this one: with a request, what to do is known already.
func onProbation(h *handover.Handover) bool {
	return h != nil && absent(request.Path) && absent(stage.Path) && absent(writtenMark)
}

// goesBack says whether the machine starts again when nobody does anything: this is
// a reinstall that has written nothing since it started, so that a start leads to
// what a power cut now would.
func (s system) goesBack() bool { return s.reinstall && absent(s.written) }

func absent(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// takeName gives this machine the name that it had.
func takeName(h *handover.Handover) error {
	if h == nil || h.Hostname == "" {
		return nil
	}
	if err := unix.Sethostname([]byte(h.Hostname)); err != nil {
		return fmt.Errorf("set host name %q: %w", h.Hostname, err)
	}
	return nil
}
