package envscan

import (
	"context"
	"errors"
	"maps"
)

// netProbes find how the running system is on the network.
var netProbes = []prober{
	{"network", []string{"net.links", "net.address", "net.route", "net.rule", "state.links"}, func(_ context.Context, s *scanner) func(*Facts) {
		found, states := s.network(rtnetlink)
		return func(f *Facts) {
			f.Net.Links, f.Net.Address, f.Net.Route, f.Net.Rule = found.Links, found.Address, found.Route, found.Rule
			if f.State.Links == nil {
				f.State.Links = map[string]Link{}
			}
			maps.Copy(f.State.Links, states)
		}
	}},
	{"dns", []string{"net.dns"}, func(_ context.Context, s *scanner) func(*Facts) {
		found := s.dns()
		return func(f *Facts) { f.Net.DNS = found }
	}},
	{"wireless", []string{"hw.nic.*.wiphy", "state.wireless"}, func(ctx context.Context, s *scanner) func(*Facts) {
		wiphys, stations := s.wireless(ctx)
		return func(f *Facts) {
			f.State.Wireless = stations
			for i, n := range f.HW.NIC {
				f.HW.NIC[i].Wiphy = wiphys[n.Name]
			}
		}
	}},
}

// errNotLive is why a captured tree lacks what only a kernel can be asked for.
var errNotLive = errors.New("netlink is only asked of the running system")

// network is what the kernel knows, and the state of each link that software
// makes.
func (s *scanner) network(ask asker) (Net, map[string]Link) {
	var n Net
	gap := func(err error, facts ...string) {
		for _, fact := range facts {
			s.gap(fact, "netlink", err)
		}
	}
	if !s.live {
		gap(errNotLive, "net.links", "net.address", "net.route", "net.rule")
		return n, nil
	}
	links, err := kernelLinks(ask)
	if err != nil { // the others name links by their index
		gap(err, "net.links", "net.address", "net.route")
	}
	var states map[string]Link
	if err == nil {
		n.Links, states = s.software(links)
		n.Address, err = addresses(ask, links)
		gap(err, "net.address")
		n.Route, err = routes(ask, links)
		gap(err, "net.route")
	}
	n.Rule, err = rules(ask)
	gap(err, "net.rule")
	return n, states
}
