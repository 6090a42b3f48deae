package deb

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// newTestIndex reads paragraphs separated by empty lines, without hashes.
func newTestIndex(t testing.TB, text string) *index {
	t.Helper()
	x := newIndex("amd64")
	for s := range stanzas([]byte(text)) {
		control := completeControl(string(s)) + "\nFilename: pool/x.deb\nSize: 1\nSHA256: " + strings.Repeat("0", 64)
		if err := x.addStanza(stanza(control)); err != nil {
			t.Fatal(err)
		}
	}
	x.finish()
	return x
}

func resolveIn(t testing.TB, text string, req Request) ([]string, error) {
	t.Helper()
	a := &Archive{index: newTestIndex(t, text)}
	pkgs, err := a.Resolve(t.Context(), req)
	var got []string
	for _, p := range pkgs {
		got = append(got, p.String())
	}
	return got, err
}

func TestResolve(t *testing.T) {
	tests := []struct {
		name, archive, want string
		req                 Request
	}{
		{"chain", "Package: aa\nDepends: bb\n\nPackage: bb\nPre-Depends: cc\n\nPackage: cc\n\nPackage: dd",
			"aa=1.0 bb=1.0 cc=1.0", Request{Packages: []string{"aa"}}},
		{"cycle", "Package: aa\nDepends: bb\n\nPackage: bb\nDepends: aa", "aa=1.0 bb=1.0", Request{Packages: []string{"aa"}}},
		{"newest", "Package: aa\nVersion: 1.9\n\nPackage: aa\nVersion: 1.10\n\nPackage: aa\nVersion: 1.10~rc1", "aa=1.10", Request{Packages: []string{"aa"}}},
		{"epoch", "Package: aa\nVersion: 2\n\nPackage: aa\nVersion: 1:1", "aa=1:1", Request{Packages: []string{"aa"}}},
		{"exact version", "Package: aa\nVersion: 1\n\nPackage: aa\nVersion: 2", "aa=1", Request{Packages: []string{"aa=1"}}},
		{"version of a dependency", "Package: aa\nDepends: bb (<< 2)\n\nPackage: bb\nVersion: 2\n\nPackage: bb\nVersion: 2~beta", "aa=1.0 bb=2~beta", Request{Packages: []string{"aa"}}},
		{"first alternative", "Package: aa\nDepends: bb | cc\n\nPackage: bb\n\nPackage: cc", "aa=1.0 bb=1.0", Request{Packages: []string{"aa"}}},
		{"second, as the first does not exist", "Package: aa\nDepends: bb | cc\n\nPackage: cc", "aa=1.0 cc=1.0", Request{Packages: []string{"aa"}}},
		{"second, as the first lacks something", "Package: aa\nDepends: bb | cc\n\nPackage: bb\nDepends: zz\n\nPackage: cc", "aa=1.0 cc=1.0", Request{Packages: []string{"aa"}}},
		{"second, as it is asked for", "Package: aa\nDepends: bb | cc\n\nPackage: bb\n\nPackage: cc", "aa=1.0 cc=1.0", Request{Packages: []string{"aa", "cc"}}},
		{"requested alternatives", "Package: cc", "cc=1.0", Request{Packages: []string{"bb | cc"}}},
		{"provider", "Package: aa\nDepends: virt\n\nPackage: pp\nProvides: virt", "aa=1.0 pp=1.0", Request{Packages: []string{"aa"}}},
		{"virtual request", "Package: pp\nProvides: virt", "pp=1.0", Request{Packages: []string{"virt"}}},
		{"provider of higher priority", "Package: aa\nDepends: virt\n\nPackage: pp\nProvides: virt\n\nPackage: qq\nProvides: virt\nPriority: required", "aa=1.0 qq=1.0", Request{Packages: []string{"aa"}}},
		{"provider that is there already", "Package: aa\nDepends: virt\n\nPackage: pp\nProvides: virt\n\nPackage: qq\nProvides: virt", "aa=1.0 qq=1.0", Request{Packages: []string{"aa", "qq"}}},
		{"real before virtual", "Package: aa\nDepends: bb\n\nPackage: b0\nProvides: bb\n\nPackage: bb", "aa=1.0 bb=1.0", Request{Packages: []string{"aa"}}},
		{"versioned provision", "Package: aa\nDepends: virt (>= 2)\n\nPackage: pp\nProvides: virt\n\nPackage: qq\nProvides: virt (= 2.1)", "aa=1.0 qq=1.0", Request{Packages: []string{"aa"}}},
		{"architecture qualifier", "Package: aa\nDepends: bb:any, cc:amd64\n\nPackage: bb\n\nPackage: cc\nArchitecture: all", "aa=1.0 bb=1.0 cc=1.0", Request{Packages: []string{"aa:amd64"}}},
		{"conflict with its own provision", "Package: aa\nProvides: virt\nConflicts: virt", "aa=1.0", Request{Packages: []string{"aa"}}},
		{"conflict with another version", "Package: aa\nConflicts: bb (<< 1)\n\nPackage: bb", "aa=1.0 bb=1.0", Request{Packages: []string{"aa", "bb"}}},
		{"unversioned provision and versioned conflict", "Package: aa\nConflicts: virt (<< 1)\n\nPackage: bb\nProvides: virt", "aa=1.0 bb=1.0", Request{Packages: []string{"aa", "bb"}}},
		{"alternative that does not conflict", "Package: aa\nDepends: bb | cc\nConflicts: bb\n\nPackage: bb\n\nPackage: cc", "aa=1.0 cc=1.0", Request{Packages: []string{"aa"}}},
		{"choice unlearnt", "Package: aa\nDepends: bb | cc\n\nPackage: bb\n\nPackage: cc\n\nPackage: dd\nDepends: ee\n\nPackage: ee\nBreaks: bb", "aa=1.0 cc=1.0 dd=1.0 ee=1.0", Request{Packages: []string{"aa", "dd"}}},
		{"required", "Package: aa\nEssential: yes\n\nPackage: bb\nPriority: required\n\nPackage: cc\nPriority: important", "aa=1.0 bb=1.0", Request{Required: true}},
		{"recommends off", "Package: aa\nRecommends: bb\n\nPackage: bb", "aa=1.0", Request{Packages: []string{"aa"}}},
		{"recommends on", "Package: aa\nRecommends: bb, zz\n\nPackage: bb\nDepends: cc\n\nPackage: cc", "aa=1.0 bb=1.0 cc=1.0", Request{Packages: []string{"aa"}, Recommends: true}},
		{"recommended in vain", "Package: aa\nRecommends: bb\n\nPackage: bb\nDepends: cc, zz\n\nPackage: cc", "aa=1.0", Request{Packages: []string{"aa"}, Recommends: true}},
		{"asked for twice", "Package: aa", "aa=1.0", Request{Packages: []string{"aa", "aa", "aa (>= 1)"}}},
		{"foreign packages are not seen", "Package: aa\nVersion: 9\nArchitecture: arm64\n\nPackage: aa", "aa=1.0", Request{Packages: []string{"aa"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := resolveIn(t, test.archive, test.req)
			if err != nil || strings.Join(got, " ") != test.want {
				t.Errorf("got %v, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestResolveErrors(t *testing.T) {
	tests := []struct {
		name, archive string
		want          []string
		says          []string
	}{
		{"misspelt", "Package: openssh-server\n\nPackage: openssh-client", []string{"openssh-sevrer"}, []string{"openssh-sevrer", "near names: openssh-server"}},
		{"missing dependency", "Package: aa\nDepends: bb\n\nPackage: bb\nDepends: libfoo1 (>= 2)\n\nPackage: libfoo1", []string{"aa"},
			[]string{"libfoo1 (>= 2) cannot be had", "the archive has libfoo1 1.0", "bb depends on it", "aa depends on it", "you asked for it"}},
		{"no alternative", "Package: aa\nDepends: xx | yy", []string{"aa"}, []string{"xx | yy", "no xx", "no yy", "aa depends on it"}},
		{"wrong version", "Package: aa", []string{"aa=2"}, []string{"aa (= 2) cannot be had", "has aa 1.0"}},
		{"provided without version", "Package: pp\nProvides: virt", []string{"virt (>= 1)"}, []string{"virt", "provided by pp"}},
		{"conflict", "Package: aa\nConflicts: bb (<< 2)\n\nPackage: bb", []string{"aa", "bb"}, []string{"aa 1.0", "bb 1.0", "aa conflicts bb (<< 2)"}},
		{"breaks", "Package: aa\n\nPackage: bb\nBreaks: aa", []string{"aa", "bb"}, []string{"aa 1.0", "bb 1.0", "bb breaks aa"}},
		{"conflict with a provision", "Package: aa\nConflicts: mta\n\nPackage: bb\nProvides: mta", []string{"aa", "bb"}, []string{"aa conflicts mta", "which is bb 1.0"}},
		{"two versions", "Package: aa\nDepends: cc (= 1)\n\nPackage: bb\nDepends: cc (= 2)\n\nPackage: cc\nVersion: 1\n\nPackage: cc\nVersion: 2", []string{"aa", "bb"}, []string{"cc", "version 2", "version 1"}},
		{"other architecture", "Package: aa", []string{"aa:arm64"}, []string{"another architecture than amd64"}},
		{"no package name", "Package: aa", []string{"Not a name"}, []string{`"Not a name"`}},
		{"empty", "Package: aa", []string{""}, []string{"not a package name"}},
		{"bad field", "Package: aa\nDepends: bb (1", []string{"aa"}, []string{"package aa", "Depends", "parenthesis"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := resolveIn(t, test.archive, Request{Packages: test.want})
			wantError(t, err, test.says...)
			if got != nil {
				t.Errorf("and yet %v", got)
			}
		})
	}
}

func TestResolveIsDeterministic(t *testing.T) {
	archive := "Package: aa\nDepends: v1, v2, v3\n"
	for _, p := range []string{"p1", "p2", "p3", "p4", "p5"} {
		archive += "\nPackage: " + p + "\nProvides: v1, v2, v3\n"
	}
	for range 20 {
		got, err := resolveIn(t, archive, Request{Packages: []string{"aa"}})
		if err != nil || !slices.Equal(got, []string{"aa=1.0", "p1=1.0"}) {
			t.Fatalf("got %v, %v", got, err)
		}
	}
}

func TestResolveEndsWithContext(t *testing.T) {
	a := &Archive{index: newTestIndex(t, "Package: aa\nDepends: bb\n\nPackage: bb")}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Resolve(ctx, Request{Packages: []string{"aa"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A chain of alternatives that all fail at the end must not take for ever.
func TestResolveBoundsTheSearch(t *testing.T) {
	var archive strings.Builder
	for i := range 40 {
		n, next := string(rune('a'+i/26))+string(rune('a'+i%26)), string(rune('a'+(i+1)/26))+string(rune('a'+(i+1)%26))
		archive.WriteString("Package: x" + n + "\nDepends: x" + next + " | y" + next + "\n\nPackage: y" + n + "\nDepends: x" + next + " | y" + next + "\n\n")
	}
	_, err := resolveIn(t, archive.String(), Request{Packages: []string{"xaa"}})
	wantError(t, err, "xaa depends on it")
}

func TestParseDepends(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"aa":                                 "aa",
		"aa (>= 1.0), bb|cc:any (<<2:1-1~) ": "aa (>= 1.0), bb | cc:any (<< 2:1-1~)",
		"aa (< 1), bb (> 2),":                "aa (<= 1), bb (>= 2)",
		"aa\n (= 1)":                         "aa (= 1)",
		"libstdc++6:native":                  "libstdc++6:native",
	} {
		got, err := parseDepends(in)
		var words []string
		for _, a := range got {
			words = append(words, a.String())
		}
		if err != nil || strings.Join(words, ", ") != want {
			t.Errorf("%q: got %q, %v; want %q", in, words, err, want)
		}
	}
	for _, in := range []string{"a", "aa (", "aa ()", "aa (1)", "aa (>= )", "aa (>= 1", "aa [amd64]", "aa <stage1>", "aa |", "aa bb", "aa:", "../x", "${misc:Depends}", "aa (>= 1 2)", "aa (>= 1) x"} {
		if got, err := parseDepends(in); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "", 3}, {"abc", "acb", 1}, {"abc", "abd", 1}, {"kitten", "sitting", 3}, {"ab", "abc", 1}} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("%q %q: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
