package query

import (
	"strings"
	"testing"
)

const machine = `{"os":{"type":"linux","id":"debian","ram":false},"hw":{"arch":"amd64","tpm":null,
"disk":[{"name":"sda","size":"9223372036854775807","serial":null,"links":["/a","/b"],"partition":[{"number":1,"content":[{"type":"ext4"}]},{"number":2,"content":[]}]},
{"name":"sdb","size":1048576,"serial":"A, B]","model":"x \"y\"","partition":[]}],
"nic":[{"name":"eth0","driver":"virtio_net","hwaddr":"52:54:00:00:00:01"},{"name":"eth1","driver":"e1000e"}]},
"state":{"links":{"eth0":{"mtu":1500},"eth0.100":{"mtu":1400}},"sensors":{"a/b.c":4.5e1}}}`

func TestMatch(t *testing.T) {
	doc, err := Parse([]byte(machine))
	if err != nil {
		t.Fatal(err)
	}
	for expr, want := range map[string]string{
		"":                                      "",
		"env.os.id":                             "os.id",
		"hw.nic":                                "hw.nic",
		"hw.nic.1.name":                         "hw.nic.1.name",
		"hw.nic[1].name":                        "hw.nic.1.name",
		"hw.nic.*.name":                         "hw.nic.0.name hw.nic.1.name",
		"hw.nic[*].name":                        "hw.nic.0.name hw.nic.1.name",
		"hw.nic.2":                              "-",
		"hw.nic[driver=virtio_net]":             "hw.nic.0",
		"hw.nic[driver!=virtio_net]":            "hw.nic.1",
		"hw.nic[driver=virtio_net,name=eth1]":   "-",
		"hw.nic[driver=virtio_net][name=eth0]":  "-", // an element is no list
		"hw.nic[hwaddr=52:54:00:00:00:01].name": "hw.nic.0.name",
		"hw.nic[hwaddr!=x]":                     "hw.nic.0", // of eth1 nobody knows
		"hw.disk[serial=null]":                  "hw.disk.0",
		`hw.disk[serial="null"]`:                "-",
		"hw.disk[serial!=null]":                 "hw.disk.1",
		`hw.disk[serial="A, B]"]`:               "hw.disk.1",
		`hw.disk[model="x \"y\""].name`:         "hw.disk.1.name",
		"hw.disk[size>1M]":                      "hw.disk.0",
		"hw.disk[size>=1M]":                     "hw.disk.0 hw.disk.1",
		"hw.disk[size=1M]":                      "hw.disk.1",
		"hw.disk[size=1048576.0]":               "hw.disk.1",
		"hw.disk[size=9223372036854775807]":     "hw.disk.0",
		"hw.disk[size=9223372036854775806]":     "-", // as float64 it were the same
		"hw.disk[size<2e6]":                     "hw.disk.1",
		"hw.disk[name>1]":                       "-",
		"hw.disk[size>big]":                     "-",
		"hw.disk[size>1e999999999]":             "-",
		"hw.disk[partition.content.type=ext4]":  "hw.disk.0",
		"hw.disk[partition.content=ext4]":       "hw.disk.0",
		"hw.disk[partition.number!=1]":          "-",
		"hw.disk[partition[number=2].number=2]": "hw.disk.0",
		"hw.disk[links=/b]":                     "hw.disk.0",
		"hw.disk[links.0=/b]":                   "-",
		"hw.disk[links.1=/b]":                   "hw.disk.0",
		"os=linux":                              "os",
		"os!=linux":                             "-",
		"os.ram=false":                          "os.ram",
		"hw.tpm=null":                           "hw.tpm",
		"hw.tpm.version=2.0":                    "-",
		"hw=amd64":                              "-", // it has no type
		"state.links.eth0.mtu":                  "state.links.eth0.mtu",
		"state.links.eth0.100.mtu":              `state.links."eth0.100".mtu`,
		`state.links."eth0.100".mtu`:            `state.links."eth0.100".mtu`,
		`state.links["eth0.100"].mtu`:           `state.links."eth0.100".mtu`,
		"state.links.*.mtu<1500":                `state.links."eth0.100".mtu`,
		"state.links[mtu=1500]":                 "state.links.eth0",
		"state.sensors.a/b.c=45":                `state.sensors."a/b.c"`,
	} {
		e, err := ParseExpr(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		var places []string
		for _, p := range Match(doc, e) {
			places = append(places, p.String())
			if back, err := ParsePath(p.String()); err != nil || len(Find(doc, back)) != 1 || Find(doc, back)[0].Node != p.Node {
				t.Errorf("%s: %s does not lead back: %v", expr, p, err)
			}
		}
		got := strings.Join(places, " ")
		if len(places) == 0 {
			got = "-"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", expr, got, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for expr, want := range map[string]string{
		"a..b": "expected the name of a fact at \".b\"", ".a": "expected the name", "a.": "expected the name of a fact at its end", "a[b": "expected a comparison", "a[b=c": "expected , or ]", "a]": "expected a comparison",
		`a."b`: "ends in a quotation mark", "a[]": "expected", "a[b=1]c": "expected a comparison", `a["b"`: "expected a comparison", "a[b=1,": "expected", "a!b": "expected a comparison", `a="b"c`: "there is more",
	} {
		if e, err := ParseExpr(expr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v %v", expr, e, err)
		}
	}
	for doc, want := range map[string]string{`{`: "unexpected", `[1`: "unexpected", `1 2`: "behind the end", ``: "unexpected", `{"a"}`: "", strings.Repeat("[", 200): "levels deep", `nul`: ""} {
		if n, err := Parse([]byte(doc)); err == nil || !strings.Contains(strings.ToLower(err.Error()), want) {
			t.Errorf("%.20s: %+v %v", doc, n, err)
		}
	}
}

func TestStatic(t *testing.T) {
	for path, want := range map[string]string{"env.hw.nic.0.name": "hw.nic", "hw.nic[a=b].c": "hw.nic", "os": "os", "hw.nic.*": "hw.nic", "": ""} {
		if p, err := ParsePath(path); err != nil || p.Static() != want {
			t.Errorf("%s: %q %v", path, p.Static(), err)
		}
	}
}

func FuzzExpr(f *testing.F) {
	for _, s := range []string{"hw.nic[driver=virtio_net,a.b!=\"x\"].name", `a."b.c"[0][*]>=1K`, "[", "a[b[c=1].d<2]"} {
		f.Add(s)
	}
	doc, err := Parse([]byte(machine))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseExpr(text)
		if err != nil {
			return
		}
		Match(doc, e)
		again, err := ParsePath(e.Path.String())
		if err != nil || again.String() != e.Path.String() {
			t.Errorf("%q: %q, then %q %v", text, e.Path, again, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(machine))
	f.Fuzz(func(t *testing.T, doc []byte) {
		n, err := Parse(doc)
		if err != nil {
			return
		}
		text, err := n.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		again, err := back.MarshalJSON()
		if err != nil || string(again) != string(text) {
			t.Errorf("%s\n%s %v", text, again, err)
		}
	})
}
