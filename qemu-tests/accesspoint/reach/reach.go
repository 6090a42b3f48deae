// Package reach tells how a TCP port looks from where a program of the tests runs.
package reach

import (
	"errors"
	"net"
	"time"
)

// The ways in which nothing, and something, is there.
const (
	Open    = "open"
	Silence = "silence" // no answer at all: what a firewall leaves
)

// TCP tries to connect: Open, Silence, or a word on how it was refused.
func TCP(host, port string) string {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 2*time.Second)
	var late net.Error
	switch {
	case err == nil:
		c.Close()
		return Open
	case errors.As(err, &late) && late.Timeout():
		return Silence
	}
	return "refused: " + err.Error()
}
