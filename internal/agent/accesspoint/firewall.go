package accesspoint

import (
	"context"
	"errors"
	"log"
	"os"
	"strings"

	"github.com/victorinix/vic/internal/accesspoint"
	"github.com/victorinix/vic/internal/agent/ramsys"
	"github.com/victorinix/vic/internal/tool"
)

// firewall loads the rules, and only then has the kernel pass anything on. nft
// replaces the rules as a whole, or not at all.
func (a appliance) firewall(ctx context.Context) error {
	// What is there already is not loaded by the kernel, which would run a program for
	// each module, and have nft begin anew after it.
	if err := ramsys.LoadModules(ctx, accesspoint.RuleModules...); err != nil {
		log.Print(err) // nft says what is really missing
	}
	programs := tool.Exec{Path: ramsys.Path}
	cmd := tool.Cmd{Name: "nft", Args: []string{"-f", "-"}, Stdin: strings.NewReader(accesspoint.Rules())}
	if _, err := programs.Run(ctx, cmd); err != nil {
		return err
	}
	return errors.Join(setName(a.options.Hostname),
		setSysctl("net/ipv4/conf/all/rp_filter", "2"),
		setSysctl("net/ipv6/conf/default/accept_ra", "0"),
		setSysctl("net/ipv4/ip_forward", "1"),
		setSysctl("net/ipv6/conf/all/forwarding", "1"))
}

func setName(hostname string) error {
	return os.WriteFile("/proc/sys/kernel/hostname", []byte(hostname), 0)
}
