package runs

import (
	"errors"
	"testing"
)

func TestOutput(t *testing.T) {
	a, b := Run{Package: "disk/luks", Args: []string{"-test.v"}}, Run{Package: "disk/md"}
	said := "\n" + a.Begin() + "\nok\nPASS\n\n" + a.End(nil) + "\n\n" + b.Begin() + "\nno\n\n" + b.End(errors.New("exit status 1"))
	for _, tt := range []struct {
		r               Run
		said            string
		output, failure string
		ended           bool
	}{
		{a, said, "ok\nPASS\n", "", true},
		{b, said, "no\n", "", false}, // its last line has not ended yet
		{b, said + "\n", "no\n", "exit status 1", true},
		{a, "", "", "", false},
		{a, "\n" + a.Begin() + "\nstill", "still", "", false},
	} {
		if output, failure, ended := tt.r.Output(tt.said); output != tt.output || failure != tt.failure || ended != tt.ended {
			t.Errorf("%s: %q %q %t", tt.r.Package, output, failure, ended)
		}
	}
	if a.Program() != "/tests/disk/luks/luks.test" {
		t.Error(a.Program())
	}
}
