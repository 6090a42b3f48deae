package accesspoint

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Card is a network card, as the facts have it.
type Card struct {
	Name     string
	Wireless bool
	MAC      string // permanent
	Path     string // ID_PATH
	Driver   string
	Bands    []string
	Managed  bool // it can join networks; unknown counts as such
}

// Match chooses cards: by their permanent MAC, by where they are plugged in, or by
// driver.
type Match struct{ Key, Value string }

// ParseMatch reads "mac:02:00:00:00:00:01", "path:PATH" or "driver:NAME".
func ParseMatch(text string) (Match, error) {
	key, value, _ := strings.Cut(text, ":")
	if !slices.Contains([]string{"mac", "path", "driver"}, key) || value == "" {
		return Match{}, fmt.Errorf("network card %q: expected mac:ADDRESS, path:PATH or driver:NAME", text)
	}
	return Match{key, value}, nil
}

func (m Match) fits(c Card) bool {
	switch m.Key {
	case "mac":
		return strings.EqualFold(m.Value, c.MAC)
	case "path":
		return m.Value == c.Path
	}
	return m.Value == c.Driver
}

// anyFits: one of the matches fits; with no matches, everything does.
func anyFits(matches []string, c Card) bool {
	return len(matches) == 0 || slices.ContainsFunc(matches, func(text string) bool {
		m, err := ParseMatch(text)
		return err == nil && m.fits(c)
	})
}

// Choice is which card does what.
type Choice struct {
	Wifi     string   // "" where there is none
	Ethernet []string // sorted
	Notes    []string // what a person may want to know: cards that are left alone
}

// ErrNoWifi, ErrNoEthernet: a side has no card.
var (
	ErrNoWifi     = errors.New("there is no wireless card")
	ErrNoEthernet = errors.New("there is no Ethernet card")
)

// Choose chooses the wireless card, and all cards of the Ethernet side. Of several
// wireless cards that fit it takes one that is plugged in rather than the one that
// is built in (whoever plugs in an adapter wants it used), then the one with more
// bands, then the first by path.
func Choose(cards []Card, wifi, ethernet []string) (Choice, error) {
	var c Choice
	var radios []Card
	for _, card := range cards {
		switch {
		case card.Wireless && card.Managed && anyFits(wifi, card):
			radios = append(radios, card)
		case card.Wireless:
			c.Notes = append(c.Notes, card.Name+" is not the wireless card that was asked for")
		case anyFits(ethernet, card):
			c.Ethernet = append(c.Ethernet, card.Name)
		default:
			c.Notes = append(c.Notes, card.Name+" is none of the Ethernet cards that were asked for")
		}
	}
	slices.Sort(c.Ethernet)
	slices.SortStableFunc(radios, func(a, b Card) int {
		return cmp.Or(-compareBool(a.plugged(), b.plugged()), cmp.Compare(len(b.Bands), len(a.Bands)),
			strings.Compare(a.Path, b.Path), strings.Compare(a.Name, b.Name))
	})
	for i, r := range radios {
		if i == 0 {
			c.Wifi = r.Name
		} else {
			c.Notes = append(c.Notes, r.Name+" is left alone: "+c.Wifi+" is used")
		}
	}
	var errs []error
	if c.Wifi == "" {
		errs = append(errs, fmt.Errorf("%w%s", ErrNoWifi, asked(wifi)))
	}
	if len(c.Ethernet) == 0 {
		errs = append(errs, fmt.Errorf("%w%s", ErrNoEthernet, asked(ethernet)))
	}
	return c, errors.Join(errs...)
}

func asked(matches []string) string {
	if len(matches) == 0 {
		return ""
	}
	return " that is " + strings.Join(matches, " or ")
}

// plugged: it is on USB.
func (c Card) plugged() bool { return strings.Contains(c.Path, "usb") }

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
