package handover_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/plan/handover"
)

func factsOf(t *testing.T, name string) envscan.Facts {
	t.Helper()
	doc, err := os.ReadFile("testdata/" + name + ".facts.json")
	if err != nil {
		t.Fatal(err)
	}
	var f envscan.Facts
	if err := json.Unmarshal(doc, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNetwork(t *testing.T) {
	for _, m := range machines {
		t.Run(m.name, func(t *testing.T) {
			c, warnings := handover.Network(factsOf(t, m.name))
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
			golden(t, m.name+".json", encoded(t, struct {
				Warnings []string       `json:"warnings"`
				Network  netconf.Config `json:"network"`
			}{warnings, c}))
			var files strings.Builder
			for _, f := range netconf.Networkd(c) {
				files.WriteString("### " + f.Path + "\n" + f.Content + "\n")
			}
			golden(t, m.name+".networkd", []byte(files.String()))
		})
	}
}
