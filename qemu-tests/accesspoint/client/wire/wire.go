// Package wire is what a test and the program in a client machine tell each other:
// over the virtio-serial port Port the test sends a Question, a line of JSON, and the
// program its Answer; then the next.
package wire

import "net/netip"

// Port is the name of the virtio-serial port.
const Port = "org.vic.client"

// Where the program finds what it is given.
const (
	Key      = "/key"      // the private SSH key that the appliance knows
	Stranger = "/stranger" // one that it does not know
)

// What a client does. Each is the first of a question's words.
const (
	Plug    = "plug"    // sets the card up, and asks for a lease: Answer.Lease
	IPv6    = "ipv6"    // the addresses that the kernel has made of router advertisements, and the router: Answer.Lines
	Resolve = "resolve" // "4" or "6", NAME: the addresses, Answer.Lines
	Get     = "get"     // "4" or "6", URL: the page, Answer.Text
	Reach   = "reach"   // HOST PORT: see package reach, Answer.Text
	SSH     = "ssh"     // file of a key, COMMAND: what it prints on the router, Answer.Text
)

// Question is what is to be done.
type Question struct {
	Words []string `json:"words"`
}

// Answer is what came of it. With an error there may be a text, too.
type Answer struct {
	Error string   `json:"error,omitempty"`
	Text  string   `json:"text,omitempty"`
	Lines []string `json:"lines,omitempty"`
	Lease *Lease   `json:"lease,omitempty"`
}

// Lease is what a DHCP server gave.
type Lease struct {
	Address netip.Prefix `json:"address"`
	Router  netip.Addr   `json:"router"`
	DNS     []netip.Addr `json:"dns"`
	Domain  string       `json:"domain"`
}
