// Package deb turns a signed Debian archive into resolved packages, and
// packages into a file tree, without root, apt or dpkg.
//
//	InRelease --signature, dates, suite--> Release
//	Release   --SHA-256--> Packages --index--> candidates
//	Request   --Resolve--> []Package --Fetch--> .debs in the cache
//	.debs     --Extract--> Tree (rules: Trim) --> fs.FS, tar
//	[]Package --Lock--> lock.json --Open(Config.Lock)--> the same packages
//
// Nothing that a mirror sends is used before its hash, or the signature over
// it, has been checked, and nothing unbounded is read before that.
//
// The package reads one suite of one archive and does not run maintainer
// scripts: LocalRepository hands exactly the resolved packages to mmdebstrap
// for that, and OpenTools runs programs out of unpacked packages.
//
// Versions are compared by pault.ag/go/debian. Its readers of ar archives,
// control files and dependency fields are not used on a mirror's bytes: the
// first accepts negative sizes, the second is quadratic in continuation lines,
// the third takes nearly anything for a package name.
package deb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// Config says which archive to open, and how.
type Config struct {
	// Mirror is the base URL of the archive (http, https or file), the
	// directory above dists/ and pool/.
	Mirror string
	// Suite is a suite or code name, such as "trixie".
	Suite string
	// Components defaults to main.
	Components []string
	// Arch is a Debian architecture, such as amd64 or arm64.
	Arch string
	// Keyrings are paths of OpenPGP keyrings, binary or armoured. Default: the
	// host's Debian archive keyring.
	Keyrings []string
	// CacheDir holds everything downloaded, by SHA-256.
	CacheDir string
	// Offline forbids the network: everything must be in CacheDir.
	Offline bool
	// Lock makes the archive consist of exactly the locked packages. InRelease
	// and Packages are then not read: the lock has the hashes.
	Lock *Lock
	// Progress is told about downloads; may be nil. Calls do not overlap.
	Progress func(Progress)
	// Now is the clock for Valid-Until and key expiry; default time.Now.
	Now func() time.Time
	// Retry says how patient downloads are.
	Retry Retry
}

// Retry says how patient downloads are; zero fields take the default.
type Retry struct {
	// Stall is how long a mirror may send nothing before the connection is
	// given up; default 30 s.
	Stall time.Duration
	// Attempts is the number of tries in a row that bring no new byte; a try
	// that brought some starts the count again. Default 5.
	Attempts int
	// Backoff is the pause before the second try, doubled for each further
	// one, at most 30 s; default 500 ms.
	Backoff time.Duration
}

// Progress is the state of a group of downloads.
type Progress struct {
	// Name is the file that changed.
	Name string
	// Done and Total count bytes. Total is 0 while it is unknown.
	Done, Total int64
	// Files and FilesTotal count finished and all files.
	Files, FilesTotal int
}

// Sentinels that callers may branch on.
var (
	// ErrSignature is wrapped when InRelease is unsigned or badly signed.
	ErrSignature = errors.New("no good signature")
	// ErrExpired is wrapped when Valid-Until has passed.
	ErrExpired = errors.New("expired")
	// ErrOffline is wrapped when a file is not in the cache and Offline is set.
	ErrOffline = errors.New("not in the cache, and the network is not to be used (offline)")
	// ErrHash is wrapped when bytes are not those that the archive promised.
	ErrHash = errors.New("content does not match its hash")
)

// Archive is one suite of a Debian archive for one architecture.
type Archive struct {
	cfg     Config
	store   store
	fetcher *fetcher
	release release
	index   *index
}

