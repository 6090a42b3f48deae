package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/template"
)

// The values of Network.Mode.
const (
	NetworkDHCP     = "dhcp"
	NetworkAsBefore = "as-before"
)

// maxSize bounds what Decode reads: a request is a few KiB.
const maxSize = 1 << 20

// Encode writes the request as indented JSON, after checking it.
func (r Request) Encode(w io.Writer) error {
	if err := r.Validate(); err != nil {
		return err
	}
	var doc bytes.Buffer
	enc := json.NewEncoder(&doc)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	if doc.Len() > maxSize {
		return fmt.Errorf("write request: it has %d bytes, at most %d are read: the item's files are too large", doc.Len(), maxSize)
	}
	if _, err := w.Write(doc.Bytes()); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	return nil
}

// Decode reads and checks a request. One of another version is refused before
// anything else in it is looked at; unknown fields are refused, since leaving
// out what was asked for is no install of what was described.
func Decode(r io.Reader) (Request, error) {
	doc, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return Request{}, fmt.Errorf("read request: %w", err)
	}
	if len(doc) > maxSize {
		return Request{}, fmt.Errorf("read request: larger than %d bytes", maxSize)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(doc, &head); err != nil {
		return Request{}, fmt.Errorf("decode request: %w", err)
	}
	if head.Version != Version {
		return Request{}, fmt.Errorf("decode request: version %d, this vic reads version %d: build the installer and the request with the same vic", head.Version, Version)
	}
	dec := json.NewDecoder(strings.NewReader(string(doc)))
	dec.DisallowUnknownFields()
	var req Request
	if err := dec.Decode(&req); err != nil {
		return Request{}, fmt.Errorf("decode request: %w", err)
	}
	return req, req.Validate()
}

// Validate reports everything that is wrong with the request, joined.
func (r Request) Validate() error {
	errs := []error{
		check(r.Version == Version, "version", r.Version, fmt.Sprintf("must be %d", Version)),
		check(slices.Contains([]string{FinishPoweroff, FinishReboot, FinishStay}, r.Finish), "finish", r.Finish, "must be poweroff, reboot or stay"),
	}
	for _, name := range slices.Sorted(maps.Keys(r.Disks)) {
		errs = append(errs, check(r.Disks[name] != DiskSelector{}, "disks."+name, "", "must name a disk"))
	}
	errs = append(errs, r.Payload.validate(), r.System.Check())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return nil
}

func check(ok bool, field string, value any, why string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%s %q %s", field, fmt.Sprint(value), why)
}

var (
	hexHash = lazyregexp.New(`^[0-9a-f]{64}$`)
	release = lazyregexp.New(`^[0-9][0-9A-Za-z.+~_-]*$`)
)

func (p Payload) validate() error {
	set := 0
	for _, s := range []string{p.Source.Serial, p.Source.Path, p.Source.PartLabel, p.Source.URL} {
		if s != "" {
			set++
		}
	}
	if p.Source.Stream {
		set++
	}
	return errors.Join(
		check(p.Format == "erofs" || p.Format == "squashfs", "payload.format", p.Format, "must be erofs or squashfs"),
		check(p.Size > 0, "payload.size", p.Size, "must be positive"),
		check(p.TreeSize > 0, "payload.treeSize", p.TreeSize, "must be positive"),
		check(hexHash.MatchString(p.SHA256), "payload.sha256", p.SHA256, "must be 64 lower-case hex digits"),
		check(p.Arch == "amd64" || p.Arch == "arm64", "payload.arch", p.Arch, "must be amd64 or arm64"),
		check(release.MatchString(p.Kernel), "payload.kernel", p.Kernel, "must be a kernel release"),
		check(set == 1, "payload.source", fmt.Sprintf("%+v", p.Source), "must have exactly one of serial, path, partLabel, stream, url"),
		p.Source.ValidateURL(),
	)
}

