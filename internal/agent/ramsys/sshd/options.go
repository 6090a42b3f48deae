package sshd

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// internalSFTP is the command that stands for the sftp server of this process.
const internalSFTP = "internal-sftp"

// apply honours all options, or says which it cannot honour. Those that only
// forbid what this server never does are honoured by themselves.
func (k *authorizedKey) apply(options []option) error {
	seen := map[string]bool{}
	for _, o := range options {
		if seen[o.name] && o.name != "permitopen" && o.name != "environment" && o.name != "permitlisten" {
			return fmt.Errorf("option %s is there twice", o.name)
		}
		seen[o.name] = true
		var err error
		if o.hasValue {
			err = k.applyValue(o)
		} else {
			err = k.applyFlag(o.name)
		}
		if err != nil {
			return fmt.Errorf("option %.40s: %w", o.name, err)
		}
	}
	return nil
}

var errUnknownOption = errors.New("it is not supported, so the key cannot be used")

func (k *authorizedKey) applyFlag(name string) error {
	switch name {
	case "restrict":
		k.pty, k.forwarding = false, false
	case "pty":
		k.pty = true
	case "no-pty":
		k.pty = false
	case "port-forwarding":
		k.forwarding = true
	case "no-port-forwarding":
		k.forwarding = false
	case "no-touch-required":
		k.noTouch = true
	case "agent-forwarding", "no-agent-forwarding", "x11-forwarding", "no-x11-forwarding", "user-rc", "no-user-rc":
		// There is none of these here.
	default: // cert-authority and verify-required among them
		return errUnknownOption
	}
	return nil
}

func (k *authorizedKey) applyValue(o option) (err error) {
	switch o.name {
	case "command":
		return k.setCommand(o.value)
	case "from":
		k.from, err = parseAddrPatterns(o.value)
	case "expiry-time":
		k.expires, err = parseExpiry(o.value)
	case "permitopen":
		var p hostPort
		p, err = parsePermit(o.value)
		k.permitOpen = append(k.permitOpen, p)
	case "environment":
		if !envVar.MatchString(o.value) {
			return errors.New("it must be NAME=value")
		}
		k.env = append(k.env, o.value)
	case "permitlisten", "tunnel":
		// Nobody may listen, and there are no tunnels.
	default: // principals among them
		return errUnknownOption
	}
	return err
}

var envVar = lazyregexp.New(`^[A-Za-z0-9_]+=`)

func (k *authorizedKey) setCommand(command string) error {
	if strings.TrimSpace(command) == "" {
		return errors.New("it is empty")
	}
	if strings.HasPrefix(command, internalSFTP) && command != internalSFTP {
		return fmt.Errorf("arguments of %s are not supported", internalSFTP)
	}
	k.command = command
	return nil
}

func parsePermit(value string) (hostPort, error) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return hostPort{}, err
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "*" && (err != nil || n == 0) {
		return hostPort{}, fmt.Errorf("port %.20q must be a number or *", port)
	}
	if host == "" {
		return hostPort{}, errors.New("it has no host")
	}
	return hostPort{host, port}, nil
}

// parseExpiry reads YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, in UTC when a Z
// follows.
func parseExpiry(value string) (time.Time, error) {
	zone := time.Local
	digits, utc := strings.CutSuffix(value, "Z")
	if utc {
		zone = time.UTC
	}
	layout, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if !ok {
		return time.Time{}, fmt.Errorf("%.40q must be YYYYMMDD[HHMM[SS]][Z]", value)
	}
	return time.ParseInLocation(layout, digits, zone)
}
