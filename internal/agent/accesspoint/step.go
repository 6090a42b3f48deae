// Package accesspoint does what package internal/accesspoint says: each function
// here is a service of the graph of a reverse Wi-Fi access point (its services.json
// is in images), a process of its own that writes outputs for the others.
//
//	firewall                         nothing passes before it is there
//	cards     wifi, lan              the cards, as they come and go
//	wifi      associated, state, ..  wpa_supplicant, and what it says
//	uplink    address, gateway       DHCP on the wireless card
//	uplink6   default                whether routers advertise a way out
//	lan       subnet, address, ula   the bridge, with a subnet of its own
//	dnsmasq                          exec of dnsmasq
//	clock     synced                 SNTP
//	ssh, portal                      on the Ethernet side alone
package accesspoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/accesspoint"
	"github.com/victorinix/vic/internal/agent/supervisor"
	"github.com/victorinix/vic/internal/nearest"
)

// Where things are in the appliance.
const (
	runDir      = "/run/vic/access-point"
	stateDir    = "/run/vic/state" // what is kept, when there is a partition for it
	secretsPath = stateDir + "/secrets.json"
	resolvConf  = "/run/vic/resolv.conf"
)

// appliance is what all steps work with.
type appliance struct {
	options accesspoint.Options
	own     supervisor.Outputs
}

// steps are the built-in steps.
func steps() map[string]func(a appliance, ctx context.Context) error {
	return map[string]func(appliance, context.Context) error{
		"firewall": appliance.firewall,
		"cards":    appliance.cards,
		"wifi":     appliance.wifi,
		"uplink":   appliance.uplink,
		"uplink6":  appliance.uplink6,
		"lan":      appliance.lan,
		"dnsmasq":  appliance.dnsmasq,
		"clock":    appliance.clock,
		"ssh":      appliance.ssh,
		"portal":   appliance.portal,
	}
}

// Step runs a built-in step, until SIGTERM comes.
func Step(args []string) error {
	all := steps()
	if len(args) != 1 || all[args[0]] == nil {
		name := strings.Join(args, " ")
		if near := nearest.Name(name, slices.Collect(maps.Keys(all))); near != "" {
			return fmt.Errorf("unknown step %q; did you mean %q?", name, near)
		}
		return fmt.Errorf("unknown step %q, there are %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	log.SetFlags(0)
	a, err := open()
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if err := all[args[0]](a, ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

func open() (appliance, error) {
	f, err := os.Open(accesspoint.OptionsPath)
	if err != nil {
		return appliance{}, err
	}
	defer f.Close()
	options, err := accesspoint.Decode(f)
	if err != nil {
		return appliance{}, err
	}
	own, err := supervisor.Own()
	return appliance{options, own}, errors.Join(err, os.MkdirAll(runDir, 0o755))
}

// secrets reads what was put onto the card beside the image.
func (a appliance) secrets() (accesspoint.Secrets, error) {
	b, err := os.ReadFile(secretsPath)
	if errors.Is(err, fs.ErrNotExist) {
		return accesspoint.Secrets{}, fmt.Errorf("the card has no secrets (%s): write it again with -s", filepath.Base(secretsPath))
	}
	if err != nil {
		return accesspoint.Secrets{}, err
	}
	var all map[string]string
	if err := json.Unmarshal(b, &all); err != nil {
		return accesspoint.Secrets{}, fmt.Errorf("read %s: it is no JSON object of texts", secretsPath)
	}
	return accesspoint.NewSecrets(func(name string) string { return all[name] }), nil
}

// need reads an output of another service that the graph says is there.
func need(service, key string) (string, error) {
	v, there, err := supervisor.Of(service).Get(key)
	if err == nil && !there {
		err = fmt.Errorf("service %s has no output %s", service, key)
	}
	return v, err
}

// setSysctl writes below /proc/sys.
func setSysctl(name, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}
