package accesspoint

import (
	"fmt"
	"log"
	"strings"
	"time"
)

// likely are the frequencies, in MHz, that most access points are at: the three
// channels of 2.4 GHz that do not overlap, and those of 5 GHz that need no radar
// detection. To look everywhere takes four times as long, most of it on channels on
// which a card has to wait for who is there. wpa_supplicant leaves out those that the
// card or the country does not have.
const likely = "2412,2437,2462,5180-5240,5745-5825"

// usedFor is how long the network is used before it is looked for where the search
// has not been.
const usedFor = 30 * time.Second

// search has wpa_supplicant look for the network, which is disabled in its
// configuration: first at the likely frequencies, and then everywhere. From there on
// it goes on by itself. Where the network was found at once, it is looked for
// everywhere too, once: the same network may be there on a better channel, and
// wpa_supplicant goes over to that then.
type search struct {
	commands *supplicant
	narrow   bool // it has looked at the likely frequencies alone
	later    *time.Timer
}

// newSearch begins.
func newSearch(commands *supplicant) (*search, error) {
	answer, err := commands.ask("SELECT_NETWORK 0 freq=" + likely)
	if err == nil && answer != "OK" {
		err = fmt.Errorf("it answers %q", answer)
	}
	if err != nil {
		return nil, fmt.Errorf("have wpa_supplicant look for the network: %w", err)
	}
	s := &search{commands: commands, narrow: true, later: time.NewTimer(usedFor)}
	s.later.Stop()
	return s, nil
}

// event takes note of an event. Where it says that nothing was found, and that means
// only that the search goes on, it is true: nobody else needs to know.
func (s *search) event(line string) (goesOn bool) {
	switch {
	case !s.narrow:
	case strings.Contains(line, "CTRL-EVENT-NETWORK-NOT-FOUND"):
		s.everywhere()
		return true
	case strings.Contains(line, "CTRL-EVENT-CONNECTED"):
		s.later.Reset(usedFor)
	case strings.Contains(line, "CTRL-EVENT-DISCONNECTED"):
		s.narrow = false // wpa_supplicant looks everywhere now
		s.later.Stop()
	}
	return false
}

// everywhere looks at all frequencies.
func (s *search) everywhere() {
	s.narrow = false
	if answer, err := s.commands.ask("SCAN"); err != nil || answer != "OK" {
		log.Printf("look for the network everywhere: %q, %v", answer, err) // it does so by itself, later
	}
}
