package sshd

import (
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

// dialTimeout is how long a forwarded connection may take to come about.
const dialTimeout = 30 * time.Second

// directTCPIP is the request of RFC 4254 §7.2.
type directTCPIP struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// forward connects the client to an address that this machine can reach.
func (c *conn) forward(ctx context.Context, nch ssh.NewChannel) {
	var to directTCPIP
	if err := ssh.Unmarshal(nch.ExtraData(), &to); err != nil || to.Port > 65535 {
		_ = nch.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	addr := net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port)))
	if !c.key.mayForward(to.Host, strconv.Itoa(int(to.Port))) {
		c.server.Log("%s: connection to %s refused: not allowed for this key", c.RemoteAddr(), addr)
		_ = nch.Reject(ssh.Prohibited, "not allowed for this key")
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	far, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		_ = nch.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer far.Close()
	ch, requests, err := nch.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	go func() { // ends when the client has closed the channel
		ssh.DiscardRequests(requests)
		far.Close()
	}()
	join(ch, far.(*net.TCPConn))
}

// join copies both ways until both sides have said all. An error in one
// direction is the end of that direction, as it is for TCP.
func join(ch ssh.Channel, far *net.TCPConn) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(far, ch)
		_ = far.CloseWrite()
	}()
	_, _ = io.Copy(ch, far)
	_ = ch.CloseWrite()
	<-sent
}

// mayForward applies no-port-forwarding and permitopen.
func (k *authorizedKey) mayForward(host, port string) bool {
	if !k.forwarding || k.permitOpen == nil {
		return k.forwarding
	}
	return slices.ContainsFunc(k.permitOpen, func(p hostPort) bool {
		return (p.host == host || p.host == "*") && (p.port == port || p.port == "*")
	})
}
