package netconf_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/netconf"
)

var update = flag.Bool("update", false, "rewrite golden files")

func everything(t *testing.T) netconf.Config {
	t.Helper()
	doc, err := os.ReadFile("testdata/everything.json")
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	var c netconf.Config
	if err := dec.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// The files of everything that a document can say. (That systemd-networkd
// understands them is tested where it runs, in package handover.)
func TestNetworkd(t *testing.T) {
	c := everything(t)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	before, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range netconf.Networkd(c) {
		if f.Mode != 0o644 {
			t.Errorf("%s has mode %o", f.Path, f.Mode)
		}
		got.WriteString("### " + f.Path + "\n" + f.Content + "\n")
	}
	const golden = "testdata/everything.networkd"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("-want +got (-update rewrites it):\n%s", diff)
	}
	if after, err := json.Marshal(c); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the document was changed: %s", after)
	}
}

// Without a server's word, a document that Networkd renamed has other names and
// nothing else.
func TestRename(t *testing.T) {
	c := everything(t)
	names := netconf.Named(c)
	if diff := cmp.Diff(map[string]string{"eth1": "lan1", "eth2": "lan2"}, names); diff != "" {
		t.Error(diff)
	}
	there := c.Rename(map[string]string{"eth1": "x", "eth2": "y", "eth3": "z", "bond0": "b", "br0": "c"})
	if err := there.Validate(); err != nil {
		t.Error(err)
	}
	if cmp.Diff(c, there) == "" {
		t.Error("nothing was renamed")
	}
	if diff := cmp.Diff(c, there.Rename(map[string]string{"x": "eth1", "y": "eth2", "z": "eth3", "b": "bond0", "c": "br0"})); diff != "" {
		t.Error(diff)
	}
}

// The same document gives the same files each time.
func TestNetworkdOrder(t *testing.T) {
	c := everything(t)
	first := netconf.Networkd(c)
	for range 20 {
		if diff := cmp.Diff(first, netconf.Networkd(c)); diff != "" {
			t.Fatal(diff)
		}
	}
}
