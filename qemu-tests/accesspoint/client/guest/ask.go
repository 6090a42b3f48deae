package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"

	"golang.org/x/crypto/ssh"
)

// resolve asks the name servers of the lease: this program has no C library, and Go
// reads resolv.conf(5) itself.
func resolve(ctx context.Context, family, name string) (lines []string, err error) {
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+family, name)
	for _, a := range list {
		lines = append(lines, a.Unmap().String())
	}
	return lines, err
}

// get fetches a page over IPv4 or IPv6 alone, over a connection of its own.
func get(ctx context.Context, family, url string) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp"+family, addr)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s", url, answer.Status)
	}
	return string(page), err
}

// command runs a shell command on the router. Whose host key it is nobody knows: the
// appliance has made it at its start.
func command(ctx context.Context, router netip.Addr, key []byte, text string) (string, error) {
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		return "", err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(router, 22).String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return "", err
		}
	}
	c, channels, requests, err := ssh.NewClientConn(conn, router.String(), &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return "", err
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	out, err := session.CombinedOutput(text)
	return string(out), err
}
