package cli

import (
	"context"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/file"
)

// register puts files on the host, and registers them: register DIR FILE...
func register(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: register DIR FILE...")
	}
	c := registrationConfig([]string{ts.MkAbs(args[0])})
	c.Lock = ts.MkAbs("lock")
	c.Group, c.Command, c.Who = "run-1", "vic install debian --disk /dev/sda", "root"
	s, err := registration.Open(c)
	ts.Check(err)
	for _, path := range args[1:] {
		_, err := s.Do(context.Background(), file.New(ts.MkAbs(path), 0o644, []byte("made by vic\n")))
		ts.Check(err)
	}
	ts.Check(s.Close())
}

// lockRegistrations holds the lock of the machine until the script ends.
func lockRegistrations(ts *testscript.TestScript, _ bool, _ []string) {
	c := registrationConfig([]string{ts.MkAbs("other")})
	s, err := registration.Open(c)
	ts.Check(err)
	ts.Defer(func() { _ = s.Close() })
	_, err = os.Stat(registration.DefaultLock)
	ts.Check(err)
}
