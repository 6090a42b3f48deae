package ramsys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/victorinix/vic/internal/agent/ramsys/network"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
)

// startNetwork starts the network beside everything else: that of the system
// before, where there was one.
func startNetwork(ctx context.Context, c Cmdline, before *handover.Handover, need func(module string) error, sink event.Sink) (Env, error) {
	env := Env{RequestPath: request.Path, SecretsPath: request.SecretsPath, StagePath: stage.Path, Sink: sink, Cmdline: c,
		Online: func(context.Context) error { return errors.New("the network is needed, but vic.net=no") },
		Leases: func() []network.Lease { return nil },
	}
	if c.Net == NetNo {
		return env, nil
	}
	cfg := network.Config{
		Sys: "/sys", ResolvConf: runDir + "/resolv.conf", Need: need,
		Report: func(iface string, l *network.Lease, err error) { reportNetwork(sink, iface, l, err) },
	}
	late := fmt.Errorf("no DHCP server answered for %v", onlinePatience)
	if before != nil && len(before.Network.Links) > 0 {
		cfg.Handover = &before.Network
		late = fmt.Errorf("the network of the system before did not come up within %v", onlinePatience)
	}
	n, err := network.Start(ctx, cfg)
	if err != nil {
		return env, err
	}
	env.Online = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, onlinePatience, late)
		defer cancel()
		return n.Wait(ctx)
	}
	env.Leases = n.Leases
	return env, nil
}

// onlinePatience allows for switches that take half a minute to open a port
// (spanning tree), and for slow NICs.
const onlinePatience = 90 * time.Second

func reportNetwork(sink event.Sink, iface string, l *network.Lease, err error) {
	ev := event.Event{Phase: event.Enter, Step: "network", State: event.Done}
	if err != nil {
		ev.Message = "warning: " + err.Error()
	} else {
		ev.Message = l.String()
	}
	sink.Emit(ev)
}
