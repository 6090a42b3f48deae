package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/flash"
	"github.com/victorinix/vic/internal/secret"
)

// cardType is the type of items that cards for Raspberry Pis are made of.
const cardType = "raspberry-pi"

// cardArch is the only architecture of a card. It is the default for one, whatever
// this machine is.
const cardArch = "arch=arm64"

// card is the image of an appliance for Raspberry Pis. Secrets are beside it: what
// is flashed goes over its state, and what is built for one machine alone has them
// in it.
func (d *diskImage) card(ctx context.Context, env builder.Env, c *config.Config, secrets secret.Set) error {
	bundle, err := cardBundle(ctx, env, c)
	if err != nil {
		return err
	}
	card, err := raspberry.Write(ctx, env, bundle, cardSpec(c), d.dir)
	if err != nil {
		return err
	}
	d.Size, d.Lock, d.Manifest = card.Files[0].Size, filepath.Join(d.dir, builder.LockFile), filepath.Join(d.dir, builder.CardFile)
	if len(secrets.Names()) == 0 {
		return nil
	}
	state, err := cardState(ctx, env, card, secrets)
	d.overlays = []flash.Overlay{{Offset: state.Offset, Size: int64(len(state.Data)), Data: bytes.NewReader(state.Data)}}
	return err
}

// cardSpec is what a card has beside its system.
func cardSpec(c *config.Config) raspberry.Spec {
	return raspberry.Spec{
		Serial: c.Bool("serial"), Config: c.List("config-txt"), Overlays: c.List("overlays"),
		Cmdline: append([]string{"vic.net=no"}, c.List("kernel-params")...),
	}
}

// cardBundle is the system of a card: an appliance, with the boards' drivers.
func cardBundle(ctx context.Context, env builder.Env, c *config.Config) (*builder.Bundle, error) {
	spec, err := applianceSpec(c)
	if err != nil {
		return nil, err
	}
	spec.Early, spec.Modules = raspberry.EarlyModules(), raspberry.Modules()
	spec.Firmware = append(spec.Firmware, raspberry.FirmwarePackages()...)
	if err := raspberry.Announce(ctx, env, raspberry.Suite, spec.Firmware); err != nil {
		return nil, err
	}
	return builder.CacheAppliance(ctx, env, spec)
}

// checkCard refuses what no card can be made of. One that is to be shared has no
// secrets, and gets them when it is flashed.
func (of diskImageOf) checkCard(c *config.Config, secrets secret.Set) error {
	if !isAppliance(c) {
		return usage("`vic items` shows the types of each item", "item %s is no appliance: a card runs nothing else", c.Item().Name)
	}
	if arch := c.String("arch"); arch != "arm64" {
		return usage("leave the architecture out", "a card for Raspberry Pis is for arm64, not for %s", arch)
	}
	if !of.secrets {
		return nil
	}
	return checkApplianceSecrets(c, secrets)
}

// cardState is the state of a card, with the secrets for its owner alone.
func cardState(ctx context.Context, env builder.Env, card *raspberry.Card, secrets secret.Set) (raspberry.Overlay, error) {
	all := map[string]string{}
	for _, name := range secrets.Names() {
		v, _ := secrets.Get(name)
		all[name] = v.Reveal()
	}
	doc, err := json.Marshal(all)
	if err != nil {
		return raspberry.Overlay{}, errors.New("encode the secrets of a card") // the error could repeat one
	}
	return card.State(ctx, env, []raspberry.StateFile{{Path: raspberry.SecretsFile, Mode: 0o600, Data: doc}})
}

// putOverlays puts what is beside an image into it.
func (d *diskImage) putOverlays() error {
	if len(d.overlays) == 0 {
		return nil
	}
	f, err := os.OpenFile(d.Path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, o := range d.overlays {
		b := make([]byte, o.Size)
		if _, err := o.Data.ReadAt(b, 0); err != nil {
			return err
		}
		if _, err := f.WriteAt(b, o.Offset); err != nil {
			return err
		}
	}
	return f.Close()
}