func (c *Config) setDefaults() error {
	if c.Lock != nil {
		if err := c.Lock.Validate(); err != nil {
			return err
		}
		if err := c.adoptLock(); err != nil {
			return err
		}
	}
	switch {
	case c.Mirror == "" && !(c.Offline && c.Lock != nil):
		return errors.New("no mirror given")
	case !validToken(c.Suite):
		return fmt.Errorf("suite %q is not a suite name", c.Suite)
	case !validToken(c.Arch):
		return fmt.Errorf("architecture %q is not an architecture name", c.Arch)
	case c.CacheDir == "":
		return errors.New("no cache directory given")
	}
	if len(c.Components) == 0 {
		c.Components = []string{"main"}
	}
	for _, comp := range c.Components {
		if !validToken(comp) {
			return fmt.Errorf("component %q is not a component name", comp)
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Retry.setDefaults()
	return nil
}

// adoptLock fills suite and architecture from the lock, and refuses others.
func (c *Config) adoptLock() error {
	if c.Suite == "" {
		c.Suite = c.Lock.Suite
	}
	if c.Arch == "" {
		c.Arch = c.Lock.Arch
	}
	if c.Suite != c.Lock.Suite {
		return fmt.Errorf("the lock is for suite %s, not %s", c.Lock.Suite, c.Suite)
	}
	if c.Arch != c.Lock.Arch {
		return fmt.Errorf("the lock is for architecture %s, not %s", c.Lock.Arch, c.Arch)
	}
	c.Components = c.Lock.Components
	return nil
}

func (r *Retry) setDefaults() {
	if r.Stall <= 0 {
		r.Stall = 30 * time.Second
	}
	if r.Attempts <= 0 {
		r.Attempts = 5
	}
	if r.Backoff <= 0 {
		r.Backoff = 500 * time.Millisecond
	}
}

// validToken accepts what may stand in a URL path as one component: no slash,
// no leading dot, nothing that needs escaping.
func validToken(s string) bool {
	if s == "" || s[0] == '.' || len(s) > 100 {
		return false
	}
	for _, c := range []byte(s) {
		if !isAlnum(c) && c != '-' && c != '.' && c != '_' && c != '+' && c != '~' {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// Open reads and verifies the archive's index. With Config.Lock it needs
// neither the network nor a keyring.
func Open(ctx context.Context, cfg Config) (*Archive, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, fmt.Errorf("open Debian archive: %w", err)
	}
	a := &Archive{cfg: cfg, store: store{dir: cfg.CacheDir}}
	a.fetcher = newFetcher(cfg, a.store)
	var err error
	if cfg.Lock != nil {
		a.release = cfg.Lock.release()
		a.index, err = cfg.Lock.index()
	} else {
		err = a.load(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open Debian archive %s of %s: %w", cfg.Suite, strings.TrimSuffix(a.fetcher.url(""), "/"), err)
	}
	return a, nil
}

// load fills release and index from the mirror or the cache.
func (a *Archive) load(ctx context.Context) error {
	keys, err := readKeyrings(a.cfg.Keyrings)
	if err != nil {
		return err
	}
	raw, err := a.inRelease(ctx, keys)
	if err != nil {
		return err
	}
	if a.release, err = verifyRelease(raw, keys, a.cfg); err != nil {
		return fmt.Errorf("InRelease: %w", err)
	}
	if !a.cfg.Offline {
		if err := a.keepInRelease(raw); err != nil {
			return err
		}
	}
	return a.loadPackages(ctx)
}

// inReleasePath is where the last good InRelease of this mirror and suite is
// kept for offline builds.
func (a *Archive) inReleasePath() string {
	return filepath.Join(a.cfg.CacheDir, "release", hexSum([]byte(a.cfg.Mirror))[:16], a.cfg.Suite, "InRelease")
}

func (a *Archive) inRelease(ctx context.Context, keys openpgp.EntityList) ([]byte, error) {
	if !a.cfg.Offline {
		return a.fetcher.small(ctx, "dists/"+a.cfg.Suite+"/InRelease", maxInRelease)
	}
	raw, err := os.ReadFile(a.inReleasePath())
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("InRelease: %w", ErrOffline)
	}
	return raw, err
}

func (a *Archive) keepInRelease(raw []byte) error {
	path := a.inReleasePath()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeAtomic(path, raw)
}
