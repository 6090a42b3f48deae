package envscan

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/victorinix/vic/envscan/query"
)

// objectLists are the paths of lists of objects, without indices.
func objectLists(t reflect.Type, at string) map[string]reflect.Type {
	found := map[string]reflect.Type{}
	k, below := kindOf(t)
	switch k {
	case listKind:
		if in, _ := kindOf(below); in == objectKind {
			found[at] = below
		}
		for path, t := range objectLists(below, at) {
			found[path] = t
		}
	case mapKind:
		for path, t := range objectLists(below, at+".NAME") {
			found[path] = t
		}
	case objectKind:
		for _, f := range fieldsOf(below) {
			for path, t := range objectLists(f.typ, strings.TrimPrefix(at+"."+f.name, ".")) {
				found[path] = t
			}
		}
	}
	return found
}

// TestIdentities: every list of objects says what its elements are known by.
func TestIdentities(t *testing.T) {
	lists := objectLists(reflect.TypeFor[Facts](), "")
	if len(lists) < 20 {
		t.Fatalf("%d lists: the test checks little", len(lists))
	}
	for path, elem := range lists {
		if identities()[path] == nil && path != "scan.gaps" {
			t.Errorf("%s has no entry in identities (diff.go): what are its elements known by in another document?", path)
		}
		for _, group := range identities()[path] {
			for _, name := range group {
				known := false
				for _, f := range fieldsOf(elem) {
					k, _ := kindOf(f.typ)
					known = known || f.name == name && k == scalarKind
				}
				if !known {
					t.Errorf("%s: its elements have no %q", path, name)
				}
			}
		}
	}
	for path := range identities() {
		if lists[path] == nil {
			t.Errorf("%s is no list", path)
		}
	}
}

func TestDiffOfLists(t *testing.T) {
	disk := func(d ...Disk) Facts { return Facts{Schema: Schema, HW: HW{Disk: d}} }
	part := func(list ...Partition) Contents { return Contents{Partition: list} }
	tests := []struct {
		name string
		a, b Facts
		want string
	}{
		{"in another order", disk(Disk{Name: "sda", Serial: "A"}, Disk{Name: "sdb", Serial: "B"}), disk(Disk{Name: "sdb", Serial: "B"}, Disk{Name: "sda", Serial: "A"}), ""},
		{"another name", disk(Disk{Name: "sda", Serial: "A"}), disk(Disk{Name: "sdb", Serial: "A"}), `hw.disk[serial=A].name: "sda" -> "sdb"`},
		{"known by its place", disk(Disk{Name: "sda", Path: "p", Size: 1}), disk(Disk{Name: "sdb", Path: "p", Size: 1, Serial: "A"}), "hw.disk[path=p].name: \"sda\" -> \"sdb\"\nhw.disk[path=p].serial: null -> \"A\""},
		{"gone and new", disk(Disk{Name: "sda", Serial: "A, B"}), disk(Disk{Name: "sdb", Serial: "B"}), "hw.disk[serial=\"A, B\"]: present -> absent\nhw.disk[serial=B]: absent -> present"},
		{"two of the same", disk(Disk{Serial: "A"}, Disk{Serial: "A", Size: 1}), disk(Disk{Serial: "A"}, Disk{Serial: "A", Size: 2}), "hw.disk[serial=A].size: 1 -> 2"},
		{"below an element", disk(Disk{Serial: "A", Contents: part(Partition{Number: 1, Name: "x"}, Partition{Number: 2})}), disk(Disk{Serial: "A", Contents: part(Partition{Number: 1, Name: "y"})}),
			"hw.disk[serial=A].partition[number=1].name: \"x\" -> \"y\"\nhw.disk[serial=A].partition[number=2]: present -> absent"},
		{"a list of scalars", Facts{Net: Net{DNS: DNS{Server: []string{"a", "b"}}}}, Facts{Net: Net{DNS: DNS{Server: []string{"b", "a"}}}}, `net.dns.server: ["a","b"] -> ["b","a"]`},
		{"how it was found", Facts{Scan: Report{Version: "1"}, State: State{Uptime: 1}}, Facts{Scan: Report{Version: "2"}, State: State{Uptime: 2}}, ""},
		{"null and absent", Facts{}, Facts{Scan: Report{Gaps: []Gap{{Fact: "hw.tpm"}}}}, "hw.tpm: null -> absent"},
		{"nothing and something", Facts{}, Facts{HW: HW{TPM: &TPM{Version: "2.0"}}}, "hw.tpm: null -> present"},
	}
	for _, tt := range tests {
		var lines []string
		changes := Diff(must(Document(tt.a)), must(Document(tt.b)), false)
		for _, c := range changes {
			lines = append(lines, c.String())
			p, err := query.ParsePath(c.Path)
			if err != nil || c.Old != nil && len(query.Find(must(Document(tt.a)), p)) == 0 {
				t.Errorf("%s: %s leads nowhere: %v", tt.name, c.Path, err)
			}
		}
		if got := strings.Join(lines, "\n"); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
		if len(Diff(must(Document(tt.a)), must(Document(tt.a)), true)) > 0 {
			t.Errorf("%s: it differs from itself", tt.name)
		}
	}
}

// TestTwoRuns: a machine is the same twice, apart from state.
func TestTwoRuns(t *testing.T) {
	var docs [2]*query.Node
	for i := range docs {
		f, err := Scan(t.Context(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		docs[i] = must(ReadDocument(text))
	}
	for _, c := range Diff(docs[0], docs[1], false) {
		t.Error(c)
	}
}
