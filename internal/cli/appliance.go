package cli

import (
	"context"
	"net/netip"
	"path"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/accesspoint"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/secret"
)

// accessPointType is the type of the appliances that this vic knows.
const accessPointType = "wifi-access-point"

// isAppliance says whether an item runs services from a card.
func isAppliance(c *config.Config) bool { return c.Is(accessPointType) }

// applianceSpec is what the builder needs of an item that is an appliance. No
// secret is in it.
func applianceSpec(c *config.Config) (builder.ApplianceSpec, error) {
	graph, err := images.Services(accessPointType)
	if err != nil {
		return builder.ApplianceSpec{}, err
	}
	options, err := accessPointOptions(c).Encode()
	if err != nil {
		return builder.ApplianceSpec{}, fail(exitUsage, err, "`vic options "+c.Item().Name+"` explains them")
	}
	spec := builder.ApplianceSpec{
		InstallerSpec: builder.InstallerSpec{
			Item: c.Item().Name, Suite: installerSuite, Arch: c.String("arch"),
			Kernel: c.Select("kernel"), Packages: c.Select("packages"), Programs: c.Select("programs"), Files: c.Select("files"),
			Modules: c.Select("modules"), Firmware: c.Select("firmware"), Vic: buildInfo().Version,
		},
		Services:  graph,
		Documents: map[string][]byte{path.Base(accesspoint.OptionsPath): options},
	}
	if !c.Bool("portal") {
		spec.Without = append(spec.Without, "portal")
	}
	if len(c.List("sshkey")) == 0 {
		spec.Without = append(spec.Without, "ssh")
	}
	return spec, nil
}

func accessPointOptions(c *config.Config) accesspoint.Options {
	subnet, _ := netip.ParsePrefix(c.String("subnet")) // one that is none is refused by Encode
	return accesspoint.Options{
		Hostname: c.String("hostname"), Country: c.String("country"), Security: c.String("security"), User: c.String("user"),
		Subnet: subnet, SSHKeys: c.List("sshkey"), Portal: c.Bool("portal"),
		Wifi: c.List("match-wifi"), Ethernet: c.List("match-ethernet"), NTP: c.List("ntp"),
	}
}

// checkApplianceSecrets refuses secrets that the wireless network cannot be joined
// with: before anything is built or written.
func checkApplianceSecrets(c *config.Config, secrets secret.Set) error {
	err := accesspoint.NewSecrets(func(name string) string {
		v, ok := secrets.Get(name)
		if !ok {
			return ""
		}
		return v.Reveal()
	}).Validate(c.String("security"))
	if err != nil {
		return fail(exitUsage, err, "-s wifi-ssid=NAME,wifi-psk=@FILE")
	}
	return nil
}

// buildAppliance builds the system of an appliance, as a bundle. Secrets are left
// beside it, as they are beside a payload.
func buildAppliance(ctx context.Context, env builder.Env, c *config.Config, secrets secret.Set, out string) error {
	if len(secrets.Names()) > 0 {
		if err := checkApplianceSecrets(c, secrets); err != nil {
			return err
		}
	}
	spec, err := applianceSpec(c)
	if err != nil {
		return err
	}
	if _, err := builder.ApplianceSystem(ctx, env, spec, out); err != nil {
		return err
	}
	return writeSecrets(out, secrets)
}
