package lazyregexp

import (
	"slices"
	"testing"
)

func TestNewInATest(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("New did not panic on a malformed expression")
		}
	}()
	New(`(`)
}

func TestNewElsewhere(t *testing.T) {
	inTest = false
	defer func() { inTest = true }()
	New(`(`) // never used
	digits := New(`([0-9])[0-9]`)
	if got, want := digits.FindStringSubmatch("a12"), []string{"12", "1"}; !slices.Equal(got, want) {
		t.Errorf("FindStringSubmatch = %q, want %q", got, want)
	}
}