// ValidateURL refuses a URL that cannot be downloaded from, or holds a secret.
func (s Source) ValidateURL() error {
	if s.URL == "" {
		return nil
	}
	u, err := url.Parse(s.URL)
	return errors.Join(
		check(err == nil && archive.MatchString(s.URL) && u.Host != "", "payload.source.url", s.URL, "must be an http or https URL"),
		check(err != nil || u.User == nil, "payload.source.url", "", "must have no user and no password: a request holds no secrets"))
}

// What goes into files of the target, unquoted.
var (
	hostname  = lazyregexp.New(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	username  = lazyregexp.New(`^[a-z_][a-z0-9_-]{0,31}$`)
	zone      = lazyregexp.New(`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$`)
	word      = lazyregexp.New(`^[A-Za-z0-9_.@-]+$`)
	machineID = lazyregexp.New(`^[0-9a-f]{32}$`)
	suite     = lazyregexp.New(`^[a-z][a-z0-9.-]*$`)
	archive   = lazyregexp.New(`^https?://[\x21-\x7e]+$`)
	sshKey    = lazyregexp.New(`^[^\n\r\x00]+$`)
	// A parameter stands in a shell file and in a loader entry.
	parameter = lazyregexp.New(`^[\x21\x23-\x26\x28-\x5b\x5d-\x5f\x61-\x7e]+$`)
)

// Check reports everything that is wrong with a system, as far as it is known
// where settings are templates.
func (s System) Check() error {
	return errors.Join(s.validate(template.Is), s.validateLate())
}

// Validate checks a system in which no setting is a template any more.
func (s System) Validate() error {
	return s.validate(func(string) bool { return false })
}

func (n Network) validate() error {
	switch {
	case n.Mode == NetworkDHCP && n.Config == nil:
		return nil
	case n.Mode == NetworkAsBefore && n.Config != nil:
		return n.Config.Validate()
	}
	return check(false, "system.network.mode", n.Mode, "must be dhcp, or as-before with a config")
}

func (i *Identity) validate() error {
	return check(i == nil || i.MachineID == "" || machineID.MatchString(i.MachineID), "system.identity", i, "must have a machine-id of 32 lower-case hex digits")
}

// validate checks the settings that are not yet to become something else.
func (s System) validate(later func(text string) bool) error {
	errs := []error{
		check(later(s.Hostname) || len(s.Hostname) <= 64 && hostname.MatchString(s.Hostname), "system.hostname", s.Hostname, "must be a host name (RFC 1123, at most 64 characters, lower case)"),
		check(later(s.Timezone) || s.Timezone == "" || zone.MatchString(s.Timezone) && path.Clean(s.Timezone) == s.Timezone, "system.timezone", s.Timezone, "must be a time zone such as Europe/Berlin"),
		check(s.Locale == "" || word.MatchString(s.Locale), "system.locale", s.Locale, "must be a locale such as de_DE.UTF-8"),
		check(s.Keymap == "" || word.MatchString(s.Keymap), "system.keymap", s.Keymap, "must be a keymap such as de"),
		s.Network.validate(),
		s.Identity.validate(),
		validateNICs(s.Network.NICs),
	}
	for field, url := range map[string]string{"system.apt.mirror": s.APT.Mirror, "system.apt.security": s.APT.Security} {
		errs = append(errs,
			check(later(url) || url == "" || archive.MatchString(url), field, url, "must be an http or https URL"),
			check(url == "" || suite.MatchString(s.APT.Suite), "system.apt.suite", s.APT.Suite, "must be the code name of a release"))
	}
	for _, p := range s.Cmdline {
		errs = append(errs, check(later(p) || parameter.MatchString(p), "system.cmdline", p, "must be one kernel parameter, without spaces or quotes"))
	}
	seen := map[string]bool{}
	for _, u := range s.Users {
		errs = append(errs,
			check(later(u.Name) || username.MatchString(u.Name), "user", u.Name, "must be a user name (useradd(8): a-z, 0-9, _ and -, at most 32)"),
			check(!seen[u.Name], "user", u.Name, "is there twice"))
		seen[u.Name] = true
		for _, k := range u.SSHKeys {
			errs = append(errs, check(sshKey.MatchString(k), "sshkey of "+u.Name, k, "must be one line"))
		}
	}
	return errors.Join(errs...)
}
