package deb

import (
	"archive/tar"
	"slices"
	"strings"
	"testing"
)

func TestTrimLastMatchWins(t *testing.T) {
	rules, err := ParseTrim(`
# comment
exclude /usr/share/doc/*
include /usr/share/doc/*/copyright
exclude /usr/share/doc/secret*
exclude /opt/[a-c]?\*
exclude /srv/[!x]
exclude /srv/[]]y
`)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"usr/share/doc/a/README":           true,
		"usr/share/doc/a/copyright":        false,
		"usr/share/doc/a/b/copyright":      false, // * matches slashes
		"usr/share/doc/secret/a/copyright": true,
		"usr/share/document":               false,
		"usr/bin/env":                      false,
		"opt/bz*":                          true,
		"opt/bzz":                          false,
		"opt/dz*":                          false,
		"srv/y":                            true,
		"srv/x":                            false,
		"srv/]y":                           true,
	} {
		if got := rules.Excludes(name, tar.TypeReg); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	// A directory stays where something below it may be included.
	if rules.Excludes("usr/share/doc/a", tar.TypeDir) || !rules.Excludes("srv/y", tar.TypeDir) {
		t.Error("directories")
	}
	var none *Trim
	if none.Excludes("usr/share/doc/a", tar.TypeReg) || none.DpkgOptions() != nil {
		t.Error("the nil Trim excludes something")
	}
}

func TestTrimSets(t *testing.T) {
	rules, err := TrimSet("docs", "man", "locales")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"usr/share/man/man8/mkfs.erofs.8.gz": true, "usr/share/locale/de/LC_MESSAGES/dpkg.mo": true, "usr/share/doc/dpkg/copyright": false,
		"usr/share/doc/dpkg/changelog.gz": true, "usr/share/locale/locale.alias": false, "usr/share/i18n/charmaps/UTF-8.gz": false, "usr/share/zoneinfo/UTC": false,
	} {
		if got := rules.Excludes(name, tar.TypeReg); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	opts := rules.DpkgOptions()
	if !slices.Contains(opts, "path-exclude=/usr/share/man/*") || !slices.Contains(opts, "path-include=/usr/share/doc/*/copyright") {
		t.Errorf("got %v", opts)
	}
	_, err = TrimSet("docs", "../trim.go")
	wantError(t, err, "not known")
}

func TestParseTrimRefuses(t *testing.T) {
	for _, text := range []string{"exclude usr/*", "skip /usr", "exclude", "exclude /[a", "exclude /a\\", "exclude /[", "exclude /[!"} {
		if _, err := ParseTrim(text); err == nil || !strings.Contains(err.Error(), "rule") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
