// Package envscan finds out what a machine is: an fs.FS of /sys, /proc, /dev
// and /etc, plus netlink, to Facts.
//
// It only reads: no probe writes, opens a disk for writing, or wakes one up.
// What could not be read is in Scan.Gaps with the reason, never silently
// missing. The document is deterministic outside State.
package envscan

// Schema is the value of Facts.Schema.
const Schema = "vic.env/1"

// Facts is the document that `vic-env dump` prints.
//
// In JSON, what is absent was not probed or could not be read (then scan.gaps
// names it, or scan.only does not), and null was probed and is not there; so the
// zero value of a string, pointer or map in these types is null, and a list is
// never null. Integers beyond 2^53 are strings. Lists are ordered by kind,
// firmware index, bus path and port, never by name or ifindex, which change.
//
// The tag `privacy` says who may see a field: none (anybody), "identifying" (it
// tells this machine, its owner or its place from others) or "secret". The tag
// `unit` is its unit. A struct field inherits the privacy of what holds it. Every
// field has a comment: it is the description in `vic-env schema` and
// docs/facts.md, which TestSchema keeps (-update).
type Facts struct {
	Schema string `json:"schema"` // "vic.env/1"
	// Scan says how the facts were found, and what was not.
	Scan Report `json:"scan"`
	// HW is the machine, whatever runs on it.
	HW HW `json:"hw"`
	// Net is the network configuration of the running system.
	Net Net `json:"net"`
	// OS is the running system.
	OS OS `json:"os"`
	// State is what changes from one run to the next.
	State State `json:"state"`
}

// Report says how the facts were found.
type Report struct {
	Version string `json:"version"` // of the program that scanned
	// Privileged: it ran as root, so that what was denied is denied to root.
	Privileged bool `json:"privileged"`
	// Captured: the facts are of a tree of files and not of the system that the
	// program ran on.
	Captured bool `json:"captured"`
	// Only are the paths that the scan was limited to, without indices; empty:
	// everything. What is not at or below one of them was not probed.
	Only []string `json:"only"`
	// Redacted is what was done to identifying values: "hash", "drop"; null:
	// nothing.
	Redacted string `json:"redacted"`
	// Gaps are what could not be read, in the order of Fact and Path.
	Gaps []Gap `json:"gaps"`
}

// Gap is something that could not be read.
type Gap struct {
	// Fact is the path of the fact that is missing, with list elements chosen by
	// a key: "hw.disk[name=sda].serial".
	Fact string `json:"fact"`
	Path string `json:"path" privacy:"identifying"` // what was tried
	Why  string `json:"why"`                        // reason, as the system gave it
	Need string `json:"need"`                       // what would make it readable: "root"
}

// State is what changes from run to run.
type State struct {
	Time            string `json:"time"`                         // when the scan began, RFC 3339, UTC
	Uptime          int64  `json:"uptime" unit:"s"`              // since the kernel started
	MemoryAvailable int64  `json:"memoryAvailable" unit:"bytes"` // MemAvailable
	// Links are by the interface's name.
	Links    map[string]Link    `json:"links" privacy:"identifying"`
	Sensors  map[string]float64 `json:"sensors"`  // readings by hw.sensor's id, in its unit
	Battery  map[string]Charge  `json:"battery"`  // by hw.battery's name
	Disk     map[string]Health  `json:"disk"`     // counters by hw.disk's name
	Wireless []Station          `json:"wireless"` // networks in reach, by SSID and BSSID
}

// Link is an interface's state.
type Link struct {
	Up      bool  `json:"up"`                // it is switched on
	Carrier bool  `json:"carrier"`           // there is something at the other end
	Speed   int64 `json:"speed" unit:"Mb/s"` // negotiated; 0: unknown
	MTU     int64 `json:"mtu" unit:"bytes"`  // largest packet
}

// Charge is a battery's state.
type Charge struct {
	Status  string `json:"status"`           // charging, discharging, full, not charging
	Percent int64  `json:"percent" unit:"%"` // of what it holds today
}

// Health is what a disk counts of itself. Fields that its protocol does not have
// are null.
type Health struct {
	Temperature  *int64 `json:"temperature" unit:"°C"` // now
	PowerOnHours *int64 `json:"powerOnHours" unit:"h"` // time that it ran
	PowerCycles  *int64 `json:"powerCycles"`           // times it was switched on
	// Used is how much of its life a flash disk has behind it, by its own
	// account; beyond 100 it is on borrowed time.
	Used          *int64 `json:"used" unit:"%"`
	Written       *int64 `json:"written" unit:"bytes"` // bytes that the host wrote
	Read          *int64 `json:"read" unit:"bytes"`    // bytes that the host read
	MediaErrors   *int64 `json:"mediaErrors"`          // sectors that could not be read
	Reallocated   *int64 `json:"reallocated"`          // sectors replaced by spare ones
	Pending       *int64 `json:"pending"`              // sectors waiting to be replaced
	UnsafeCutOffs *int64 `json:"unsafeCutOffs"`        // times the power went away unannounced
}

// Station is a wireless network in reach.
type Station struct {
	NIC       string `json:"nic"`                         // the card that sees it
	SSID      string `json:"ssid" privacy:"identifying"`  // what is not text as \xNN; null: hidden
	BSSID     string `json:"bssid" privacy:"identifying"` // MAC of the access point
	Frequency int64  `json:"frequency" unit:"MHz"`        // of its channel
	Signal    *int64 `json:"signal" unit:"dBm"`           // null: the card only tells strong from weak
	// Security are the ways in, sorted: open, owe (encrypted without a password),
	// wep, wpa, wpa2, wpa3 (a password), eap (a name and more). A network for old
	// and new cards has several.
	Security []string `json:"security"`
}
