package cli

import (
	"context"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

const (
	boardOption = "board"
	noBoard     = "none"
)

// boardOf is the board that an item's disk is for; nil: it is for a PC.
func boardOf(c *config.Config) *request.Board {
	if !c.Has(boardOption) || c.String(boardOption) == noBoard {
		return nil
	}
	b := &request.Board{Name: c.String(boardOption), Config: c.List("config-txt"), Overlays: c.List("overlays")}
	if known, ok := raspberry.Find(b.Name); ok && c.Bool("serial") {
		b.Console = known.Console
	}
	return b
}

// onlyBoards refuses options that only the firmware of a board reads.
func onlyBoards(c *config.Config) error {
	if !c.Has(boardOption) || boardOf(c) != nil {
		return nil
	}
	for _, key := range []string{"config-txt", "overlays"} {
		if len(c.List(key)) > 0 {
			return usage("add -o board=pi4, or another one of `vic options "+c.Item().Name+"`", "%s: only the firmware of a board reads it", key)
		}
	}
	return nil
}

// notForBoards refuses an item for a board where no card is made.
func notForBoards(c *config.Config) error {
	if b := boardOf(c); b != nil {
		return usage("`vic flash "+c.Item().Name+" -o board="+b.Name+" DEVICE`, or `vic build "+c.Item().Name+" -o board="+b.Name+" --format disk`",
			"board=%s: a system for a board is flashed onto its card", b.Name)
	}
	return nil
}

// checkBoard refuses what does not go with the board of a disk image.
func checkBoard(c *config.Config) error {
	b := boardOf(c)
	if b == nil {
		return nil
	}
	if arch := c.String("arch"); arch != "arm64" {
		return usage("leave the architecture out", "board=%s: it is for arm64, not for %s", b.Name, arch)
	}
	if kernel := c.String("kernel"); kernel != "generic" {
		return usage("leave the kernel out", "board=%s: the kernel %s has no drivers for it", b.Name, kernel)
	}
	return fail(exitUsage, raspberry.Spec{Config: b.Config, Overlays: b.Overlays, Cmdline: c.List("kernel-params")}.Check(), "nothing was built")
}

// imageLayout is the layout of a disk image when none is given.
func imageLayout(c *config.Config) (layout.Layout, error) {
	if boardOf(c) == nil {
		return defaultLayout(c.String("arch"))
	}
	doc, err := images.Layout(images.RaspberryPiLayout, c.String("arch"))
	if err != nil {
		return layout.Layout{}, err
	}
	return layout.Parse(images.RaspberryPiLayout+".yaml", doc)
}

// announceBoard names the firmware that is not free, before anything is fetched, and
// what the board cannot do.
func announceBoard(ctx context.Context, env builder.Env, c *config.Config, packages []string) error {
	b := boardOf(c)
	if b == nil {
		return nil
	}
	if known, _ := raspberry.Find(b.Name); known.Lacks != "" {
		env.Sink.Emit(event.Event{Phase: event.Build, Step: known.Name, State: event.Done, Message: "warning: Debian 13's kernel has no driver for its " + known.Lacks})
	}
	return raspberry.Announce(ctx, env, c.String("suite"), packages)
}
