package event_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/event"
)

func TestParsePhases(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "[]",
		"scan":                          "[scan]",
		"verify":                        "[verify]",
		"verify,build,scan":             "[scan build verify]", // in order
		"scan,scan":                     "[scan]",
		"enter,verify,partition,format": "[enter verify partition format]",
		"copy":                          "phase copy needs format, which is not among the phases copy",
		"verify,partition,copy":         "phase copy needs format",
		"scan,build,enter,partition":    "phase partition needs verify",
		"verify,partition,format,copy":  "phase copy mounts the disk and needs finish, which unmounts it: a run stops after format",
		"verify,partition,format,copy,inject,boot,finish": "[verify partition format copy inject boot finish]",
		"prove": "phase prove needs finish",
		"verfy": `unknown phase "verfy"; did you mean "verify"?`,
		"x":     `unknown phase "x"; the phases are scan, build, enter,`,
		"scan,": `unknown phase ""`,
	} {
		var names []string
		if in != "" {
			names = strings.Split(in, ",")
		}
		chosen, err := event.ParsePhases(names)
		got := fmt.Sprint(chosen)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestReaches(t *testing.T) {
	if !event.Reaches(nil, event.Prove) || !event.Writes(nil) {
		t.Error("no choice is not all phases")
	}
	chosen := []event.Phase{event.Scan, event.Verify}
	if !event.Reaches(chosen, event.Build) || !event.Reaches(chosen, event.Verify) || event.Reaches(chosen, event.Partition) || event.Writes(chosen) {
		t.Error("a run up to verify goes as far as verify")
	}
}
