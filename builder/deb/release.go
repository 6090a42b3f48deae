package deb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// release is what a verified InRelease says.
type release struct {
	date        string // as written, RFC 1123 with UTC
	sha256      string // of the InRelease file
	byHash      bool
	allSeparate bool // arch:all packages have an index of their own
	files       map[string]fileHash
}

// fileHash is what InRelease promises of a file below dists/SUITE.
type fileHash struct {
	sha256 string
	size   int64
}

// verifyRelease checks signature, dates, suite, architecture and components.
func verifyRelease(raw []byte, keys openpgp.EntityList, cfg Config) (release, error) {
	text, err := verifyClearsigned(raw, keys, cfg.Now())
	if err != nil {
		return release{}, err
	}
	rel, err := parseRelease(text, cfg)
	rel.sha256 = hexSum(raw)
	return rel, err
}

// parseRelease reads the signed text (the format is described in apt's
// apt-secure(8) and the Debian wiki's RepositoryFormat).
func parseRelease(text []byte, cfg Config) (release, error) {
	s, err := oneStanza(text)
	if err != nil {
		return release{}, err
	}
	rel := release{date: s.get("Date"), byHash: s.get("Acquire-By-Hash") == "yes"}
	if err := checkDates(s, cfg.Now()); err != nil {
		return rel, err
	}
	if suite, code := s.get("Suite"), s.get("Codename"); cfg.Suite != suite && cfg.Suite != code {
		return rel, fmt.Errorf("it is for suite %q (code name %q), wanted %q", suite, code, cfg.Suite)
	}
	archs := strings.Fields(s.get("Architectures"))
	if !slices.Contains(archs, cfg.Arch) {
		return rel, fmt.Errorf("the suite has no architecture %s (it has %s)", cfg.Arch, strings.Join(archs, ", "))
	}
	if err := checkComponents(s, cfg.Components); err != nil {
		return rel, err
	}
	noAll := strings.Fields(s.get("No-Support-for-Architecture-all"))
	rel.allSeparate = slices.Contains(archs, "all") && !slices.Contains(noAll, "Packages")
	rel.files, err = parseSums(s.get("SHA256"))
	return rel, err
}

func checkComponents(s stanza, want []string) error {
	have := strings.Fields(s.get("Components"))
	for i, c := range have {
		// Security archives list "updates/main".
		have[i] = c[strings.LastIndexByte(c, '/')+1:]
	}
	for _, c := range want {
		if !slices.Contains(have, c) {
			return fmt.Errorf("the suite has no component %s (it has %s)", c, strings.Join(have, ", "))
		}
	}
	return nil
}

// clockSkew is how far in the future Date may be.
const clockSkew = 24 * time.Hour

func checkDates(s stanza, now time.Time) error {
	date, err := time.Parse(time.RFC1123, s.get("Date"))
	if err != nil {
		return fmt.Errorf("parse Date: %w", err)
	}
	if date.After(now.Add(clockSkew)) {
		return fmt.Errorf("it is dated %s, in the future: this machine's clock says %s", date.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	until := s.get("Valid-Until")
	if until == "" {
		return nil // Debian's stable suites do not expire
	}
	end, err := time.Parse(time.RFC1123, until)
	if err != nil {
		return fmt.Errorf("parse Valid-Until: %w", err)
	}
	if now.After(end) {
		return fmt.Errorf("%w on %s: the mirror is out of date, or someone replays an old archive", ErrExpired, end.Format(time.RFC3339))
	}
	return nil
}

// parseSums reads lines of " HASH SIZE PATH".
func parseSums(field string) (map[string]fileHash, error) {
	files := map[string]fileHash{}
	for _, line := range strings.Split(field, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 || !validHash(words[0]) {
			return nil, fmt.Errorf("SHA256: %.120q is not hash, size and path", line)
		}
		size, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil || size < 0 {
			return nil, fmt.Errorf("SHA256: %.120q has a bad size", line)
		}
		files[words[2]] = fileHash{words[0], size}
	}
	if len(files) == 0 {
		return nil, errors.New("it has no SHA256 sums")
	}
	return files, nil
}

// maxPackages bounds an index, unpacked; Debian's largest has 60 MB.
const maxPackages = 1 << 30

// loadPackages fetches and reads the index of each component.
func (a *Archive) loadPackages(ctx context.Context) error {
	a.index = newIndex(a.cfg.Arch)
	for _, comp := range a.cfg.Components {
		dirs := []string{comp + "/binary-" + a.cfg.Arch}
		if a.release.allSeparate {
			dirs = append(dirs, comp+"/binary-all")
		}
		for i, dir := range dirs {
			text, err := a.packagesFile(ctx, dir)
			if i > 0 && errors.Is(err, errNoIndex) {
				continue
			}
			if err != nil {
				return err
			}
			if err := a.index.add(text); err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
		}
	}
	a.index.finish()
	return nil
}

var errNoIndex = errors.New("the suite has no index of packages there")

// indexNames are the spellings of an index, best first.
var indexNames = []string{"Packages.xz", "Packages.gz", "Packages"}

// packagesFile returns the unpacked index of a directory of the suite. The
// unpacked form is kept in the cache too: unpacking takes longer than reading
// and hashing.
func (a *Archive) packagesFile(ctx context.Context, dir string) ([]byte, error) {
	plain, known := a.release.files[dir+"/Packages"]
	if known && plain.size > maxPackages {
		return nil, fmt.Errorf("%s/Packages: %d bytes are too many", dir, plain.size)
	}
	if known {
		if text, err := a.store.read(plain); err == nil {
			return text, nil
		}
	}
	for _, name := range indexNames {
		want, ok := a.release.files[dir+"/"+name]
		if !ok {
			continue
		}
		text, err := a.unpackIndex(ctx, dir, name, want)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", dir, name, err)
		}
		if known && (int64(len(text)) != plain.size || hexSum(text) != plain.sha256) {
			return nil, fmt.Errorf("%s/%s: unpacked: %w", dir, name, ErrHash)
		}
		if known && name != "Packages" {
			return text, a.store.write(plain, text)
		}
		return text, nil
	}
	return nil, fmt.Errorf("%s: %w", dir, errNoIndex)
}

func (a *Archive) unpackIndex(ctx context.Context, dir, name string, want fileHash) ([]byte, error) {
	if want.size > maxPackages {
		return nil, fmt.Errorf("%d bytes are too many", want.size)
	}
	rel := "dists/" + a.cfg.Suite + "/" + dir + "/" + name
	if a.release.byHash {
		rel = "dists/" + a.cfg.Suite + "/" + dir + "/by-hash/SHA256/" + want.sha256
	}
	paths, err := a.fetcher.all(ctx, []download{{rel: rel, name: name, fileHash: want}})
	if err != nil {
		return nil, err
	}
	return readPacked(paths[0], maxPackages)
}
