package accesspoint

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/accesspoint"
)

// cards finds the cards by facts, now and whenever one comes or goes. Their names
// are of this boot: nothing else relies on them.
func (a appliance) cards(ctx context.Context) error {
	updates := make(chan netlink.LinkUpdate, 64)
	// Messages of other processes (wpa_supplicant has some) are errors to the
	// library, and of no interest. What ends the watch closes the channel.
	err := netlink.LinkSubscribe(updates, ctx.Done())
	if err != nil {
		return fmt.Errorf("watch network cards: %w", err)
	}
	said := ""
	for {
		said, err = a.look(ctx, said)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case open := <-settled(updates):
			if !open && ctx.Err() == nil {
				return errors.New("watch network cards: the kernel sends no more")
			}
		}
	}
}

// settled is after something has changed, and then nothing for a moment: a radio
// comes with a flood of messages. false: there will be no more.
func settled(updates <-chan netlink.LinkUpdate) <-chan bool {
	done := make(chan bool, 1)
	go func() {
		_, open := <-updates
		for quiet := false; open && !quiet; {
			select {
			case _, open = <-updates:
			case <-time.After(300 * time.Millisecond):
				quiet = true
			}
		}
		done <- open
	}()
	return done
}

// look chooses, and says what there is to say unless it was said.
func (a appliance) look(ctx context.Context, said string) (string, error) {
	facts, err := envscan.Scan(ctx, envscan.Config{Root: "/", Only: []string{"hw.nic"}})
	if err != nil {
		return said, err
	}
	choice, err := accesspoint.Choose(cardsOf(facts.HW.NIC), a.options.Wifi, a.options.Ethernet)
	notes := choice.Notes
	if err != nil {
		notes = append(slices.Clone(notes), strings.Split(err.Error(), "\n")...)
	}
	if text := strings.Join(notes, "; "); text != said {
		said = text
		log.Print(text)
	}
	return said, errors.Join(a.put("wifi", choice.Wifi), a.put("lan", strings.Join(choice.Ethernet, " ")))
}

// put writes an output, or takes it back when it is empty.
func (a appliance) put(key, value string) error {
	if value == "" {
		return a.own.Delete(key)
	}
	return a.own.Set(key, value)
}

func cardsOf(nics []envscan.NIC) []accesspoint.Card {
	var cards []accesspoint.Card
	for _, n := range nics {
		if n.Kind != "ethernet" && !n.Wireless {
			continue
		}
		c := accesspoint.Card{Name: n.Name, Wireless: n.Wireless, MAC: n.HWAddr, Path: n.Path, Driver: n.Driver, Managed: true}
		if n.Wiphy != nil {
			c.Bands = n.Wiphy.Bands
			c.Managed = len(n.Wiphy.Modes) == 0 || slices.Contains(n.Wiphy.Modes, "managed")
		}
		cards = append(cards, c)
	}
	return cards
}
