package envscan

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// TestKVM is of this machine: what can be opened gets an answer, yes or no, and
// twice the same.
func TestKVM(t *testing.T) {
	s := newScanner(Config{})
	openable, works := s.kvm(t.Context())
	if _, err := os.Stat(kvmDevice); err != nil {
		if openable != nil || works != nil || len(s.gaps) > 0 {
			t.Errorf("without %s: %v %v %+v", kvmDevice, openable, works, s.gaps)
		}
		t.Skip("the rest needs " + kvmDevice)
	}
	if openable == nil || (works != nil) != *openable || (len(s.gaps) == 0) != *openable {
		t.Fatalf("%v %v %+v", openable, works, s.gaps)
	}
	if !*openable {
		t.Skip(kvmDevice + " cannot be opened")
	}
	again, err := tryGuest(t.Context())
	if err != nil || again != *works {
		t.Errorf("first %v, then %v %v", *works, again, err)
	}
	if err := runGuest(os.DevNull); err == nil {
		t.Errorf("a guest ran on %s", os.DevNull)
	}
}

// TestKVMEnds: the user's time limit is kept.
func TestKVMEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errTimeout)
	start := time.Now()
	// Either may come first, but it is not waited for.
	if _, err := tryGuest(ctx); err != nil && !errors.Is(err, errTimeout) || time.Since(start) > kvmLimit {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// TestKVMOfCapturedTree: its device is a file, and this machine's is not asked.
func TestKVMOfCapturedTree(t *testing.T) {
	s := captured(t, tree{"dev/kvm": ""})
	if openable, works := s.kvm(t.Context()); openable != nil || works != nil || len(s.gaps) != 2 {
		t.Errorf("%v %v %+v", openable, works, s.gaps)
	}
}
