package network

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"
)

// takeOver starts the takeover, with name servers at once.
func (n *Network) takeOver(ctx context.Context) error {
	if err := n.writeResolvConf(); err != nil {
		return fmt.Errorf("write name servers: %w", err)
	}
	changed := make(chan struct{}, 1)
	c, err := subscribe(ctx)
	if err != nil {
		return err
	}
	go n.notice(ctx, c, changed)
	go newTakeover(n, *n.cfg.Handover).run(ctx, changed)
	return nil
}

// changes are what the kernel tells of until stop is called.
type changes struct {
	links chan netlink.LinkUpdate
	addrs chan netlink.AddrUpdate
	stop  context.CancelFunc
}

func subscribe(ctx context.Context) (changes, error) {
	ctx, stop := context.WithCancel(ctx)
	c := changes{make(chan netlink.LinkUpdate, 16), make(chan netlink.AddrUpdate, 16), stop}
	err := netlink.LinkSubscribe(c.links, ctx.Done())
	if err == nil {
		err = netlink.AddrSubscribe(c.addrs, ctx.Done())
	}
	if err != nil {
		stop()
		return changes{}, fmt.Errorf("watch network interfaces: %w", err)
	}
	return c, nil
}

// end lets the library close both channels, which it does only when it can write
// what it has.
func (c changes) end() {
	c.stop()
	go func() {
		for range c.links {
		}
		for range c.addrs {
		}
	}()
}

// notice says that something changed, whatever it was. When there is too much at
// once for the socket's buffer, the kernel loses some and the library gives up:
// then it starts anew.
func (n *Network) notice(ctx context.Context, c changes, changed chan<- struct{}) {
	for ctx.Err() == nil {
		open := true
		select {
		case _, open = <-c.links:
		case _, open = <-c.addrs:
		case <-ctx.Done():
		}
		if !open && ctx.Err() == nil {
			pause(ctx, firstTimeout)
			if again, err := subscribe(ctx); err == nil {
				c.end()
				c = again
			} else {
				n.cfg.Report("", nil, err)
			}
		}
		select {
		case changed <- struct{}{}:
		default: // the one before is not taken yet
		}
	}
	c.end()
}
